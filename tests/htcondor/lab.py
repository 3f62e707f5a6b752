"""The HTCondor lab as tests see it: the machine that runs pytest reaches its access point by ssh."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tests.slurm.lab import CACHE, LABS, Lab
from vrecompute.sites.access import SshAccess
from vrecompute.sites.model import (
    Environment,
    Limits,
    Network,
    Nodes,
    PortRange,
    Site,
    SiteAccess,
    SiteStore,
    Ssh,
    Workers,
)
from vrecompute_backends.htcondor import HTCondorBackend

SITE = Site(
    name="lab-htcondor",
    backend="htcondor",
    access=SiteAccess(ssh=Ssh(host="submit")),
    scheduler_runs="login",
    network=Network(
        compute_outbound="none",
        interface="eth0",
        worker_ports=PortRange(10000, 10099),
        scheduler_ports=PortRange(10200, 10299),
    ),
    workers=Workers(processes=2, threads=1, memory=1400 << 20, walltime=600, nodes=Nodes(min=1, max=4)),
    store=SiteStore(url="/home/alice/store", workers_reach=False),
    environment=Environment(venv="/opt/venv", variables={"PATH": "/opt/vrecompute/bin:$PATH"}),
    limits=Limits(max_jobs=8, min_poll=1),
)

#: $1 a file, $2 its text, removed where that is empty, $3 one of its knobs, $4 the value that the schedd then has.
_CONFIGURE = r"""
if [ -n "$2" ]; then printf '%s\n' "$2" > "$1"; else rm -f "$1"; fi
condor_reconfig > /dev/null
for n in $(seq 150); do
  said=$(condor_config_val -schedd "$3" 2> /dev/null | grep -v '^Not defined')
  [ "$said" = "$4" ] && exit 0
  sleep 0.2
done
exit 1
"""


@dataclass(frozen=True)
class Pool(Lab):
    """Machines `cm`, `submit` (the access point), `e1`, `e2` and `desk` (a user's own) of the lab of that number."""

    site: Site = SITE
    scripts: Path = LABS / "htcondor"

    @property
    def keys(self) -> Path:
        """The folder with the client's ssh_config."""
        return CACHE / f"htcondor-keys-{self.number}"

    def backend(self, **options: object) -> HTCondorBackend:
        """An HTCondorBackend by ssh from this machine."""
        site = replace(self.site, options={**self.site.options, **options})
        assert site.access.ssh is not None
        return HTCondorBackend(site, SshAccess(site.access.ssh, config=self.keys / "ssh_config"))

    @contextlib.contextmanager
    def configured(self, **knobs: object) -> Iterator[None]:
        """The access point as an operator configures it, for a while."""
        name = "_".join(knobs)
        path, mark, now = f"/etc/condor/config.d/95-{name}.conf", f"MARK_{name}", f"{time.time_ns()}"
        lines = "\n".join(f"{knob} = {value}" for knob, value in {**knobs, mark: now}.items())
        configure = ("root@submit", "sh", "-c", _CONFIGURE, "sh", path)
        try:
            self.on(*configure, lines, mark, now)
            yield
        finally:
            self.on(*configure, "", mark, "")

    def queue(self) -> list[str]:
        """Jobs that are in the queue: id and state."""
        return self.on("submit", "condor_q", "-af:j", "JobStatus", check=False).splitlines()

    def running(self) -> list[str]:
        """Ids of jobs that run on execution points."""
        which = "JobStatus == 2 && JobUniverse == 5"
        return self.on("submit", "condor_q", "-constraint", which, "-af:j", "JobStatus", check=False).split()[::2]
