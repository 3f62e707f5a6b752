"""SIGTERM and SIGHUP as a Ctrl-C, while a command owns jobs or workers that would stay behind."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["heeded"]


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Whichever comes first is a KeyboardInterrupt, and the end that follows is not cut short by another one.

    A signal that is ignored, as SIGHUP is under nohup, stays so.
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
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
