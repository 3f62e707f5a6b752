"""How a poll begins: the exit codes that jobs left in the spool, read by the same command that asks the system."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["LONGEST_S", "MARKS", "PATIENCE_S", "read_marks"]

#: Seconds that each of a poll's questions may take, and those after which it is given up as a whole: two questions,
#: 5 s each to be killed if they do not end when told to, and a connection.
PATIENCE_S = 30
LONGEST_S = 2 * (PATIENCE_S + 5) + 20.0

#: $1 spool, $2 ids with commas. `ask` bounds a question where coreutils are at hand. All loops over ids are
#: awk's: a shell takes half a minute to look for 500 ids in an answer of some megabytes.
MARKS = rf"""
ask() {{
  if command -v timeout > /dev/null 2>&1; then timeout -k 5 {PATIENCE_S} "$@"; else "$@"; fi
}}
(
  cd -- "$1" 2> /dev/null && {{ echo "$2"; ls; }} | awk '
    NR == 1 {{ n = split($0, ids, ","); for (i = 1; i <= n; i++) wanted[ids[i]]; next }}
    match($0, /\.[0-9]+\.end$/) && substr($0, 1, RSTART - 1) in wanted
  ' | while read -r mark; do read -r code < "$mark"; echo "$mark $code"; done
)
"""
_MARK = re.compile(r"([A-Za-z0-9_.@-]+)\.([0-9]{1,9})\.end ([0-9]{1,9})")


def read_marks(lines: Iterable[str]) -> tuple[dict[str, dict[int, int]], list[str]]:
    """({id: {attempt: exit code}} of the marks that come first, the lines after them)."""
    marks: dict[str, dict[int, int]] = {}
    said = list(lines)
    while said and (found := _MARK.fullmatch(said[0])):
        marks.setdefault(found[1], {})[int(found[2])] = int(found[3])
        del said[0]
    return marks, said
