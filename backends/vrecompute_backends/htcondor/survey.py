"""What a pool, which has no queues, says of its machines and limits: for a first site file and for a probe."""

from __future__ import annotations

import contextlib

from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.survey import Limit, Limited, Queue, Survey
from vrecompute.errors import Unavailable
from vrecompute_backends.htcondor.schedd import condor
from vrecompute_backends.htcondor.submit import complaint

__all__ = ["survey"]

#: A line a slot: machine, its cores, its MiB, and the domain whose file systems it has.
_MACHINES = ["condor_status", "-af:t", "Machine", "TotalCpus", "TotalMemory", "FileSystemDomain"]
#: Knobs of the access point that bound what a user may submit.
_LIMITS: dict[str, Limited] = {"MAX_JOBS_PER_OWNER": "jobs", "MAX_JOBS_PER_SUBMISSION": "array"}
_CONFIG = 'for name; do printf "%s=%s\\n" "$name" "$(condor_config_val "$name" 2> /dev/null)"; done'


def survey(backend: QueueBackend, system: str) -> Survey:
    """Everything that can be asked without a job; Unavailable where the pool does not answer."""
    done = condor(backend, _MACHINES)
    if done.code != 0:
        raise Unavailable(f"{backend.access}: condor_status: {complaint(done)}")
    machines: dict[str, tuple[int, int, str]] = {}
    for line in done.text.splitlines():
        name, *words = line.split("\t")
        with contextlib.suppress(ValueError):  # a line of something else
            cores, memory_mib, domain = words
            machines[name] = int(float(cores)), int(memory_mib) << 20, domain  # TotalCpus is a real number: 4.0
    answer = condor(backend, ["sh", "-c", _CONFIG, "sh", *_LIMITS, "FILESYSTEM_DOMAIN", "GROUP_NAMES"])
    said = dict(line.partition("=")[::2] for line in answer.text.splitlines())
    limits = [Limit(of, int(said[name]), name) for name, of in _LIMITS.items() if said.get(name, "").isdecimal()]
    shares = {machine[2] for machine in machines.values()} == {said.get("FILESYSTEM_DOMAIN")}
    sizes, memories = {machine[0] for machine in machines.values()}, {machine[1] for machine in machines.values()}
    pool = Queue(
        "the pool",
        is_default=True,
        nodes=len(machines),
        cores=min(sizes, default=None),
        memory_bytes=min(memories, default=None),
        largest_cores=max(sizes, default=None),
        largest_memory_bytes=max(memories, default=None),
    )
    return Survey(
        system,
        (pool,) if machines else (),
        queue_option="",
        limits=tuple(limits),
        options={"file_transfer": False} if shares else {},
        shares_files=shares if machines else None,
        unknown=() if machines else ("its machines: condor_status names none",),
    )
