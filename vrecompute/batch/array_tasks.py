"""Numbers of array elements, in the notation that batch systems share: ranges, steps and how many may run at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

__all__ = ["array_ids", "array_tasks"]

#: No batch system takes larger arrays (the largest is Slurm's MaxArraySize); a range beyond it is nonsense.
_MOST_TASKS = 4_000_001
#: More elements than any array of ours has; what is known of each takes memory.
_MOST_IDS = 100_000


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


def array_ids(told: str, tasks: str = "") -> list[str]:
    """The ids of what a system tells as one, since its elements wait or never started; the id alone of one job.

    The numbers of elements are in the id, or told apart as `tasks`.

    >>> array_ids("7"), array_ids("7_[0,8-9]"), array_ids("7", "1-2%1"), array_ids("7_3")
    (['7'], ['7_0', '7_8', '7_9'], ['7_1', '7_2'], ['7_3'])
    """
    if found := re.fullmatch(r"([0-9]+)_\[(.+)\]", told):
        told, tasks = found.groups()
    return [f"{told}_{number}" for number in islice(array_tasks(tasks), _MOST_IDS)] if tasks else [told]
