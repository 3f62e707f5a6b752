"""Numbers and names as people read them on a terminal and in a report."""

from __future__ import annotations

import math
from collections.abc import Iterable

from vrecompute.utf8text import utf8

__all__ = [
    "bytes_text",
    "count_text",
    "duration_text",
    "first_cause",
    "grouped",
    "percent_text",
    "printable",
    "printable_lines",
    "shortened",
]


def count_text(number: float) -> str:
    """A count with its thousands apart; a weighted one keeps up to three decimals.

    >>> count_text(1234567), count_text(12.5)
    ('1 234 567', '12.5')
    """
    if not math.isfinite(number):
        return str(number)
    if float(number).is_integer():
        return f"{int(number):,}".replace(",", " ")
    return f"{number:,.3f}".rstrip("0").replace(",", " ")


def percent_text(fraction: float) -> str:
    """A percentage that never rounds something incomplete to 100 %, nor something to nothing.

    >>> percent_text(1.0), percent_text(0.99999), percent_text(0.5), percent_text(1e-9)
    ('100 %', '99.9 %', '50 %', '0.1 %')
    """
    if fraction <= 0.0 or fraction >= 1.0:
        return f"{fraction * 100:.4g} %"
    return f"{min(max(fraction * 100, 0.1), 99.9):.3g} %"


def bytes_text(count: int) -> str:
    """A number of bytes in decimal units.

    >>> bytes_text(999), bytes_text(1234567)
    ('999 B', '1.2 MB')
    """
    if count < 1000:
        return f"{count} B"
    power = min(int(math.log10(count)) // 3, 5)
    return f"{count / 1000**power:.1f} {('B', 'kB', 'MB', 'GB', 'TB', 'PB')[power]}"


def duration_text(seconds: float) -> str:
    """A duration with two units at most.

    >>> duration_text(0.04), duration_text(75), duration_text(7260)
    ('0.04 s', '1 min 15 s', '2 h 01 min')
    """
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = int(seconds) // 60
    return f"{minutes} min {int(seconds) % 60:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def grouped(failures: Iterable[tuple[str, str, str]], most: int = 3) -> list[str]:
    """A line for each reason: `failures` are (kind of thing, its name, why); without a kind each has its own line.

    >>> grouped([("file", "a", "no tree"), ("file", "b", "empty"), ("file", "c", "no tree"), ("", "d", "empty")])
    ['2 files: no tree: a, c', 'b: empty', 'd: empty']
    """
    alike: dict[tuple[str, str, int], list[str]] = {}
    for number, (kind, name, why) in enumerate(failures):
        alike.setdefault((kind, why, 0 if kind else number), []).append(name)
    lines = []
    for (kind, why, _), names in alike.items():
        more = f" and {count_text(len(names) - most)} more" if len(names) > most else ""
        several = f"{count_text(len(names))} {kind}s: {why}: {', '.join(names[:most])}{more}"
        lines.append(f"{names[0]}: {why}" if len(names) == 1 else several)
    return lines


def first_cause(said: str, longest: int = 160) -> str:
    """A reason on one line of a list: without the log that may follow it, cut where it is longer; `runs show` has all.

    >>> first_cause("FAILED: job 7 ended with\\nexit code 1. Its log ends: a | b")
    'FAILED: job 7 ended with exit code 1'
    """
    line = " ".join(said.split()).partition(". Its log ends: ")[0]
    return line if len(line) <= longest else line[: longest - 3].rstrip() + "..."


def printable(line: str) -> str:
    """`line` without control characters: a file name may hold an escape sequence or a line break.

    >>> printable("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in utf8(line))


def printable_lines(text: str, longest: int = 10_000) -> str:
    """A message for a terminal, of one or more lines: each `printable`, with the middle of a longer one left out.

    >>> printable_lines("a\\x1b[31mb\\nc"), printable_lines("9" * 30, longest=8)
    ('a\\\\x1b[31mb\\nc', '9999 (22 letters left out) 9999')
    """
    return "\n".join(shortened(printable(line.expandtabs()), longest) for line in text.split("\n"))


def shortened(text: str, longest: int = 80) -> str:
    """`text`, without the middle of it where it is longer.

    >>> shortened("short"), shortened("9" * 30, longest=8)
    ('short', '9999 (22 letters left out) 9999')
    """
    half = longest // 2
    if len(text) <= longest:
        return text
    return f"{text[:half]} ({count_text(len(text) - 2 * half)} letters left out) {text[-half:]}"
