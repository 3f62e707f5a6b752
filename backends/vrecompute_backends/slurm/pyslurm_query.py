"""Status from pyslurm, where it is installed and made for the Slurm of this machine: `options.prefer: pyslurm`.

pyslurm holds Python's lock while it waits for Slurm, changes how its process loads libraries, and dies with
Slurm's own. So each poll asks in a separate process, which prints what `poll.read` reads:

    python -m vrecompute_backends.slurm.pyslurm_query 12,13_0,13_1 [accounting]

Two things are odd in pyslurm 25.11: the number of element 0 of an array is None, and 128 is taken off exit codes from
128 on. The first is put right here. The second cannot be, and is no harm: jobs leave a marker with a code below 128.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from vrecompute.batch.binding import Binding, tell_parts, tell_unusable
from vrecompute_backends.slurm.record import Record, elements, minutes_s, per_node_bytes

__all__ = ["BODY", "main", "mismatch", "queued", "recorded"]

#: How a poll goes on after the marks. $2 ids with commas, $3 Python, $4 empty: accounting is not asked.
#: If it ends badly, what it had to say last is missing.
BODY = """
ask "$3" -P -m vrecompute_backends.slurm.pyslurm_query "$2" $4 || printf '==== sacct %s\\n' "$?"
"""
#: Why it cannot ask the Slurm whose `sinfo --version` is given, and what to do; empty if it can.
mismatch = Binding("pyslurm", "Slurm", "sinfo --version").mismatch


def queued(jobs: Iterable[Any]) -> dict[str, Record]:
    """Records of `pyslurm.Job`s, which slurmctld knows."""
    records: dict[str, Record] = {}
    for job in jobs:
        records |= elements(_record(job, job.allocated_nodes, job.run_time), job.array_tasks_waiting or "")
    return records


def recorded(jobs: Iterable[Any]) -> dict[str, Record]:
    """Records of `pyslurm.db.Job`s, which slurmdbd knows; the latest attempt of each is all that it gives."""
    records: dict[str, Record] = {}
    for job in jobs:
        record = replace(
            _record(job, job.nodelist, job.elapsed_time),
            memory_peak_bytes=_number(job.stats.resident_memory),
            memory_limit_bytes=per_node_bytes(_number(job.memory), job.num_nodes or 1),
            steps=tuple(step.state for step in job.steps.values()),
        )
        records |= elements(record, job.array_tasks_waiting or "")
    return records


def _record(job: Any, nodes: str | None, elapsed_s: Any) -> Record:
    """What the two kinds of jobs have in common."""
    job_id = job.id if job.array_id is None else job.array_id
    if job.array_id is not None and not job.array_tasks_waiting:
        job_id = f"{job_id}_{job.array_task_id or 0}"
    return Record(
        str(job_id),
        job.state,
        job.state_reason or "",
        job.requeue_count or 0,
        job.exit_code,
        job.exit_code_signal,
        nodes or "",
        elapsed_s=_number(elapsed_s),
        limit_s=minutes_s(_number(job.time_limit)),
    )


def _number(value: Any) -> int | None:
    """A number, None for none: pyslurm has words such as UNLIMITED and PartitionLimit in their place."""
    return value if isinstance(value, int) and value else None


def main(ids: Sequence[str], *, accounting: bool) -> None:
    """Print what slurmctld and slurmdbd know of `ids`, as the parts of a poll."""
    try:
        import pyslurm
    except Exception as error:
        tell_unusable("squeue", error)
        return
    wanted, masters = set(ids), sorted({int(i.partition("_")[0]) for i in ids})

    def ours(records: Mapping[str, Record]) -> list[dict[str, Any]]:
        return [asdict(record) for i, record in records.items() if i in wanted]

    questions: dict[str, Callable[[], Any]] = {"squeue": lambda: ours(queued(pyslurm.Jobs.load().values()))}
    if accounting:
        questions["sacct"] = lambda: ours(recorded(pyslurm.db.Jobs.load(pyslurm.db.JobFilter(ids=masters)).values()))
    tell_parts(questions, pyslurm.PyslurmError)


if __name__ == "__main__":
    main(sys.argv[1].split(","), accounting="accounting" in sys.argv[2:])
