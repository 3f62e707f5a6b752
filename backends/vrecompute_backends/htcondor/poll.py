"""One poll: condor_q for jobs in the queue and, for those that have left it, condor_history; each with a time limit.

Now and then also why no machine matches a job, see `matching`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from vrecompute.batch.known import Answer
from vrecompute_backends.htcondor.record import ATTRIBUTES, Record, parse

__all__ = ["ARGUMENTS", "QUESTION", "read", "sections"]

#: $2 ids with commas, $3 the attributes, $4 a job to analyse, if any. The queue is asked for whole clusters: a thousand
#: jobs are few of these.
QUESTION = r"""
clusters=$(printf '%s\n' "$2" | tr , '\n' | sed 's/\..*//' | sort -u)
queued=$(ask condor_q -allusers $clusters -af:Vt $3 2>&1)
printf '==== condor_q %s %s\n%s\n' "$?" "$(date +%s)" "$queued"
gone=$(printf '%s\n' "$2" "$queued" | awk -F'\t' '
  NR == 1 { n = split($0, ids, ","); next }
  { queued[$1 "." $2] }
  END { for (i = 1; i <= n; i++) if (!(ids[i] in queued)) print ids[i] }')
if [ -n "$gone" ]; then
  ended=$(ask condor_history -match "$(printf '%s\n' "$gone" | wc -l)" $gone -af:Vt $3 2>&1)
  printf '==== condor_history %s %s\n%s\n' "$?" "$(date +%s)" "$ended"
fi
if [ -n "$4" ]; then
  why=$(ask condor_q -better-analyze "$4" 2>&1)
  printf '==== analysis %s %s\n%s\n' "$?" "$(date +%s)" "$why"
fi
"""
ARGUMENTS = (" ".join(ATTRIBUTES),)
_SOURCES = ("condor_q", "condor_history")
_HEAD = re.compile(r"==== (condor_q|condor_history|analysis) ([0-9]+) ([0-9]+)")


def sections(said: Sequence[str]) -> dict[str, list[str]]:
    """The lines of each part of a poll's output, by its name; its head comes first."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in said:
        if head := _HEAD.fullmatch(line):
            lines = found.setdefault(head[1], [])
        lines.append(line)
    return found


def read(marks: Mapping[str, Mapping[int, int]], said: Sequence[str], ids: Sequence[str]) -> Answer[Record]:
    """What a poll says of `ids`. A source that gives an error counts as silent."""
    said_by = sections(said)
    heads = {n: head for n in _SOURCES if n in said_by and (head := _HEAD.fullmatch(said_by[n][0]))}
    answered = {name for name, head in heads.items() if head[2] == "0"}
    found: dict[str, Record] = {}
    for name in sorted(answered, reverse=True):  # the queue's word is the newer one
        found = {**parse(said_by[name], float(heads[name][3])), **found}
    wanted = set(ids)
    instead = ""
    if "condor_q" not in answered:
        instead = " ".join(" ".join(said_by.get("condor_q", [])[1:]).split())[:500] or "condor_q gave no answer"
    all_asked = "condor_q" in answered and answered == set(heads)
    return Answer(
        records={i: record for i, record in found.items() if i in wanted},
        silent="condor_history" in heads and "condor_history" not in answered,
        instead=instead,
        gone=frozenset(wanted - set(found)) if all_asked else frozenset(),
        accounting=False,
        marks=marks,
    )
