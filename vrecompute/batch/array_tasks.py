"""Numbers of array elements, in the notation that batch systems share: ranges, steps and how many may run at once."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["array_tasks"]

#: No batch system takes larger arrays (the largest is Slurm's MaxArraySize); a range beyond it is nonsense.
_MOST_TASKS = 4_000_001


def array_tasks(text: str) -> Iterator[int]:
    """The numbers that `8-499%2` or `1,3,0-10:2` stands for, or the bits of `0xF0`.

    A long list may be cut short with `...`; what was left out is not invented.

    >>> list(array_tasks("1,3-5%2")), list(array_tasks("0-6:3")), list(array_tasks("0x12"))
    ([1, 3, 4, 5], [0, 3, 6], [1, 4])
    """
    if re.fullmatch(r"0x[0-9A-Fa-f]+", text):
        bits = reversed(f"{int(text, 16):b}")
        yield from (n for n, bit in zip(range(_MOST_TASKS), bits, strict=False) if bit == "1")
        return
    for piece in text.partition("%")[0].split(","):
        found = re.fullmatch(r"([0-9]{1,7})(?:-([0-9]{1,7})(?::([0-9]{1,7}))?)?", piece)
        if found:
            first = int(found[1])
            yield from range(first, min(int(found[2] or first) + 1, _MOST_TASKS), max(1, int(found[3] or 1)))
