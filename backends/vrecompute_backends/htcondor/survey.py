"""What a pool, which has no queues, says of its machines and limits: for a first site file and for a probe."""

from __future__ import annotations

import contextlib
from functools import partial

from vrecompute.batch.limit_rules import LimitRule, read_limits
from vrecompute.batch.questions import Questions
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.rows import pairs
from vrecompute.batch.survey import Queue, Survey, gathered
from vrecompute_backends.htcondor.schedd import condor
from vrecompute_backends.htcondor.submit import complaint

__all__ = ["survey"]

#: A line a slot: machine, its cores, its MiB, and the domain whose file systems it has.
_MACHINES = ["condor_status", "-af:t", "Machine", "TotalCpus", "TotalMemory", "FileSystemDomain"]
#: Knobs of the access point that bound what a user may submit.
_LIMITS = {"MAX_JOBS_PER_OWNER": LimitRule("jobs"), "MAX_JOBS_PER_SUBMISSION": LimitRule("array")}
_CONFIG = 'for name; do printf "%s=%s\\n" "$name" "$(condor_config_val "$name" 2> /dev/null)"; done'


def survey(backend: QueueBackend, system: str) -> Survey:
    """Everything that can be asked without a job; Unavailable where the pool does not answer."""
    asked = Questions(backend.access, partial(condor, backend), complaint)
    machines: dict[str, tuple[int, int, str]] = {}
    for line in asked.needed(_MACHINES).splitlines():
        name, *words = line.split("\t")
        with contextlib.suppress(ValueError):  # a line of something else
            cores, memory_mib, domain = words
            machines[name] = int(float(cores)), int(memory_mib) << 20, domain  # TotalCpus is a real number: 4.0
    said = pairs(asked.wanted(["sh", "-c", _CONFIG, "sh", *_LIMITS, "FILESYSTEM_DOMAIN"], "limits of jobs"), "\n")
    shares = {domain for _, _, domain in machines.values()} == {said.get("FILESYSTEM_DOMAIN")}
    pool = (
        Queue("the pool", True, nodes=1, cores=n, memory_bytes=m, largest_cores=n, largest_memory_bytes=m)
        for n, m, _ in machines.values()
    )
    return Survey(
        system,
        gathered(pool),
        queue_option="",
        limits=read_limits(said, _LIMITS),
        options={"file_transfer": False} if shares else {},
        shares_files=shares if machines else None,
        unknown=(*asked.unknown, *([] if machines else ["its machines: condor_status names none"])),
    )
