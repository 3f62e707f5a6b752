"""Which signals end what: SIGTERM and SIGHUP as a Ctrl-C while a process owns jobs or workers that would stay, a Ctrl-C
that counts once, and none for processes that were started on its behalf.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

__all__ = ["Closing", "heeded", "unheard"]

# A wrapper, as timeout(1) is, may pass on a Ctrl-C that the terminal has sent to all processes already.
_SAME_S = 1.0


class Closing(ABC):
    """What is closed at the end of its `with`, which SIGTERM and SIGHUP are ends of, too."""

    @abstractmethod
    def close(self) -> None:
        """Give back all that it has started."""

    def __enter__(self) -> Self:
        self._signals = heeded()
        self._signals.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        finally:
            self._signals.__exit__(None, None, None)


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Whichever comes first is a KeyboardInterrupt, and the end that follows is not cut short by another one.

    A signal that is ignored, as SIGHUP is under nohup, stays so. Nor is the end cut short by a Ctrl-C that comes twice
    within a second; one that is pressed again later ends it.
    """
    told = False

    def stop(number: int, frame: Any) -> None:
        nonlocal told
        if not told:
            told = True
            raise KeyboardInterrupt

    here = threading.current_thread() is threading.main_thread()
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if here and signal.getsignal(n) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, stop)
    try:
        with _one_press():
            yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def _one_press() -> Iterator[None]:
    """A Ctrl-C that comes twice within a second counts once; another handler of SIGINT stays in place."""
    last = -math.inf

    def press(number: int, frame: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SAME_S:
            last = now
            raise KeyboardInterrupt

    here = threading.current_thread() is threading.main_thread()
    ours = here and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """No Ctrl-C of the terminal reaches a process that this thread starts meanwhile as the leader of a session.

    It would before that session: a process that is being started is still in our group, with what ends it set to that.
    So SIGINT is blocked, and stays so in that process, to which nothing sends it any more.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
