"""Reads that fail in passing are tried again, a few times and not for long, and counted."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from vrecompute.errors import TransientRead, UnreadableFile
from vrecompute.retries import PASSING, persistent

__all__ = ["retried", "unreadable"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


def unreadable(path: str, what: str, error: OSError) -> UnreadableFile:
    """The error of a file that the file system does not give: TransientRead where it may at the next try."""
    kind = TransientRead if error.errno in PASSING else UnreadableFile
    return kind(path, f"{what}: {error.strerror or error}")


def retried(forget: Callable[[str], None]) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """A function whose first argument is a path, called again where it raises TransientRead.

    `forget(path)` drops what is kept open of the file: a descriptor may be stale for good.
    """

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            return persistent(lambda: function(*args, **kwargs), TransientRead, lambda failed: forget(failed.file))

        return call

    return decorate
