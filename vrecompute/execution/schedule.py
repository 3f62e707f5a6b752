"""What to submit next: pure decisions about task sizes, suspects and stragglers, tested without a cluster."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from numpy.typing import NDArray

__all__ = ["Schedule", "Task", "runs_of"]

# How much a task may outgrow the ones before it while rates are still being learnt.
_GROWTH = 4
# A task this many times longer than the median, and at least this long, is sent a second time when cores idle.
_STRAGGLER_FACTOR, _STRAGGLER_S = 3.0, 60.0


@dataclass(frozen=True)
class Task:
    """Chunks [first, last) of the plan. `alone`: they were present at repeated deaths of workers.

    `from_start`: the last of those was at its walltime, so they are for a worker that has its time still ahead.
    """

    first: int
    last: int
    alone: bool = False
    from_start: bool = False

    @property
    def chunks(self) -> int:
        """How many chunks the task computes."""
        return self.last - self.first


def runs_of(missing: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The maximal ranges [first, last) in which `missing` is true.

    >>> runs_of(np.array([False, True, True, False, True]))
    [(1, 3), (4, 5)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


@dataclass
class Schedule:
    """The work left to submit. Grouping follows the measured rate and never changes a result.

    `task_s` is the aimed-for length of a task in seconds; `fixed` sets the number of chunks instead.
    """

    missing: NDArray[np.bool_]
    task_s: float = 15.0
    fixed: int | None = None
    _ranges: deque[tuple[int, int]] = field(init=False)
    _suspects: deque[Task] = field(init=False, default_factory=deque)
    _durations: deque[tuple[int, float]] = field(init=False, default_factory=lambda: deque(maxlen=64))
    _longest: deque[float] = field(init=False, default_factory=lambda: deque(maxlen=64))
    _largest: int = field(init=False, default=1)
    _left: int = field(init=False)

    def __post_init__(self) -> None:
        self._ranges = deque(runs_of(self.missing))
        self._left = int(self.missing.sum())

    @property
    def left(self) -> int:
        """Chunks not submitted yet, suspects aside."""
        return self._left

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing left to submit."""
        return not self._ranges and not self._suspects

    def next(self, threads: int, in_flight: int) -> Task | None:
        """The next task for a cluster of `threads`, or None where there is nothing to submit now.

        A suspect runs only when nothing else does, so that its worker's death accuses no other task. Where no task has
        ended yet it runs next: what kills its worker may be true of all the others.
        """
        if self._ranges and (self._durations or not self._suspects):
            first, last = self._ranges.popleft()
            size = self.size(threads)
            if last - first > size:
                self._ranges.appendleft((first + size, last))
                last = first + size
            self._left -= last - first
            return Task(first, last)
        if self._suspects and in_flight == 0:
            return self._suspects.popleft()
        return None

    def size(self, threads: int) -> int:
        """Chunks in the next task: as many as take `task_s`, fewer near the end so that cores finish together."""
        if self.fixed is not None:
            return max(1, self.fixed)
        if not self._durations:
            return 1
        per_chunk = sum(s for _, s in self._durations) / sum(n for n, _ in self._durations)
        wanted = int(self.task_s / max(per_chunk, 1e-6))
        fair = -(-self._left // (2 * max(threads, 1)))
        return max(1, min(wanted, fair, self._largest * _GROWTH))

    @property
    def longest_s(self) -> float:
        """What the longest chunk of late took, in seconds; 0 where none has ended yet."""
        return max(self._longest, default=0.0)

    def finished(self, task: Task, wall_s: float, longest_s: float = 0.0) -> None:
        """Learn from a finished task, or from the part of one that was done; `longest_s` is of its longest chunk."""
        self._durations.append((task.chunks, wall_s))
        self._longest.append(longest_s)
        self._largest = max(self._largest, task.chunks)

    def suspect(self, task: Task, *, from_start: bool = False) -> None:
        """A task whose workers died repeatedly: each of its chunks will be run alone."""
        self._suspects.extend(Task(n, n + 1, True, from_start) for n in range(task.first, task.last))

    def again(self, task: Task) -> None:
        """A task that was lost or not begun through no fault of the task is submitted again, next."""
        if task.alone:
            self._suspects.appendleft(task)
            return
        self._ranges.appendleft((task.first, task.last))
        self._left += task.chunks

    def is_straggler(self, elapsed_s: float) -> bool:
        """Whether a task that runs since `elapsed_s` is worth a second copy."""
        if not self._durations or self._ranges:
            return False
        usual = median(s for _, s in self._durations)
        return elapsed_s > max(_STRAGGLER_FACTOR * usual, _STRAGGLER_S)
