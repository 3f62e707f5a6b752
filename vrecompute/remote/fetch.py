"""Many ranges in few requests, several at once, tried again each by itself where they fail in passing.

What is in flight is bounded: at most THREADS requests of a process, each of at most `Limits.request_bytes`, into memory
that who asks has.
"""

from __future__ import annotations

import contextvars
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import TransientRead, UnreadableFile
from vrecompute.retries import persistent
from vrecompute.traffic import fetched

__all__ = ["Limits", "Passing", "Piece", "Unreached", "at_once", "begin", "patiently", "requests_of"]

_T = TypeVar("_T")
THREADS = 16
_LONGEST_WAIT_S = 20.0


class Passing(TransientRead):
    """A request that failed in a way that may pass. `after_s` is how long its server asks to be left alone."""

    def __init__(self, file: str, reason: str, after_s: float = 0.0) -> None:
        super().__init__(file, reason)
        self.after_s = after_s

    def __reduce__(self) -> tuple[type[Passing], tuple[str, str, float]]:
        return type(self), (self.file, self.reason, self.after_s)


class Unreached(Passing):
    """The host was not reached at all, or gave no sign."""


class Piece(NamedTuple):
    """Bytes [start, stop) of a source, to be put at `at` of what they are read into."""

    start: int
    stop: int
    at: int


@dataclass(frozen=True)
class Limits:
    """The most that one request may ask for: ranges, bytes together, and bytes of one range."""

    ranges: int
    request_bytes: int
    range_bytes: int


def requests_of(pieces: NDArray[np.int64], limits: Limits) -> list[list[Piece]]:
    """The requests that fetch the bytes [start, stop) of all `pieces`, which are put one after another."""
    requests: list[list[Piece]] = []
    room = at = 0
    for begin_, end in pieces.tolist():
        start = begin_
        while start < end:
            if room <= 0 or len(requests[-1]) == limits.ranges:
                requests.append([])
                room = limits.request_bytes
            stop = min(end, start + limits.range_bytes, start + room)
            requests[-1].append(Piece(start, stop, at))
            room -= stop - start
            at += stop - start
            start = stop
    return requests


def patiently(call: Callable[[], _T]) -> _T:
    """What `call` gives, tried again where it raises Passing; UnreadableFile where that did not help."""

    def leave_alone(failed: Passing) -> None:
        time.sleep(min(failed.after_s, _LONGEST_WAIT_S))

    try:
        return persistent(call, Passing, leave_alone)
    except Passing as error:
        raise UnreadableFile(error.file, f"{error.reason}, also when it was tried again") from error


def at_once(calls: Sequence[Callable[[], None]], link: str) -> None:
    """Make all calls, several at once, each `patiently`. Raises what the first of them raises that fails."""
    if len(calls) == 1:
        patiently(calls[0])
    elif calls:
        begin(calls, link)()


def begin(calls: Sequence[Callable[[], None]], link: str) -> Callable[[], None]:
    """Begin to make the calls of `at_once`; what is given waits for them, and raises.

    No call is under way any more when that has ended: what they read into may be used for something else.
    """
    jobs = [_threads(os.getpid()).submit(contextvars.copy_context().run, _carried, call, link) for call in calls]

    def ended() -> None:
        try:
            for job in jobs:
                job.result()
        finally:
            for job in jobs:
                job.cancel()
            wait([job for job in jobs if not job.cancelled()])

    return ended


def _carried(call: Callable[[], None], link: str) -> None:
    before = time.thread_time()
    try:
        patiently(call)
    finally:
        fetched(link, 0, 0, time.thread_time() - before)


@cache
def _threads(process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="fetch")
