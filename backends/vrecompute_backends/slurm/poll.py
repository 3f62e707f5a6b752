"""One poll: a shell script that asks three sources about any number of jobs, and which of them is believed.

    markers   the exit codes that jobs left in the spool
    squeue    what slurmctld knows, or slurmrestd or pyslurm on its behalf
    sacct     what slurmdbd knows: slow on many sites, so it is asked last, and by the text form only for
              jobs that squeue does not show alive

Each has a separate time limit, so that one that hangs hides no answer of the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from vrecompute.batch.contract import State
from vrecompute.batch.known import Answer
from vrecompute.batch.marks import PATIENCE_S
from vrecompute_backends.slurm.pyslurm_query import parse_records
from vrecompute_backends.slurm.record import Record
from vrecompute_backends.slurm.states import STATES
from vrecompute_backends.slurm.text import (
    SACCT,
    SQUEUE,
    parse_sacct,
    parse_sacct_json,
    parse_squeue,
    parse_squeue_json,
)

__all__ = ["Polled", "by_commands", "merge", "read"]

#: $3 and $4 arguments of squeue and sacct, $5 empty: sacct is not asked at all. Accounting is asked for whole
#: arrays: it keeps elements that never started as one record, which asking for an element does not find.
_COMMANDS = r"""
export SLURM_BITSTR_LEN=0  # lists of array elements are printed in full
alive=$(ask squeue $3 --jobs="$2" 2>&1)
printf '==== squeue %s\n%s\n' "$?" "$alive"
if [ -n "$5" ]; then
  rest=$(printf '%s\n%s\n' "$2" "$alive" | awk -F'|' '
    NR == 1 { n = split($0, ids, ","); next }
    $2 == "PENDING" || $2 == "RUNNING" { alive[$1] }
    END {
      for (i = 1; i <= n; i++) if (!(ids[i] in alive)) {
        sub(/_.*/, "", ids[i])
        if (!(ids[i] in asked)) { asked[ids[i]]; printf "%s%s", comma, ids[i]; comma = "," }
      }
    }')
  if [ -n "$rest" ]; then
    ended=$(ask sacct $4 --jobs="$rest" 2>&1)
    printf '==== sacct %s\n%s\n' "$?" "$ended"
  fi
fi
"""
_ARGUMENTS = {
    "commands": (" ".join(SQUEUE), " ".join(SACCT)),
    "json": ("--json --states=all", "--json --duplicates"),
}
_HEAD = re.compile(r"==== (squeue|sacct) ([0-9]+)")
#: What commands say that know no --json, or lack the plugins that write it (they may crash, or end with 0).
_NO_JSON = (
    r"unrecognized (?:option|arguments?):?.{0,3}--json.*|"
    r"unable to find plugin: (?:serializer|data_parser)/.*|"
    r"\S{1,99} output not supported by data_parser.*"
)
#: By form, what says that it will never work here; its group is why.
_REFUSALS = {"json": re.compile(f"({_NO_JSON})"), "pyslurm": re.compile(r"^unusable: (.*)", re.MULTILINE)}
_NO_ACCOUNTING = "accounting storage is disabled"
#: What a shell, or `timeout`, ends with where there is no such command.
_ABSENT = "127"
#: squeue, asked for one job that has been over for a while.
_TOO_OLD = "Invalid job id specified"
#: The last that accounting ever says of a job that was cancelled while its attempt was still being put back.
_PUT_BACK = "REQUEUED"
#: What accounting may say of jobs for ever that it lost the end of. Slurm calls them runaway jobs.
_RUNAWAY = frozenset({"PENDING", "RUNNING", "SUSPENDED", "RESIZING"})
_COMPLAINT = re.compile(r"error|curl:", re.IGNORECASE)

Reader = Callable[[str], dict[str, Record]]


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
    sections: dict[str, tuple[str, list[str]]] = {}
    lines: list[str] = []
    for line in said:
        if head := _HEAD.fullmatch(line):
            lines = []
            sections[head[1]] = (head[2], lines)
        else:
            lines.append(line)
    found: dict[str, dict[str, Record] | None] = {}
    refusals = []
    for name, reader in zip(("squeue", "sacct"), _READERS[form], strict=True):
        code, text = sections.get(name, ("", []))
        found[name] = _records(reader, "\n".join(text)) if code == "0" else None
        if found[name] is None and form in _REFUSALS and (why := _REFUSALS[form].search("\n".join(text))):
            refusals.append(why[1].strip())
    queue, accounts = found["squeue"] or {}, found["sacct"] or {}
    code, text = sections.get("sacct", ("", []))
    without = code == _ABSENT or any(_NO_ACCOUNTING in line for line in text)
    if without:
        queue = {i: replace(r, explained=True) for i, r in queue.items()}
    wanted = frozenset(ids)
    instead = _instead(sections.get("squeue")) if found["squeue"] is None else ""
    merged = merge(marks, queue, {i: replace(r, explained=True) for i, r in accounts.items()})
    if not instead:
        merged = {i: r for i, record in merged.items() if (r := record if i in queue else _without_queue(record))}
    return Polled(
        records={i: record for i, record in merged.items() if i in wanted},
        silent="sacct" in sections and found["sacct"] is None and not without,
        instead=instead,
        refusal="; ".join(dict.fromkeys(refusals)),
        gone=wanted - set(merged) if not instead and (without or found["sacct"] is not None) else frozenset(),
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
        record = max((r for r in (account, queued) if r is not None), key=lambda r: r.restarts, default=None)
        if queued is not None and record is not None and queued.restarts == record.restarts:
            record = queued
            if account is not None and account.restarts == queued.restarts:
                record = _explained(queued, account)
            elif account is not None and account.state == _PUT_BACK and queued.state.startswith("CANCELLED"):
                record = replace(queued, explained=True)  # before that attempt began: accounting never hears of it
        attempt, code = max(marks.get(job_id, {}).items(), default=(-1, 0))
        if attempt >= 0 and (record is None or attempt >= record.restarts):
            base = record if record is not None and record.restarts == attempt else Record(job_id, "")
            state = "COMPLETED" if code == 0 else "FAILED"
            record = replace(base, state=state, restarts=attempt, exit_code=code, signal=None, explained=True)
        if record is not None:
            records[job_id] = record
    return records


def _without_queue(record: Record) -> Record | None:
    """What the record of a job means that the queue, which answered, does not have; None where its end is not known."""
    if record.state == _PUT_BACK:  # it would wait in the queue for its next attempt, had that not been cancelled
        return Record(record.job_id, "CANCELLED", restarts=record.restarts + 1, limit_s=record.limit_s, explained=True)
    return None if record.state.split(" ")[0] in _RUNAWAY else record


def _explained(queued: Record, account: Record) -> Record:
    """squeue's record with the figures that only accounting has, once accounting knows of the end."""
    over = STATES.get(account.state.split(" ")[0], State.UNKNOWN).terminal
    state = account.state if over and account.state.startswith(queued.state) else queued.state
    return replace(
        queued,
        state=state,  # "CANCELLED by 1000" says more than "CANCELLED"
        memory_peak_bytes=account.memory_peak_bytes,
        memory_limit_bytes=account.memory_limit_bytes,
        elapsed_s=account.elapsed_s if over else queued.elapsed_s,
        steps=account.steps,
        explained=over,
    )


def _instead(section: tuple[str, Sequence[str]] | None) -> str:
    """What squeue's part of a poll says instead of telling of jobs; empty where they are merely too old for it."""
    if section is None:
        return "the answer about jobs was cut short"
    code, said = section[0], [line.strip() for line in section[1] if line.strip()]
    if any(_TOO_OLD in line for line in said):
        return ""
    if code == "124":
        return f"no answer within {PATIENCE_S} s"
    line = next((line for line in said if _COMPLAINT.search(line)), said[-1] if said else f"exit code {code}")
    return line[:200] if code != "0" else f"no valid answer of Slurm: {line[:200]}"


def _records(reader: Reader, text: str) -> dict[str, Record] | None:
    try:
        return reader(text)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None  # JSON of another shape than Slurm's


_READERS: Mapping[str, tuple[Reader, Reader]] = {
    "commands": (parse_squeue, parse_sacct),
    "json": (parse_squeue_json, parse_sacct_json),
    "rest": (parse_squeue_json, parse_sacct_json),
    "pyslurm": (parse_records, parse_records),
}
