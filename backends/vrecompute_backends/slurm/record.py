"""`Record`: one attempt of one job in Slurm's own words, whichever command, daemon or library said them.

Imports nothing of the rest, so that a short-lived process can make records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

__all__ = ["Record", "array_tasks", "elements"]

#: Slurm's own limit of MaxArraySize; a range beyond it is nonsense.
_MOST_TASKS = 4_000_001
#: More elements than any array of ours has; each takes a record's memory.
_MOST_ELEMENTS = 100_000


@dataclass(frozen=True)
class Record:
    """One attempt of one job. Bytes and seconds.

    `state` may carry flags ("COMPLETING", "REQUEUED") and words ("CANCELLED by 1000"). `steps` are the
    states of its steps; `exit_code` and `signal` are the job's own. `explained`: nothing more about its
    end is to come.
    """

    job_id: str
    state: str
    reason: str = ""
    restarts: int = 0
    exit_code: int | None = None
    signal: int | None = None
    nodes: str = ""
    memory_peak_bytes: int | None = None
    memory_limit_bytes: int | None = None
    elapsed_s: float | None = None
    limit_s: int | None = None
    steps: tuple[str, ...] = ()
    explained: bool = False


def array_tasks(text: str) -> Iterator[int]:
    """The numbers that Slurm means by `8-499%2`, `1,3,0-10:2` or, in accounting, the bits of `0xF0`.

    Slurm may cut a long list short with `...`; what it left out is not invented.

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


def elements(record: Record, tasks: str = "") -> dict[str, Record]:
    """The record by its id; one for each element where it stands for several that wait or never started.

    These come as one, with `tasks` as their numbers or with `123_[8-499]` as the id.
    """
    found = re.fullmatch(r"([0-9]+)_\[(.+)\]", record.job_id)
    master, tasks = (found[1], found[2]) if found else (record.job_id, tasks)
    if not tasks:
        return {record.job_id: record}
    numbers = islice(array_tasks(tasks), _MOST_ELEMENTS)
    return {f"{master}_{n}": replace(record, job_id=f"{master}_{n}") for n in numbers}
