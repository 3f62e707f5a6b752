"""One poll: condor_q for jobs in the queue and, for those that have left it, condor_history; each with a time limit.

Now and then also why no machine matches a job, see `matching`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from vrecompute.batch.known import Answer
from vrecompute.batch.parts import read_parts
from vrecompute_backends.htcondor.record import ATTRIBUTES, Record, parse

__all__ = ["ARGUMENTS", "QUESTION", "read"]

#: $2 ids with commas, $3 the attributes, $4 a job to analyse, if any. The queue is asked for whole clusters: a thousand
#: jobs are few of these.
QUESTION = r"""
clusters=$(printf '%s\n' "$2" | tr , '\n' | sed 's/\..*//' | sort -u)
tell condor_q ask condor_q -allusers $clusters -af:Vt $3
gone=$(untold "$2" "$(printf '%s\n' "$told" | awk -F'\t' '{ print $1 "." $2 }')")
[ -z "$gone" ] || tell condor_history ask condor_history -match "$(printf '%s\n' "$gone" | wc -l)" $gone -af:Vt $3
[ -z "$4" ] || tell analysis ask condor_q -better-analyze "$4"
"""
ARGUMENTS = (" ".join(ATTRIBUTES),)
#: What condor_history says for ever of an access point that keeps none, this machine or another.
_NO_HISTORY = re.compile(r"\bHISTORY (?:is unset|is not defined|undefined)")


def read(marks: Mapping[str, Mapping[int, int]], said: Sequence[str], ids: Sequence[str]) -> Answer[Record]:
    """What a poll says of `ids`. A source that gives an error counts as silent."""
    asked = {name: part for name, part in read_parts(said).items() if name in {"condor_q", "condor_history"}}
    answered = {name for name, part in asked.items() if part.code == 0}
    found: dict[str, Record] = {}
    for name in sorted(answered, reverse=True):  # the queue's word is the newer one
        found = {**parse(asked[name].lines, asked[name].at), **found}
    wanted = set(ids)
    instead = ""
    if "condor_q" not in answered:
        queue = asked.get("condor_q")
        instead = " ".join(queue.text.split() if queue else [])[:500] or "condor_q gave no answer"
    history = asked.get("condor_history")
    without = history is not None and history.code != 0 and _NO_HISTORY.search(history.text) is not None
    silent = history is not None and "condor_history" not in answered and not without
    return Answer(
        records={i: record for i, record in found.items() if i in wanted},
        silent=silent,
        instead=instead,
        gone=frozenset(wanted - set(found)) if "condor_q" in answered and not silent else frozenset(),
        accounting=not without,
        marks=marks,
    )
