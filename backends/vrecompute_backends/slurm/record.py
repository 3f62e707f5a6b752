"""`Record`: one attempt of one job in Slurm's own words; and the text and JSON of squeue and sacct that say it.

The text formats are asked for field by field and separated by `|`; only fields that cannot hold text of
a user are asked for, so nothing has to be unescaped. Array elements are `123_4` everywhere, those too that
Slurm tells as one, since they wait or never started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vrecompute.batch.array_tasks import array_ids
from vrecompute.batch.json_answer import json_at, json_records
from vrecompute.batch.rows import parsed, rows, whole
from vrecompute.records import from_data, json_of
from vrecompute.units import from_slurm, from_slurm_time

__all__ = [
    "READERS", "SACCT", "SQUEUE", "Reader", "Record", "elements", "minutes_s", "parse_records",
    "parse_sacct", "parse_sacct_json", "parse_squeue", "parse_squeue_json", "per_node_bytes",
]  # fmt: skip

#: Arguments of squeue and sacct whose output `parse_squeue` and `parse_sacct` read.
SQUEUE = (
    "--noheader --array --states=all "
    "--Format=JobArrayID:|,State:|,RestartCnt:|,exit_code:|,NodeList:|,TimeUsed:|,TimeLimit:|,Reason:"
)
SACCT = (
    "--noheader --parsable2 --duplicates "
    "--format=JobID,State,Restarts,ExitCode,NodeList,ElapsedRaw,TimelimitRaw,ReqMem,MaxRSS,AllocNodes,AllocCPUS"
)


@dataclass(frozen=True)
class Record:
    """One attempt of one job. Bytes and seconds.

    `state` may carry flags ("COMPLETING", "REQUEUED") and words ("CANCELLED by 1000"). `steps` are the states of its
    steps; `exit_code` and `signal` are the job's own. `explained`: nothing more about its end is to come.
    """

    job_id: str
    state: str
    reason: str = ""
    restarts: int = 0
    exit_code: int | None = None
    signal: int | None = None
    nodes: str = ""
    memory_peak_bytes: int | None = None
    memory_limit_bytes: int | None = None
    elapsed_s: float | None = None
    limit_s: int | None = None
    steps: tuple[str, ...] = ()
    explained: bool = False


def elements(record: Record, tasks: str = "") -> dict[str, Record]:
    """The record by its id; one for each element where it stands for several that wait or never started."""
    return {job_id: replace(record, job_id=job_id) for job_id in array_ids(record.job_id, tasks)}


def minutes_s(minutes: int | None) -> int | None:
    """Seconds of a limit, of which Slurm counts minutes."""
    return None if minutes is None else 60 * minutes


def per_node_bytes(mib: int | None, nodes: int) -> int | None:
    """Of the memory on all nodes, which Slurm counts in MiB, that of one."""
    return None if mib is None else (mib << 20) // max(1, nodes)


def parse_squeue(text: str) -> dict[str, Record]:
    """Records from `squeue` with the arguments SQUEUE."""
    records: dict[str, Record] = {}
    for job_id, state, restarts, end, nodes, used, limit, reason in rows(text.splitlines(), 8, free_end=True):
        record = Record(job_id, state, reason, whole(restarts) or 0, *_exit(end), nodes)
        records |= elements(
            replace(record, elapsed_s=parsed(from_slurm_time, used), limit_s=parsed(from_slurm_time, limit))
        )
    return records


def parse_sacct(text: str) -> dict[str, Record]:
    """Records from `sacct` with the arguments SACCT: the latest attempt of each job, with its steps' peaks."""
    jobs: dict[str, Record] = {}
    for name, state, restarts, end, nodes, elapsed, limit, asked, peak, count, cores in rows(text.splitlines(), 11):
        # a list of elements has no steps, and may be cut short with dots
        job_id, _, step = (name, "", "") if "[" in name else name.partition(".")
        if step:
            _add_step(jobs, job_id, state, parsed(from_slurm, peak) or None)
            continue
        record = replace(
            Record(job_id, state, "", whole(restarts) or 0, *_exit(end), nodes),
            elapsed_s=whole(elapsed),
            limit_s=minutes_s(whole(limit)),
            memory_limit_bytes=_requested(asked, whole(count), whole(cores)),
        )
        _keep_latest(jobs, elements(record))
    return jobs


def parse_squeue_json(text: str) -> dict[str, Record]:
    """Records from `squeue --json`, or from slurmrestd's `jobs`."""
    records: dict[str, Record] = {}
    for job in _jobs(text):
        record = _record(job, job.get("array_job_id"), job.get("array_task_id"), job.get("job_state"))
        start, end = _number(job.get("start_time")), _number(job.get("end_time"))
        record = replace(
            record,
            reason=str(job.get("state_reason") or ""),
            elapsed_s=float(end - start) if start and end and end > start else None,
            limit_s=minutes_s(_number(job.get("time_limit"))),
        )
        records |= elements(record, str(job.get("array_task_string") or ""))
    return records


def parse_sacct_json(text: str) -> dict[str, Record]:
    """Records from `sacct --json`, or from slurmdbd's `jobs` of slurmrestd; the latest attempt of each."""
    records: dict[str, Record] = {}
    for job in _jobs(text):
        record = _record(
            job, json_at(job, "array", "job_id"), json_at(job, "array", "task_id"), json_at(job, "state", "current")
        )
        steps = [step for step in job.get("steps") or () if isinstance(step, Mapping)]
        peaks = [peak for step in steps if (peak := _most(json_at(step, "tres", "requested", "max"))) is not None]
        limit = _most(json_at(job, "tres", "allocated") or json_at(job, "tres", "requested"))
        record = replace(
            record,
            reason=str(json_at(job, "state", "reason") or ""),
            elapsed_s=_number(json_at(job, "time", "elapsed")),
            limit_s=minutes_s(_number(json_at(job, "time", "limit"))),
            memory_peak_bytes=max(peaks, default=None),
            memory_limit_bytes=per_node_bytes(limit, int(job.get("allocation_nodes") or 1)),
            steps=tuple(_words(step.get("state")) for step in steps),
        )
        _keep_latest(records, elements(record, str(json_at(job, "array", "task") or "")))
    return records


def parse_records(text: str) -> dict[str, Record]:
    """Records as `pyslurm_query` prints them; ValueError for any other text."""
    records = [from_data(Record, found) for found in json_of(text)]
    return {record.job_id: record for record in records}


def _keep_latest(records: dict[str, Record], found: Mapping[str, Record]) -> None:
    for job_id, record in found.items():
        if job_id not in records or record.restarts >= records[job_id].restarts:
            records[job_id] = record


def _add_step(jobs: dict[str, Record], job_id: str, state: str, peak: int | None) -> None:
    record = jobs.get(job_id)
    if record is not None:
        peaks = [n for n in (record.memory_peak_bytes, peak) if n is not None]
        jobs[job_id] = replace(record, steps=(*record.steps, state), memory_peak_bytes=max(peaks, default=None))


def _jobs(text: str) -> list[Mapping[str, Any]]:
    return [job for job in json_records(text, "jobs") if "job_id" in job]


def _record(job: Mapping[str, Any], array: Any, task: Any, state: Any) -> Record:
    """What squeue and sacct say alike in JSON; `array` is the id of its array, `task` its number there."""
    array, task = _number(array) or job["job_id"], _number(task)
    job_id, restarts = str(array) if task is None else f"{array}_{task}", _number(job.get("restart_cnt")) or 0
    return Record(job_id, _words(state), "", restarts, *_exit_json(job.get("exit_code")), str(job.get("nodes") or ""))


def _number(value: Any) -> int | None:
    """A number as Slurm's JSON has it: plain (before 23.02), or `{set, infinite, number}`."""
    if isinstance(value, Mapping):
        return int(value["number"]) if value.get("set") and not value.get("infinite") else None
    return int(value) if isinstance(value, (int, float)) else None


def _words(value: Any) -> str:
    """States are one word (before 23.02) or a list of a state and its flags."""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _exit_json(value: Any) -> tuple[int | None, int | None]:
    if not isinstance(value, Mapping):
        number = _number(value)
        return (None, None) if number is None else (number >> 8, number & 0x7F)
    signal = value.get("signal")
    number = _number(signal.get("id", signal.get("signal_id"))) if isinstance(signal, Mapping) else None
    return _number(value.get("return_code")), number


def _most(resources: Any) -> int | None:
    """The most memory in a list of what JSON counts; for a job in MiB, for a step in bytes."""
    found = [each for each in resources or () if isinstance(each, Mapping) and each.get("type") == "mem"]
    return max((int(each["count"]) for each in found), default=None)


def _exit(text: str) -> tuple[int | None, int | None]:
    code, _, signal = text.partition(":")
    return whole(code), whole(signal)


def _requested(text: str, nodes: int | None, cores: int | None) -> int | None:
    """Bytes on one node from sacct's ReqMem: total since 21.08, per node (`n`) or per core (`c`) before."""
    amount = parsed(from_slurm, text.rstrip("cn")) or None
    if amount is None or text.endswith("n"):
        return amount
    total = amount * max(1, cores or 1) if text.endswith("c") else amount
    return total // max(1, nodes or 1)


Reader = Callable[[str], dict[str, Record]]
#: What reads what slurmctld and what slurmdbd is said to know, by form.
READERS: Mapping[str, tuple[Reader, Reader]] = {
    "commands": (parse_squeue, parse_sacct),
    "json": (parse_squeue_json, parse_sacct_json),
    "rest": (parse_squeue_json, parse_sacct_json),
    "pyslurm": (parse_records, parse_records),
}
