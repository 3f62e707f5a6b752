"""What is left of runs that somebody ended: no job, no key, and a state that says so at once."""

from __future__ import annotations

import json
import time

import pytest

from tests.patience import comes_true

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

SPOOL = ".local/state/vrecompute/slurm"
PENDING = "schema: 1\nname: pending\nextends: lab-slurm\noptions: {partition: closed}\n"
SLEEPY = """
import time
from vrecompute import Analysis, Result

class Sleepy(Analysis):
    name = "sleepy"
    def columns(self, source):
        return ["Muon_pt"]
    def process(self, events):
        time.sleep(5)
        return Result(counters={"events": float(len(events))})
"""


@pytest.fixture
def made(lab):
    """The lab with data, an analysis that takes its time, and a site whose jobs wait for ever."""
    generate = ["generate", "/home/alice/left", "--events", "4000", "--files", "8", "--seed", "1"]
    lab.on("login", "python", "-m", "vrecompute", *generate)
    for name, text in {"left/pending.yaml": PENDING, "left/sleepy.py": SLEEPY}.items():
        lab.on("login", "sh", "-c", f"cat > {name}", stdin=text)
    return lab


def keys(lab):
    """Files with a private key, wherever jobs and clients write, and folders of secrets."""
    looked = "find /tmp /dev/shm -name '*.pem' 2> /dev/null; grep -rlI 'PRIVATE KEY' /tmp 2> /dev/null; true"
    found = {f"{m}: {line}" for m in ("root@login", "c1", "c2") for line in lab.on(m, "sh", "-c", looked).splitlines()}
    listed = lab.on("login", "sh", "-c", f"ls {SPOOL} | grep ^secrets-; true").splitlines()
    return found | set(listed)


def queue(lab):
    return lab.on("login", "squeue", "-h", "-u", "alice", "-o", "%i %T").split()


@pytest.mark.parametrize("number", ["TERM", pytest.param("HUP", marks=pytest.mark.acceptance)])
def test_a_live_client_that_is_told_to_end_takes_its_waiting_jobs_along(made, number):
    before = keys(made)
    command = "exec python -m vrecompute run dilepton left --site left/pending.yaml --store store-left -p channel=mumu"
    client = made.start("login", "sh", "-c", f"echo $$ > left/pid; {command}")
    assert comes_true(lambda: "PENDING" in queue(made), 120)
    made.on("login", "sh", "-c", f"kill -{number} $(cat left/pid)")
    said = client.communicate(timeout=120)[0]
    assert client.returncode == 130, said
    assert queue(made) == []
    assert keys(made) <= before


def test_a_detached_run_that_another_process_cancels_is_cancelled_at_once_and_leaves_no_key(made):
    before = keys(made)
    place = ["--site", "lab-slurm", "--store", "/home/alice/store-left"]
    command = ["run", "left/sleepy.py", "left/dataset.yaml", *place, "--detach", "--no-reuse"]
    run = made.on("login", "python", "-m", "vrecompute", *command).split()[-1]

    def state():
        told = made.on("login", "python", "-m", "vrecompute", "runs", "show", run, *place, "--json")
        return json.loads(told)["state"]

    events = f"ls store-left/runs/{run}/events 2> /dev/null; true"
    assert comes_true(lambda: made.on("login", "sh", "-c", events).strip() != "", 240)
    assert state() == "running"
    made.on("login", "python", "-m", "vrecompute", "runs", "cancel", run, *place)
    began = time.monotonic()
    assert comes_true(lambda: state() == "cancelled", 3)
    assert time.monotonic() - began < 120, "not after the silence of its Runner"
    assert comes_true(lambda: queue(made) == [], 60)
    assert keys(made) <= before
