"""Lines of fields, as commands of batch systems print them for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

__all__ = ["pairs", "parsed", "rows", "whole"]


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


def pairs(text: str, separator: str | None = None) -> dict[str, str]:
    """The values by name in the pieces `NAME=VALUE` of a text, which a blank separates if nothing else does.

    >>> pairs("Node=c1 Cores=4 up"), pairs("Longest  = 3\\nWelcome!", "\\n")
    ({'Node': 'c1', 'Cores': '4'}, {'Longest': '3'})
    """
    pieces = (piece.partition("=") for piece in text.split(separator))
    return {name.strip(): value.strip() for name, equals, value in pieces if equals}


def parsed(convert: Callable[[str], int | None], text: str) -> int | None:
    """What `convert` makes of a text; None where that is no number, or none that it knows (ValueError)."""
    try:
        return convert(text)
    except ValueError:
        return None
