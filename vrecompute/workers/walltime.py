"""`Allocation`: when the job's allocation began and when it ends, from the environment of its processes.

    began                                                        reserve        ends
      |---- chunks: one is started only if it ends before here ----|-- parts are written, workers leave --|

Two variables of the environment say so, in seconds since 1970; where they are not set, nothing ever ends.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

__all__ = ["ATTEMPTS", "BEGAN", "ENDS", "Allocation", "Pace", "allocation", "within"]

#: The variables, set by job scripts.
BEGAN, ENDS = "VRECOMPUTE_JOB_BEGAN", "VRECOMPUTE_JOB_ENDS"
#: How often a job may be started in all, where its site sets a limit.
ATTEMPTS = "VRECOMPUTE_JOB_ATTEMPTS"
# The end of an allocation that no chunk may reach into: a part is written, workers leave one after another.
_RESERVE_S, _RESERVE_SHARE = 60.0, 0.2
# How much longer than the longest so far the next chunk may take.
_SLACK = 1.2

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Allocation:
    """The time of a job, in seconds since 1970."""

    began: float
    ends: float

    @property
    def whole_s(self) -> float:
        """Its walltime."""
        return self.ends - self.began

    @property
    def reserve_s(self) -> float:
        """The time at its end in which nothing is computed."""
        return min(_RESERVE_S, _RESERVE_SHARE * self.whole_s)

    @property
    def left_s(self) -> float:
        """What is left for computing; negative once the reserve is being used."""
        return self.ends - self.reserve_s - time.time()

    @property
    def closes_s(self) -> float:
        """Seconds until the last moment to say how far one came: the middle of the reserve."""
        return self.left_s + self.reserve_s / 2

    @property
    def fresh(self) -> bool:
        """Whether at least half of it is still ahead."""
        return self.left_s >= (self.whole_s - self.reserve_s) / 2


def allocation() -> Allocation | None:
    """The allocation that this process runs in; None where the environment gives no end, or none in numbers."""
    try:
        found = Allocation(float(os.environ[BEGAN]), float(os.environ[ENDS]))
    except (KeyError, ValueError):
        return None
    return found if found.whole_s > 0 else None


@dataclass
class Pace:
    """How long the chunks of each work take in this process, and whether the next one still fits."""

    _chunk_s: dict[str, float] = field(default_factory=dict)
    _write_s: dict[str, float] = field(default_factory=dict)
    _tried: bool = False

    def fits(self, work: str, chunk_s: float, *, from_start: bool = False) -> bool:
        """Whether to start one more chunk, where others of the run took up to `chunk_s` seconds elsewhere.

        A process that tried none yet and has half of its time ahead tries one, whatever was heard: only reality
        may say that a chunk never fits. `from_start` asks for that half in any case.
        """
        here = allocation()
        if here is None:
            return True
        if here.fresh and (from_start or not self._tried):
            return True
        longest = max(chunk_s, self._chunk_s.get(work, 0.0))
        return not from_start and here.left_s > _SLACK * longest + self._write_s.get(work, 0.0)

    def begins(self) -> float:
        """A chunk begins; gives the clock for `took`."""
        self._tried = True
        return time.perf_counter()

    def took(self, work: str, began: float) -> float:
        """A chunk that began then has ended: how many seconds it took."""
        seconds = time.perf_counter() - began
        self._chunk_s[work] = max(seconds, self._chunk_s.get(work, 0.0))
        return seconds

    def wrote(self, work: str, seconds: float) -> None:
        """A part took so long to be written."""
        self._write_s[work] = max(seconds, self._write_s.get(work, 0.0))


def within(seconds: float, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """What the function returns or raises; TimeoutError where it takes longer; its thread goes on, unused."""
    ended: list[_T] = []
    raised: list[BaseException] = []

    def call() -> None:
        try:
            ended.append(function(*args, **kwargs))
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call, name="vrecompute-within", daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if raised:
        raise raised[0]
    if not ended:
        raise TimeoutError(f"not done within {max(0.0, seconds):.0f} s")
    return ended[0]
