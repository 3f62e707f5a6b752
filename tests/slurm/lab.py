"""The Slurm lab as tests see it: the machine that runs pytest is a client outside the compute network."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from vrecompute.sites.access import SshAccess
from vrecompute.sites.model import Environment, Limits, Network, Nodes, PortRange, Site, SiteAccess, Ssh, Workers
from vrecompute_backends.slurm import SlurmBackend

LABS = Path(__file__).parents[2] / "containers"
SCRIPTS = LABS / "slurm"
CACHE = Path(os.environ.get("VRECOMPUTE_LAB_CACHE", "/var/cache/vrecompute"))

SITE = Site(
    name="lab-slurm",
    backend="slurm",
    access=SiteAccess(ssh=Ssh(host="login")),
    scheduler_runs="login",
    network=Network(
        compute_outbound="none",
        interface="ib0",
        worker_ports=PortRange(10000, 10099),
        scheduler_ports=PortRange(10200, 10299),
    ),
    options={"partition": "batch", "account": "physics", "launcher": "srun"},
    workers=Workers(processes=2, threads=1, memory=1 << 30, walltime=600, nodes=Nodes(min=2, max=2)),
    environment=Environment(venv="/opt/venv", variables={"PATH": "/opt/vrecompute/bin:$PATH"}),
    limits=Limits(max_jobs=8, min_poll=1),
)


def lab_number() -> int:
    """Which lab of this machine tests run on: `VRECOMPUTE_LAB` (1), and those after it for pytest's other processes."""
    first = int(os.environ.get("VRECOMPUTE_LAB", "1"))
    return first + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


@dataclass(frozen=True)
class Lab:
    """Machines `head`, `login`, `c1`, `c2` (Slurm) and `client` (without Slurm, outside) of the lab of that number."""

    number: int
    site: Site = SITE
    unplugged: set[str] = field(default_factory=set, compare=False, repr=False)
    scripts: Path = SCRIPTS

    @property
    def net(self) -> str:
        """How the addresses of its machines begin."""
        return f"10.{96 + self.number}"

    @property
    def keys(self) -> Path:
        """The folder with the client's ssh_config."""
        return CACHE / f"slurm-keys-{self.number}"

    @property
    def environment(self) -> dict[str, str]:
        """What the lab's scripts need to know."""
        return {**os.environ, "VRECOMPUTE_LAB": str(self.number)}

    def backend(self, **options: object) -> SlurmBackend:
        """A SlurmBackend by ssh from this machine."""
        site = replace(self.site, options={**self.site.options, **options})
        assert site.access.ssh is not None
        return SlurmBackend(site, SshAccess(site.access.ssh, config=self.keys / "ssh_config"))

    def on(self, machine: str, *command: str, stdin: str = "", timeout_s: float = 300, check: bool = True) -> str:
        """stdout of a command on a machine, once it has ended: what it has started may go on."""
        argv = [str(self.scripts / "on"), "--enter", machine, *command]
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as error:
            streams = {"input": stdin, "stdout": out, "stderr": error, "text": True}
            done = subprocess.run(argv, timeout=timeout_s, check=False, env=self.environment, **streams)
            out.seek(0)
            error.seek(0)
            told = out.read()
            assert not check or done.returncode == 0, f"{command}: {told}{error.read()}"
        return told

    def start(self, machine: str, *command: str) -> subprocess.Popen[str]:
        """A command on a machine that goes on."""
        argv = [str(self.scripts / "on"), machine, *command]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(argv, text=True, env=self.environment, **streams)

    def power(self, action: str, machine: str) -> None:
        """`kill` pulls the plug of a machine, `start` plugs it in."""
        (self.unplugged.add if action == "kill" else self.unplugged.discard)(machine)
        argv = [self.scripts / "on", "--power", action, machine]
        subprocess.run(argv, check=True, capture_output=True, timeout=180, env=self.environment)

    @contextlib.contextmanager
    def limited(self, jobs: int) -> Iterator[None]:
        """Alice may have so many jobs in the queue, for a while.

        Beside those that slurmctld counts for ever: jobs that were cancelled while they were put back.
        """
        limit = ["sacctmgr", "-iQ", "modify", "user", "alice", "set"]
        told = self.on("head", "scontrol", "show", "assoc_mgr", "users=alice", "flags=assoc")
        counted = re.search(r"UserName=alice\(.*?GrpSubmitJobs=N\((\d+)\)", told, re.DOTALL)
        assert counted, told
        self.on("head", *limit, f"MaxSubmitJobs={int(counted[1]) + jobs}")
        try:
            yield
        finally:
            self.on("head", *limit, "MaxSubmitJobs=-1")

    @contextlib.contextmanager
    def away(self, daemon: str, how: str = "stopped") -> Iterator[None]:
        """`slurmctld` or `slurmdbd` is "stopped" (its connections stay open, and silent) or "killed", for a while."""
        pid = self.on("head", "pidof", daemon).split()[0]
        self.on("head", "kill", "-STOP" if how == "stopped" else "-KILL", pid)
        try:
            yield
        finally:
            if how == "stopped":
                self.on("head", "kill", "-CONT", pid)
            else:
                self.on("head", "runuser", "-u", "slurm", "--", daemon)
            self._await_answers()

    def _await_answers(self) -> None:
        deadline = time.monotonic() + 180
        for question in (["scontrol", "ping"], ["sacctmgr", "-n", "show", "cluster"]):
            while not self.on("head", *question, check=False).strip():
                assert time.monotonic() < deadline, f"{question} is not answered"
                time.sleep(0.5)
