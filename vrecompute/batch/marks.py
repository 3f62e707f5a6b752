"""How a poll begins: exit codes and keys that jobs left in the spool, by the same command that asks the system."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vrecompute.batch.parts import ASK_AND_TELL, PATIENCE_S

__all__ = ["LONGEST_S", "MARKS", "read_keys", "read_marks"]

#: Seconds after which a poll is given up as a whole: two questions, 5 s each to be killed if they do not end when told
#: to, and a connection.
LONGEST_S = 2 * (PATIENCE_S + 5) + 20.0

#: $1 spool, $2 ids with commas. All loops over ids are awk's: a shell takes half a minute to look for 500 ids in an
#: answer of some megabytes.
MARKS = rf"""{ASK_AND_TELL}
(
  cd -- "$1" 2> /dev/null && {{ echo "$2"; ls; }} | awk '
    NR == 1 {{ n = split($0, ids, ","); for (i = 1; i <= n; i++) wanted[ids[i]]; next }}
    match($0, /\.[0-9]+\.end$/) && substr($0, 1, RSTART - 1) in wanted
    /^secrets-tls-/ && substr($0, 13) in wanted
  ' | while read -r mark; do
    case $mark in secrets-*) echo "$mark" ;; *) read -r code < "$mark"; echo "$mark $code" ;; esac
  done
)
"""
_KEYS = re.compile(r"secrets-tls-([A-Za-z0-9_.@-]+)")
_MARK = re.compile(r"([A-Za-z0-9_.@-]+)\.([0-9]{1,9})\.end ([0-9]{1,9})")


def read_marks(lines: Iterable[str]) -> tuple[dict[str, dict[int, int]], list[str]]:
    """({id: {attempt: exit code}} of the marks that come first, the lines after what is said of the spool)."""
    marks, _, said = _read(lines)
    return marks, said


def read_keys(lines: Iterable[str]) -> set[str]:
    """Ids of jobs whose own keys are in the spool."""
    return _read(lines)[1]


def _read(lines: Iterable[str]) -> tuple[dict[str, dict[int, int]], set[str], list[str]]:
    marks: dict[str, dict[int, int]] = {}
    keys: set[str] = set()
    said = list(lines)
    while said:
        if found := _MARK.fullmatch(said[0]):
            marks.setdefault(found[1], {})[int(found[2])] = int(found[3])
        elif found := _KEYS.fullmatch(said[0]):
            keys.add(found[1])
        else:
            break
        del said[0]
    return marks, keys, said
