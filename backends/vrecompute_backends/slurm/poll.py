"""One poll: a shell script that asks three sources about any number of jobs, and which of them is believed.

    markers   the exit codes that jobs left in the spool
    squeue    what slurmctld knows, or slurmrestd or pyslurm on its behalf
    sacct     what slurmdbd knows: slow on many sites, so it is asked last, and by the text form only for
              jobs that squeue does not show alive

Each has a separate time limit, so that one that hangs hides no answer of the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vrecompute.batch.binding import UNUSABLE
from vrecompute.batch.contract import State
from vrecompute.batch.known import Answer
from vrecompute.batch.parts import Part, read_parts
from vrecompute.batch.web_questions import NO_ENTRY
from vrecompute_backends.slurm.record import READERS, SACCT, SQUEUE, Record
from vrecompute_backends.slurm.states import STATES

__all__ = ["Polled", "by_commands", "merge", "read"]

#: $3 and $4 arguments of squeue and sacct, $5 empty: sacct is not asked at all. Accounting is asked for whole
#: arrays: it keeps elements that never started as one record, which asking for an element does not find.
_COMMANDS = r"""
export SLURM_BITSTR_LEN=0  # lists of array elements are printed in full
tell squeue ask squeue $3 --jobs="$2"
if [ -n "$5" ]; then
  alive=$(printf '%s\n' "$told" | awk -F'|' '$2 == "PENDING" || $2 == "RUNNING" { print $1 }')
  rest=$(untold "$2" "$alive" | sed 's/_.*//' | awk '!seen[$0]++' | paste -s -d , -)
  [ -z "$rest" ] || tell sacct ask sacct $4 --jobs="$rest"
fi
"""
_ARGUMENTS = {"commands": (SQUEUE, SACCT), "json": ("--json --states=all", "--json --duplicates")}

#: What commands say that know no --json, or lack the plugins that write it (they may crash, or end with 0).
_NO_JSON = (
    r"unrecognized (?:option|arguments?):?.{0,3}--json.*|"
    r"unable to find plugin: (?:serializer|data_parser)/.*|"
    r"\S{1,99} output not supported by data_parser.*"
)
#: By form, what says that it will never work here; its group is why.
_REFUSALS = {"json": re.compile(f"({_NO_JSON})"), "pyslurm": re.compile(rf"^{UNUSABLE}(.*)", re.MULTILINE)}
_NO_ACCOUNTING = "accounting storage is disabled"
#: squeue, asked for one job that has been over for a while.
_TOO_OLD = "Invalid job id specified"
#: The last that accounting ever says of a job that was cancelled while its attempt was still being put back.
_PUT_BACK = "REQUEUED"
#: What accounting may say of jobs for ever that it lost the end of. Slurm calls them runaway jobs.
_RUNAWAY = frozenset({"PENDING", "RUNNING", "SUSPENDED", "RESIZING"})


@dataclass(frozen=True)
class Polled(Answer[Record]):
    """An answer in Slurm's words. `refusal`: why this way of asking can never work here, empty if it may."""

    refusal: str = ""


def by_commands(form: str, *, accounting: bool, cluster: str | None = None) -> list[str]:
    """The script that asks squeue and sacct in a form, "commands" (their text) or "json", and its arguments."""
    arguments = [f"{words} --clusters={cluster}" if cluster else words for words in _ARGUMENTS[form]]
    return [_COMMANDS, *arguments, "accounting" if accounting else ""]


def read(marks: Mapping[str, Mapping[int, int]], said: Sequence[str], ids: Sequence[str], form: str) -> Polled:
    """What a poll says of `ids`. A source that gives an error, or nonsense, counts as silent."""
    parts = read_parts(said)
    squeue, sacct = parts.get("squeue"), parts.get("sacct")
    queued, accounted = (part and part.read(r) for part, r in zip((squeue, sacct), READERS[form], strict=True))
    refusals = {
        why[1].strip(): None
        for part, records in ((squeue, queued), (sacct, accounted))
        if part and records is None and form in _REFUSALS and (why := _REFUSALS[form].search(part.text))
    }
    without = sacct is not None and (sacct.absent or _NO_ACCOUNTING in sacct.text)
    queue = {i: replace(r, explained=without) for i, r in (queued or {}).items()}
    merged = merge(marks, queue, {i: replace(r, explained=True) for i, r in (accounted or {}).items()})
    instead = _instead(squeue) if queued is None else ""
    if not instead:
        merged = {i: r for i, record in merged.items() if (r := record if i in queue else _without_queue(record))}
    wanted = frozenset(ids)
    return Polled(
        records={i: record for i, record in merged.items() if i in wanted},
        silent=sacct is not None and accounted is None and not without,
        instead=instead,
        refusal="; ".join(refusals),
        gone=wanted - set(merged) if not instead and (without or accounted is not None) else frozenset(),
        accounting=not without,
    )


def merge(
    marks: Mapping[str, Mapping[int, int]], queue: Mapping[str, Record], accounts: Mapping[str, Record]
) -> dict[str, Record]:
    """What to believe of each job: its latest attempt, where a marker beats squeue and squeue beats sacct.

    `marks` is {id: {attempt: exit code}}. Peaks, limits and steps come from sacct, whichever source gives the state.
    """
    records = {}
    for job_id in {*marks, *queue, *accounts}:
        queued, account = queue.get(job_id), accounts.get(job_id)
        record = _latest(queued, account) if queued and account else queued or account
        attempt, code = max(marks.get(job_id, {}).items(), default=(-1, 0))
        if attempt >= 0 and (record is None or attempt >= record.restarts):
            base = record if record is not None and record.restarts == attempt else Record(job_id, "")
            state = "COMPLETED" if code == 0 else "FAILED"
            record = replace(base, state=state, restarts=attempt, exit_code=code, signal=None, explained=True)
        if record is not None:
            records[job_id] = record
    return records


def _latest(queued: Record, account: Record) -> Record:
    """The latest attempt: squeue's record, with the figures that only accounting has and, once it knows it, the end."""
    if account.restarts > queued.restarts:
        return account
    if account.restarts < queued.restarts:
        # cancelled before this attempt began: accounting never hears of it
        cancelled = account.state == _PUT_BACK and queued.state.startswith("CANCELLED")
        return replace(queued, explained=queued.explained or cancelled)
    over = STATES.get(account.state.split(" ")[0], State.UNKNOWN).terminal
    return replace(
        queued,
        # "CANCELLED by 1000" says more than "CANCELLED"
        state=account.state if over and account.state.startswith(queued.state) else queued.state,
        memory_peak_bytes=account.memory_peak_bytes,
        memory_limit_bytes=account.memory_limit_bytes,
        elapsed_s=account.elapsed_s if over else queued.elapsed_s,
        steps=account.steps,
        explained=over,
    )


def _without_queue(record: Record) -> Record | None:
    """What the record of a job means that the queue, which answered, does not have; None where its end is not known."""
    if record.state == _PUT_BACK:  # it would wait in the queue for its next attempt, had that not been cancelled
        return Record(record.job_id, "CANCELLED", restarts=record.restarts + 1, limit_s=record.limit_s, explained=True)
    return None if record.state.split(" ")[0] in _RUNAWAY else record


def _instead(squeue: Part | None) -> str:
    """What squeue's part of a poll says instead of telling of jobs; empty where they are merely too old for it."""
    if squeue is None:
        return "the answer about jobs was cut short"
    if _TOO_OLD in squeue.text:
        return ""
    problem = squeue.problem
    if NO_ENTRY.search(problem):
        return f"{problem}; its token is not accepted: `scontrol token` gives a new one"
    return problem if squeue.code else f"no valid answer of Slurm: {problem}"
