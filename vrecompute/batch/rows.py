"""Lines of fields, as commands of batch systems print them for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["rows", "whole"]


def rows(lines: Iterable[str], count: int, separator: str = "|", *, free_end: bool = False) -> Iterator[list[str]]:
    """The fields of each line that has so many and a first one; others are skipped, not guessed at.

    `free_end`: the last field may hold the separator.

    >>> list(rows(["7 | RUNNING", "Welcome!", "8 | a | b", " | none"], 2))
    [['7', 'RUNNING']]
    """
    for line in lines:
        fields = [field.strip() for field in line.split(separator, count - 1 if free_end else -1)]
        if len(fields) == count and fields[0]:
            yield fields


def whole(text: str) -> int | None:
    """A whole number, None of any other text.

    >>> whole("07"), whole("-1"), whole("UNLIMITED")
    (7, None, None)
    """
    return int(text) if text.isascii() and text.isdigit() else None
