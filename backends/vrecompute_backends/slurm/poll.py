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
from vrecompute_backends.slurm.pyslurm_query import parse_records
from vrecompute_backends.slurm.record import Record
from vrecompute_backends.slurm.shell import FORGET
from vrecompute_backends.slurm.states import STATES
from vrecompute_backends.slurm.text import (
    SACCT,
    SQUEUE,
    parse_sacct,
    parse_sacct_json,
    parse_squeue,
    parse_squeue_json,
)

__all__ = ["LONGEST_S", "MARKS", "PATIENCE_S", "Answer", "by_commands", "merge", "read"]

#: Seconds that each of squeue and sacct may take, and those after which a poll is given up as a whole: both,
#: 5 s each to be killed if they do not end when told to, and a connection.
PATIENCE_S = 30
LONGEST_S = 2 * (PATIENCE_S + 5) + 20.0

#: How every poll begins. $1 spool, $2 ids with commas. `ask` bounds a question where coreutils are at hand. All
#: loops over ids are awk's: a shell takes half a minute to look for 500 ids in an answer of some megabytes.
MARKS = (
    FORGET
    + rf"""
export SLURM_BITSTR_LEN=0  # lists of array elements are printed in full
ask() {{
  if command -v timeout > /dev/null 2>&1; then timeout -k 5 {PATIENCE_S} "$@"; else "$@"; fi
}}
(
  cd -- "$1" 2> /dev/null && {{ echo "$2"; ls; }} | awk -F. '
    NR == 1 {{ n = split($0, ids, ","); for (i = 1; i <= n; i++) wanted[ids[i]]; next }}
    NF == 3 && $3 == "end" && $1 in wanted
  ' | while read -r mark; do read -r code < "$mark"; echo "$mark $code"; done
)
"""
)
#: $3 and $4 arguments of squeue and sacct, $5 empty: sacct is not asked at all. Accounting is asked for whole
#: arrays: it keeps elements that never started as one record, which asking for an element does not find.
_COMMANDS = r"""
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
_MARK = re.compile(r"([0-9]+(?:_[0-9]+)?)\.([0-9]{1,9})\.end ([0-9]{1,9})")
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
_COMPLAINT = re.compile(r"error|curl:", re.IGNORECASE)

Reader = Callable[[str], dict[str, Record]]


@dataclass(frozen=True)
class Answer:
    """What a poll learned of the jobs asked for.

    `silent`: accounting did not answer, so that what it knows is still to come. `instead`: what came instead of
    an answer about jobs that are not over, empty if one came. `refusal`: why this way of asking can never work
    here, empty if it may. `gone`: ids that no source knows, although all of them answered; `accounting`: whether
    there is any here.
    """

    records: Mapping[str, Record]
    silent: bool = False
    instead: str = ""
    refusal: str = ""
    gone: frozenset[str] = frozenset()
    accounting: bool = True


def by_commands(
    spool: str, ids: Sequence[str], form: str, *, accounting: bool, cluster: str | None = None
) -> list[str]:
    """The command that asks squeue and sacct in a form, "commands" (their text) or "json"."""
    arguments = [f"{words} --clusters={cluster}" if cluster else words for words in _ARGUMENTS[form]]
    return ["sh", "-c", MARKS + _COMMANDS, "sh", spool, ",".join(ids), *arguments, "accounting" if accounting else ""]


def read(text: str, ids: Sequence[str], form: str) -> Answer:
    """What the output of a poll says of `ids`. A source that gives an error, or nonsense, counts as silent."""
    marks: dict[str, dict[int, int]] = {}
    sections: dict[str, tuple[str, list[str]]] = {}
    lines: list[str] | None = None
    for line in text.splitlines():
        if head := _HEAD.fullmatch(line):
            lines = []
            sections[head[1]] = (head[2], lines)
        elif lines is not None:
            lines.append(line)
        elif mark := _MARK.fullmatch(line):
            marks.setdefault(mark[1], {})[int(mark[2])] = int(mark[3])
    found: dict[str, dict[str, Record] | None] = {}
    refusals = []
    for name, reader in zip(("squeue", "sacct"), _READERS[form], strict=True):
        code, said = sections.get(name, ("", []))
        found[name] = _records(reader, "\n".join(said)) if code == "0" else None
        if found[name] is None and form in _REFUSALS and (why := _REFUSALS[form].search("\n".join(said))):
            refusals.append(why[1].strip())
    queue, accounts = found["squeue"] or {}, found["sacct"] or {}
    code, said = sections.get("sacct", ("", []))
    without = code == _ABSENT or any(_NO_ACCOUNTING in line for line in said)
    if without:
        queue = {i: replace(r, explained=True) for i, r in queue.items()}
    wanted = frozenset(ids)
    instead = _instead(sections.get("squeue")) if found["squeue"] is None else ""
    merged = merge(marks, queue, {i: replace(r, explained=True) for i, r in accounts.items()})
    return Answer(
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
        attempt, code = max(marks.get(job_id, {}).items(), default=(-1, 0))
        if attempt >= 0 and (record is None or attempt >= record.restarts):
            base = record if record is not None and record.restarts == attempt else Record(job_id, "")
            state = "COMPLETED" if code == 0 else "FAILED"
            record = replace(base, state=state, restarts=attempt, exit_code=code, signal=None, explained=True)
        if record is not None:
            records[job_id] = record
    return records


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
        return "the output of the poll was cut off"
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
