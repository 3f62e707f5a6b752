"""Reads that fail in passing are tried again, a few times and not for long, and counted."""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

import stamina

from vrecompute.errors import TransientRead, UnreadableFile

__all__ = ["count_retries", "retried", "unreadable"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_ATTEMPTS, _LIMIT_S = 6, 60.0
_WAITS = {"wait_initial": 0.1, "wait_max": 10.0, "wait_jitter": 0.1}
# What network file systems and disks under load say of a moment, not of a file.
_PASSING = frozenset(
    number
    for name in (
        *("EIO", "ESTALE", "EAGAIN", "EBUSY", "ENOBUFS", "ETIMEDOUT", "EREMOTEIO", "ENOLINK", "EPIPE", "ENOTCONN"),
        *("ECONNRESET", "ECONNABORTED", "ENETUNREACH", "ENETDOWN", "EHOSTUNREACH", "EHOSTDOWN", "ESHUTDOWN"),
    )
    if (number := getattr(errno, name, None)) is not None
)
_counted: ContextVar[list[str] | None] = ContextVar("retries", default=None)


def unreadable(path: str, what: str, error: OSError) -> UnreadableFile:
    """The error of a file that the file system does not give: TransientRead where it may at the next try."""
    kind = TransientRead if error.errno in _PASSING else UnreadableFile
    return kind(path, f"{what}: {error.strerror or error}")


def count_retries() -> list[str]:
    """A list that gets `path: reason` of each read which this thread tries again from now on."""
    retries: list[str] = []
    _counted.set(retries)
    return retries


def retried(forget: Callable[[str], None]) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """A function whose first argument is a path, called again where it raises TransientRead.

    `forget(path)` drops what is kept open of the file: a descriptor may be stale for good.
    """

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            try:
                return function(*args, **kwargs)
            except TransientRead as first:
                failed = first
            for attempt in stamina.retry_context(on=TransientRead, attempts=_ATTEMPTS - 1, timeout=_LIMIT_S, **_WAITS):
                with attempt:
                    forget(failed.file)
                    _note(failed)
                    try:
                        return function(*args, **kwargs)
                    except TransientRead as again:
                        failed = again
                        raise
            raise AssertionError("a retry returns or raises")

        return call

    return decorate


def _note(error: TransientRead) -> None:
    retries = _counted.get()
    if retries is not None:
        retries.append(str(error))
