"""OpenSSH as it is: one connection for everything, which no process takes away from another."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.lab import Lab
from tests.slurm.runs import ANALYSIS, finish, started, wait_for_parts
from vrecompute.errors import Unavailable
from vrecompute.sites.access import SshAccess
from vrecompute.sites.model import Ssh

pytestmark = pytest.mark.slurm


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a control socket."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        yield Path(made)


def through(lab: Lab, lines: str, folder: Path) -> Path:
    """A user's ssh_config for the login node, without any key, and with these lines."""
    config = folder / "config"
    config.write_text(
        f"Host login\n  HostName {lab.net}.2.20\n  User alice\n  IdentityFile none\n  IdentityAgent none\n"
        f"  UserKnownHostsFile {lab.keys}/known_hosts\n  {lines}\n"
    )
    return config


def test_a_client_that_leaves_takes_the_connection_away_from_nobody(lab):
    stays, leaves = lab.backend(), lab.backend()
    process = stays.access.start(["cat"])
    with stays.access.forward("127.0.0.1", 22) as (host, port):
        assert leaves.access.run(["true"]).code == 0
        leaves.close()
        process.stdin.write(b"still here\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"still here\n"
        said = subprocess.run(["ssh-keyscan", "-p", str(port), host], capture_output=True, text=True, check=True)
        assert "ssh-ed25519" in said.stdout
    process.stdin.close()
    process.wait(30)
    closed = subprocess.run(["ssh-keyscan", "-T", "5", "-p", str(port), host], capture_output=True, check=False)
    assert not closed.stdout, "the tunnel outlives its context"


def test_a_connection_that_the_user_opened_is_used_and_left_open(lab, folder, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))  # no connection of other tests is found
    config = through(lab, f"ControlPath {folder}/%C", folder)
    access = SshAccess(Ssh(host="login"), config=config)
    with pytest.raises(Unavailable, match="Permission denied"):
        access.run(["true"])  # as where a second factor is asked for
    key = ["-o", f"IdentityFile={lab.keys}/alice_ed25519"]
    by = ["ssh", "-F", str(config)]
    subprocess.run([*by, *key, "-M", "-f", "-N", "login"], check=True, stderr=subprocess.DEVNULL)
    try:
        assert access.run(["id", "-un"]).text == "alice\n"
        with access.forward("127.0.0.1", 22) as (host, port):
            said = subprocess.run(["ssh-keyscan", "-p", str(port), host], capture_output=True, text=True, check=True)
            assert "ssh-ed25519" in said.stdout
        assert subprocess.run([*by, "-O", "check", "login"], capture_output=True, check=False).returncode == 0
    finally:
        subprocess.run([*by, "-O", "exit", "login"], capture_output=True, check=True)
    with pytest.raises(Unavailable, match="Permission denied"):
        access.run(["true"])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scheduler_runs", ["login", pytest.param("allocation", marks=pytest.mark.acceptance)])
def test_a_live_run_survives_the_loss_of_its_connection(lab, reference, scheduler_runs):
    store = f"store-connection-{scheduler_runs}"
    lab.on("login", "rm", "-rf", f"/home/alice/{store}")
    settings = {"sleep_s": 2, "site.scheduler_runs": scheduler_runs}
    process, _ = started(lab, "client", "run", "lab-slurm-ssh", ANALYSIS, f"/home/alice/{store}", **settings)
    wait_for_parts(lab, store, 3)
    lab.on("client", "sh", "-c", 'for socket in /tmp/vrecompute-*/*; do ssh -S "$socket" -O exit login; done')
    facts = finish(process)
    assert (facts["status"], facts["sha"]) == ("complete", reference)
    assert facts["reused"] >= 3, "what was durable before was taken by the next Runner"


@pytest.mark.timeout(300)
def test_interrupted_in_a_terminal_it_says_goodbye_in_one_word(lab, reference):
    """A terminal sends Ctrl-C to ssh and all else in the foreground, as timeout(1) does."""
    command = (
        f"vrecompute run {ANALYSIS} ~/lab/dataset.yaml -p sleep_s=20 --site lab-slurm-ssh --store ~/store-interrupted"
    )
    waited = f"cd; timeout --preserve-status -s INT 30 {command} 2>&1; echo exit code $?"
    said = lab.on("client", "sh", "-c", waited, timeout_s=200)
    assert "stopping; what is finished is kept" in said, said
    assert "Traceback" not in said
    assert said.endswith("exit code 130\n"), said[-500:]
    assert not lab.on("login", "squeue", "-h", "-u", "alice", "-t", "pending,running").strip()
