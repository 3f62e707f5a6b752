"""What a command answered that took a job: its id, whatever a site prints around it."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["taken_as"]

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def taken_as(text: str, whole_line: re.Pattern[str], within: Iterable[re.Pattern[str]] = ()) -> tuple[str, str] | None:
    """(id, where it is or "") of the one job that an answer names; None where that is in doubt.

    The groups of the patterns are these, or the id alone: of one that is a whole line, and of others that are somewhere
    in one.

    >>> taken_as("Welcome!\\n12;b", re.compile("([0-9]+)(?:;([a-z]+))?"))
    ('12', 'b')
    >>> taken_as("7.mars", re.compile("([0-9]+[.][a-z]+)"))
    ('7.mars', '')
    >>> taken_as("2026\\n12", re.compile("([0-9]+)(?:;([a-z]+))?")) is None
    True
    """
    answers: dict[str, str] = {}
    for line in text.splitlines():
        plain = _COLOUR.sub("", line).strip()
        found = whole_line.fullmatch(plain) or next(filter(None, (each.search(plain) for each in within)), None)
        if found:
            place = found[2] if found.re.groups > 1 else ""
            answers[found[1]] = place or answers.get(found[1], "")
    return next(iter(answers.items())) if len(answers) == 1 else None
