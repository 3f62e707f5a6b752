"""What fails in passing is tried again, a few times and not for long, and counted."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TypeVar

import stamina
from stamina.instrumentation import RetryDetails, RetryHook, get_on_retry_hooks, set_on_retry_hooks

from vrecompute.errors import VrecomputeError

__all__ = ["PASSING", "another_is_left", "another_left", "count_retries", "persistent"]

_T = TypeVar("_T")
_E = TypeVar("_E", bound=Exception)
_ATTEMPTS, _LIMIT_S = 6, 60.0
_WAITS = {"wait_initial": 0.1, "wait_max": 10.0, "wait_jitter": 0.1}
#: What network file systems and disks under load say of a moment, not of a file.
PASSING = frozenset(
    number
    for name in (
        *("EIO", "ESTALE", "EAGAIN", "EBUSY", "ENOBUFS", "ETIMEDOUT", "EREMOTEIO", "ENOLINK", "EPIPE", "ENOTCONN"),
        *("ECONNRESET", "ECONNABORTED", "ENETUNREACH", "ENETDOWN", "EHOSTUNREACH", "EHOSTDOWN", "ESHUTDOWN"),
    )
    if (number := getattr(errno, name, None)) is not None
)
_counted: ContextVar[list[str] | None] = ContextVar("retries", default=None)
_another: ContextVar[bool] = ContextVar("another", default=False)


def count_retries() -> list[str]:
    """A list that gets the reason of each read or request which this thread tries again from now on."""
    retries: list[str] = []
    _counted.set(retries)
    return retries


@contextmanager
def another_left(*, left: bool) -> Iterator[None]:
    """What is called within may fail early where another address is left to be tried."""
    before = _another.set(left)
    try:
        yield
    finally:
        _another.reset(before)


def another_is_left() -> bool:
    """Whether this thread, or the one that it works for, has another address to try."""
    return _another.get()


def persistent(call: Callable[[], _T], on: type[_E], between: Callable[[_E], None] = lambda error: None) -> _T:
    """What `call` gives, called again where it raises `on`: at most six times in a minute, with growing pauses.

    `between` is called before each further try. What a call within gave up is not tried again out here.
    """

    def passes(error: Exception) -> bool:
        return isinstance(error, on) and not hasattr(error, "given_up")

    try:
        return call()
    except on as first:
        if not passes(first):
            raise
        failed = first
    _leave_to_the_report()
    try:
        for attempt in stamina.retry_context(on=passes, attempts=_ATTEMPTS - 1, timeout=_LIMIT_S, **_WAITS):
            with attempt:
                between(failed)
                if (retries := _counted.get()) is not None:
                    retries.append(str(failed))
                try:
                    return call()
                except on as again:
                    failed = again
                    raise
    except on as last:
        last.__dict__["given_up"] = True
        raise
    raise AssertionError("a retry returns or raises")


class _OfOthers:
    """What the process does at each retry, but for ours: these are counted, and told once in the report."""

    def __init__(self, hook: RetryHook) -> None:
        self._hook = hook

    def __call__(self, details: RetryDetails) -> AbstractContextManager[None] | None:
        """Called before each pause."""
        return None if isinstance(details.caused_by, VrecomputeError) else self._hook(details)


def _leave_to_the_report() -> None:
    """Without this each retry would be a bare line of a log, on standard error or by structlog on standard output."""
    hooks = get_on_retry_hooks()
    if not all(isinstance(hook, _OfOthers) for hook in hooks):
        set_on_retry_hooks([_OfOthers(hook) for hook in hooks])
