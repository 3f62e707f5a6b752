"""How a poll begins: exit codes and secrets that jobs left in the spool, by the same command that asks the system."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vrecompute.batch.parts import ASK_AND_TELL, PATIENCE_S
from vrecompute.batch.spool import OWNER

__all__ = ["LONGEST_S", "MARKS", "read_marks", "read_secrets"]

#: Seconds after which a poll is given up as a whole: two questions, 5 s each to be killed if they do not end when told
#: to, and a connection.
LONGEST_S = 2 * (PATIENCE_S + 5) + 20.0

#: $1 spool, $2 ids with commas. All loops over ids are awk's: a shell takes half a minute to look for 500 ids in an
#: answer of some megabytes.
MARKS = rf"""{ASK_AND_TELL}
(
  cd -- "$1" 2> /dev/null && {{
    echo "$2"
    ls
    for owner in secrets-*/{OWNER}; do
      read -r id 2> /dev/null < "$owner" && echo "${{owner%/*}} $id"
    done
  }} | awk '
    NR == 1 {{ n = split($0, ids, ","); for (i = 1; i <= n; i++) wanted[ids[i]]; next }}
    match($0, /\.[0-9]+\.end$/) && substr($0, 1, RSTART - 1) in wanted
    /^secrets-tls-/ && substr($0, 13) in wanted
    NF == 2 && /^secrets-/ && $2 in wanted
  ' | while read -r mark; do
    case $mark in secrets-*) echo "$mark" ;; *) read -r code < "$mark"; echo "$mark $code" ;; esac
  done
)
"""
_SECRETS = re.compile(r"(secrets-tls-([A-Za-z0-9_.@-]+)|(secrets-[0-9a-f]{24}-[0-9]{1,9}) ([A-Za-z0-9_.@-]+))")
_MARK = re.compile(r"([A-Za-z0-9_.@-]+)\.([0-9]{1,9})\.end ([0-9]{1,9})")


def read_marks(lines: Iterable[str]) -> tuple[dict[str, dict[int, int]], list[str]]:
    """({id: {attempt: exit code}} of the marks that come first, the lines after what is said of the spool)."""
    marks, _, said = _read(lines)
    return marks, said


def read_secrets(lines: Iterable[str]) -> dict[str, set[str]]:
    """{id: its folders of secrets in the spool}: those that were brought to a job, and the keys that it made."""
    return _read(lines)[1]


def _read(lines: Iterable[str]) -> tuple[dict[str, dict[int, int]], dict[str, set[str]], list[str]]:
    marks: dict[str, dict[int, int]] = {}
    secrets: dict[str, set[str]] = {}
    said = list(lines)
    while said:
        if found := _MARK.fullmatch(said[0]):
            marks.setdefault(found[1], {})[int(found[2])] = int(found[3])
        elif found := _SECRETS.fullmatch(said[0]):
            secrets.setdefault(found[4] or found[2], set()).add(found[3] or found[1])
        else:
            break
        del said[0]
    return marks, secrets, said
