"""Status from pyslurm, where it is installed and made for the Slurm of this machine: `options.prefer: pyslurm`.

pyslurm holds Python's lock while it waits for Slurm, changes how its process loads libraries, and dies with
Slurm's own. So each poll asks in a separate process, which prints what `poll.read` reads:

    python -m vrecompute_backends.slurm.pyslurm_query 12,13_0,13_1 [accounting]

Two things are odd in pyslurm 25.11: the number of element 0 of an array is None, and 128 is taken off exit
codes from 128 on. The first is put right here. The second cannot be, and is no harm: jobs leave a marker
with a code below 128.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from importlib import metadata
from typing import Any

from vrecompute_backends.slurm.record import Record, elements

__all__ = ["BODY", "main", "mismatch", "parse_records", "queued", "recorded"]

#: How a poll goes on after the marks. $2 ids with commas, $3 Python, $4 empty: accounting is not asked.
#: If it ends badly, what it had to say last is missing.
BODY = """
ask "$3" -P -m vrecompute_backends.slurm.pyslurm_query "$2" $4 || printf '==== sacct %s\\n' "$?"
"""


def mismatch(slurm: str) -> str:
    """Why pyslurm cannot ask the Slurm whose `sinfo --version` is given, and what to do; empty if it can."""
    there = re.search(r"([0-9]{1,4})\.([0-9]{1,4})", slurm)
    get = f"install pyslurm {there[0]} (it is built with the headers of that Slurm)" if there else "mend sinfo"
    try:
        version = metadata.version("pyslurm")
    except metadata.PackageNotFoundError:
        return f"pyslurm is not installed here; {get}"
    here = re.match(r"([0-9]+)\.([0-9]+)", version)
    if here and there and (int(here[1]), int(here[2])) == (int(there[1]), int(there[2])):
        return ""
    return f"pyslurm {version} does not match {slurm.strip() or 'what `sinfo --version` says: nothing'}; {get}"


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
        limit = _number(job.memory)  # MiB, on all nodes together
        record = replace(
            _record(job, job.nodelist, job.elapsed_time),
            memory_peak_bytes=_number(job.stats.resident_memory),
            memory_limit_bytes=None if limit is None else (limit << 20) // max(1, job.num_nodes or 1),
            steps=tuple(step.state for step in job.steps.values()),
        )
        records |= elements(record, job.array_tasks_waiting or "")
    return records


def _record(job: Any, nodes: str | None, elapsed_s: Any) -> Record:
    """What the two kinds of jobs have in common."""
    return Record(
        job_id=_job_id(job),
        state=job.state,
        reason=job.state_reason or "",
        restarts=job.requeue_count or 0,
        exit_code=job.exit_code,
        signal=job.exit_code_signal,
        nodes=nodes or "",
        elapsed_s=_number(elapsed_s),
        limit_s=_seconds(job.time_limit),
    )


def parse_records(text: str) -> dict[str, Record]:
    """Records as `main` prints them; ValueError for any other text."""
    from vrecompute.records import from_data  # the process that asks needs it not

    records = [from_data(Record, found) for found in json.loads(text)]
    return {record.job_id: record for record in records}


def main(ids: Sequence[str], *, accounting: bool) -> None:
    """Print what slurmctld and slurmdbd know of `ids`, as the sections of a poll, the first before the second is asked.

    Code 1 of a section is silence. A section that begins with "unusable" says that pyslurm does not work here at all.
    """
    try:
        import pyslurm
    except Exception as error:
        _print("squeue", 2, f"unusable: {type(error).__name__}: {error}")
        return
    wanted = set(ids)
    masters = sorted({int(i.partition("_")[0]) for i in ids})
    _section("squeue", wanted, lambda: queued(pyslurm.Jobs.load().values()), pyslurm.PyslurmError)
    if accounting:
        ask = pyslurm.db.Jobs.load
        of = pyslurm.db.JobFilter
        _section("sacct", wanted, lambda: recorded(ask(of(ids=masters)).values()), pyslurm.PyslurmError)


def _section(name: str, wanted: set[str], ask: Callable[[], dict[str, Record]], silence: type[Exception]) -> None:
    try:
        records = ask()
    except silence as error:
        _print(name, 1, str(error))
    except (AttributeError, TypeError) as error:  # another pyslurm than this was written for
        _print(name, 2, f"unusable: {type(error).__name__}: {error}")
    else:
        _print(name, 0, json.dumps([asdict(record) for i, record in records.items() if i in wanted]))


def _print(name: str, code: int, text: str) -> None:
    print(f"==== {name} {code}\n{text}", flush=True)


def _job_id(job: Any) -> str:
    if job.array_id is None:
        return str(job.id)
    return str(job.array_id) if job.array_tasks_waiting else f"{job.array_id}_{job.array_task_id or 0}"


def _number(value: Any) -> int | None:
    """A number, None for none: pyslurm has words such as UNLIMITED and PartitionLimit in their place."""
    return value if isinstance(value, int) and value else None


def _seconds(minutes: Any) -> int | None:
    number = _number(minutes)
    return None if number is None else 60 * number


if __name__ == "__main__":
    main(sys.argv[1].split(","), accounting="accounting" in sys.argv[2:])
