"""The parts of a poll's output: what each of its questions said, how it ended, and when."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["ASK_AND_TELL", "PATIENCE_S", "Part", "read_parts"]

#: Seconds that each of a poll's questions may take.
PATIENCE_S = 30
#: Shell: `ask COMMAND...` bounds a question where coreutils are at hand. `tell NAME COMMAND...` prints the part of a
#: question; what it said stays in $told. `untold IDS KNOWN` prints those of the ids with commas between them that are
#: no line of the second text, one a line.
ASK_AND_TELL = rf"""
ask() {{
  if command -v timeout > /dev/null 2>&1; then timeout -k 5 {PATIENCE_S} "$@"; else "$@"; fi
}}
tell() {{
  part=$1
  shift
  told=$("$@" 2>&1)
  printf '==== %s %s %s\n%s\n' "$part" "$?" "$(date +%s)" "$told"
}}
untold() {{
  printf '%s\n%s\n' "$1" "$2" | awk '
    NR == 1 {{ n = split($0, ids, ","); next }}
    {{ known[$0] }}
    END {{ for (i = 1; i <= n; i++) if (!(ids[i] in known)) print ids[i] }}'
}}
"""
#: What `timeout` ends with where it took too long; and a shell, or it, where there is no such command.
_TOO_LONG, _ABSENT = 124, 127
#: How commands, curl among them, complain.
_COMPLAINT = re.compile(r"error|curl:", re.IGNORECASE)
_NOT_READ = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
_T = TypeVar("_T")
_HEAD = re.compile(r"==== ([a-z_]{1,40}) ([0-9]{1,9})(?: ([0-9]{1,18}))?")


@dataclass(frozen=True)
class Part:
    """What one question said, with the exit code of its command. `at`: in seconds since 1970, by the site's clock."""

    code: int
    at: float | None
    lines: list[str]

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)

    @property
    def absent(self) -> bool:
        """Whether there is no such command."""
        return self.code == _ABSENT

    def read(self, reader: Callable[[str], _T]) -> _T | None:
        """What a reader makes of the text; None where it is no answer: the command failed, or the text is another."""
        try:
            return reader(self.text) if self.code == 0 else None
        except _NOT_READ:
            return None

    @property
    def problem(self) -> str:
        """What to tell of it where it is no answer, in a line: what it complains of, else its last word."""
        if self.code == _TOO_LONG:
            return f"no answer within {PATIENCE_S} s"
        said = [line.strip() for line in self.lines if line.strip()]
        return next(filter(_COMPLAINT.search, said), said[-1] if said else f"exit code {self.code}")[:200]


def read_parts(lines: Iterable[str]) -> dict[str, Part]:
    """The parts by name; of two with one name the last. Lines before the first are of none.

    >>> read_parts(["Welcome", "==== q 0 1700000000", "7|RUNNING", "==== history 124"])["q"].lines
    ['7|RUNNING']
    """
    parts: dict[str, Part] = {}
    said: list[str] = []
    for line in lines:
        if head := _HEAD.fullmatch(line):
            said = []
            parts[head[1]] = Part(int(head[2]), float(head[3]) if head[3] else None, said)
        else:
            said.append(line)
    return parts
