"""Slurm's answers as records: functions from text or JSON to `{id: Record}`, tested without a daemon.

The text formats are asked for field by field and separated by `|`; only fields that cannot hold text of
a user are asked for, so nothing has to be unescaped. Array elements are `123_4` everywhere, those too that
Slurm tells as one, since they wait or never started.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from vrecompute.units import from_slurm, from_slurm_time
from vrecompute_backends.slurm.record import Record, elements

__all__ = ["SACCT", "SQUEUE", "parse_sacct", "parse_sacct_json", "parse_squeue", "parse_squeue_json", "submitted"]

#: Arguments of squeue and sacct whose output `parse_squeue` and `parse_sacct` read.
SQUEUE = (
    "--noheader",
    "--array",
    "--states=all",
    "--Format=JobArrayID:|,State:|,RestartCnt:|,exit_code:|,NodeList:|,TimeUsed:|,TimeLimit:|,Reason:",
)
SACCT = (
    "--noheader",
    "--parsable2",
    "--duplicates",
    "--format=JobID,State,Restarts,ExitCode,NodeList,ElapsedRaw,TimelimitRaw,ReqMem,MaxRSS,AllocNodes,AllocCPUS",
)

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: What `sbatch --parsable` answers, and what it says without, as it may where a site puts its own before it.
_PARSABLE = re.compile(r"([0-9]+)(?:;([A-Za-z0-9_.-]+))?")
_SENTENCE = re.compile(r"Submitted batch job ([0-9]+)(?: on cluster ([A-Za-z0-9_.-]*[A-Za-z0-9_-]))?")


def submitted(text: str) -> tuple[str, str] | None:
    """(id, cluster or "") of the job that sbatch took, whatever a site prints around it; None where that is in doubt.

    >>> submitted("Welcome!\\n4711\\n"), submitted("4711;beta"), submitted("Submitted batch job 4711 on cluster beta")
    (('4711', ''), ('4711', 'beta'), ('4711', 'beta'))
    >>> submitted("2026\\n4711\\n") is None
    True
    """
    answers: dict[str, str] = {}
    for line in text.splitlines():
        plain = _COLOUR.sub("", line).strip()
        if found := _PARSABLE.fullmatch(plain) or _SENTENCE.search(plain):
            answers[found[1]] = found[2] or answers.get(found[1], "")
    return next(iter(answers.items())) if len(answers) == 1 else None


def parse_squeue(text: str) -> dict[str, Record]:
    """Records from `squeue` with the arguments SQUEUE. Lines of another shape are skipped, not guessed at."""
    records: dict[str, Record] = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|", 7)]
        if len(fields) != 8 or not fields[0]:
            continue
        code, signal = _exit(fields[3])
        record = Record(
            job_id=fields[0],
            state=fields[1],
            restarts=_whole(fields[2]) or 0,
            exit_code=code,
            signal=signal,
            nodes=fields[4],
            elapsed_s=_time(fields[5]),
            limit_s=_time(fields[6]),
            reason=fields[7],
        )
        records |= elements(record)
    return records


def parse_sacct(text: str) -> dict[str, Record]:
    """Records from `sacct` with the arguments SACCT: the latest attempt of each job, with its steps' peaks."""
    jobs: dict[str, Record] = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != 11 or not fields[0]:
            continue
        # a list of elements has no steps, and may be cut short with dots
        job_id, _, step = (fields[0], "", "") if "[" in fields[0] else fields[0].partition(".")
        if step:
            _add_step(jobs, job_id, fields[1], _memory(fields[8]))
            continue
        code, signal = _exit(fields[3])
        minutes = _whole(fields[6])
        record = Record(
            job_id=job_id,
            state=fields[1],
            restarts=_whole(fields[2]) or 0,
            exit_code=code,
            signal=signal,
            nodes=fields[4],
            elapsed_s=_whole(fields[5]),
            limit_s=None if minutes is None else 60 * minutes,
            memory_limit_bytes=_requested(fields[7], _whole(fields[9]), _whole(fields[10])),
        )
        _keep_latest(jobs, elements(record))
    return jobs


def parse_squeue_json(text: str) -> dict[str, Record]:
    """Records from `squeue --json`, or from slurmrestd's `jobs`."""
    records: dict[str, Record] = {}
    for job in _jobs(text):
        records |= elements(_squeue_record(job), str(job.get("array_task_string") or ""))
    return records


def parse_sacct_json(text: str) -> dict[str, Record]:
    """Records from `sacct --json`, or from slurmdbd's `jobs` of slurmrestd; the latest attempt of each."""
    records: dict[str, Record] = {}
    for job in _jobs(text):
        _keep_latest(records, elements(_sacct_record(job), str((job.get("array") or {}).get("task") or "")))
    return records


def _keep_latest(records: dict[str, Record], found: Mapping[str, Record]) -> None:
    for job_id, record in found.items():
        if job_id not in records or record.restarts >= records[job_id].restarts:
            records[job_id] = record


def _squeue_record(job: Mapping[str, Any]) -> Record:
    task = _number(job.get("array_task_id"))
    master = _number(job.get("array_job_id"))
    master = master or job["job_id"]
    job_id = str(master) if task is None else f"{master}_{task}"
    code, signal = _exit_json(job.get("exit_code"))
    start, end = _number(job.get("start_time")), _number(job.get("end_time"))
    minutes = _number(job.get("time_limit"))
    return Record(
        job_id=job_id,
        state=_words(job.get("job_state")),
        reason=str(job.get("state_reason") or ""),
        restarts=_number(job.get("restart_cnt")) or 0,
        exit_code=code,
        signal=signal,
        nodes=str(job.get("nodes") or ""),
        elapsed_s=float(end - start) if start and end and end > start else None,
        limit_s=None if minutes is None else 60 * minutes,
    )


def _sacct_record(job: Mapping[str, Any]) -> Record:
    array = job.get("array") or {}
    task = _number(array.get("task_id"))
    master = array.get("job_id") or job["job_id"]
    job_id = str(master) if task is None else f"{master}_{task}"
    code, signal = _exit_json(job.get("exit_code"))
    time = job.get("time") or {}
    minutes = _number(time.get("limit"))
    steps = [step for step in job.get("steps") or () if isinstance(step, Mapping)]
    peaks = [peak for step in steps if (peak := _tres(step, "requested", "max", "mem")) is not None]
    limit = _total(job, "mem")
    return Record(
        job_id=job_id,
        state=_words((job.get("state") or {}).get("current")),
        reason=str((job.get("state") or {}).get("reason") or ""),
        restarts=_number(job.get("restart_cnt")) or 0,
        exit_code=code,
        signal=signal,
        nodes=str(job.get("nodes") or ""),
        elapsed_s=_number(time.get("elapsed")),
        limit_s=None if minutes is None else 60 * minutes,
        memory_peak_bytes=max(peaks, default=None),
        memory_limit_bytes=None if limit is None else (limit << 20) // max(1, int(job.get("allocation_nodes") or 1)),
        steps=tuple(_words(step.get("state")) for step in steps),
    )


def _add_step(jobs: dict[str, Record], job_id: str, state: str, peak: int | None) -> None:
    record = jobs.get(job_id)
    if record is not None:
        peaks = [n for n in (record.memory_peak_bytes, peak) if n is not None]
        jobs[job_id] = replace(record, steps=(*record.steps, state), memory_peak_bytes=max(peaks, default=None))


def _jobs(text: str) -> list[Mapping[str, Any]]:
    """The jobs of an answer; ValueError where it is no answer, which must not read as "no jobs"."""
    data, _ = json.JSONDecoder().raw_decode(text, text.index("{"))  # what a site prints around it is not read
    jobs = data.get("jobs") if isinstance(data, dict) else None
    if not isinstance(jobs, list):
        raise ValueError("Slurm's JSON has no list of jobs")
    return [job for job in jobs if isinstance(job, Mapping) and "job_id" in job]


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


def _tres(step: Mapping[str, Any], *path: str) -> int | None:
    node: Any = step.get("tres") or {}
    for key in path[:-1]:
        node = node.get(key) or {}
    return _count(node, path[-1])


def _total(job: Mapping[str, Any], kind: str) -> int | None:
    tres = job.get("tres") or {}
    return _count(tres.get("allocated") or tres.get("requested") or [], kind)


def _count(entries: Iterable[Any], kind: str) -> int | None:
    counts = [int(entry["count"]) for entry in entries if isinstance(entry, Mapping) and entry.get("type") == kind]
    return max(counts, default=None)


def _exit(text: str) -> tuple[int | None, int | None]:
    code, _, signal = text.partition(":")
    return _whole(code), _whole(signal)


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _time(text: str) -> int | None:
    try:
        return from_slurm_time(text)
    except ValueError:
        return None


def _memory(text: str) -> int | None:
    try:
        return from_slurm(text) if text and text not in {"0", "?"} else None
    except ValueError:
        return None


def _requested(text: str, nodes: int | None, cores: int | None) -> int | None:
    """Bytes on one node from sacct's ReqMem: total since 21.08, per node (`n`) or per core (`c`) before."""
    per_core, per_node = text.endswith("c"), text.endswith("n")
    amount = _memory(text.rstrip("cn"))
    if amount is None:
        return None
    if per_core:
        return amount * max(1, cores or 1) // max(1, nodes or 1)
    return amount if per_node else amount // max(1, nodes or 1)
