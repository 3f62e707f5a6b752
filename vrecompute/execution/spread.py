"""`spread`: one call on the workers for each batch of things, a bounded number of them in flight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vrecompute.execution.pool import Finished, TaskPool

__all__ = ["spread", "window"]

# Tasks in flight per worker thread: enough that no thread waits for the Runner.
_WINDOW = 2.5


def window(pool: TaskPool) -> int:
    """How many tasks are to be in flight."""
    return max(2, round(_WINDOW * pool.threads()))


def spread(
    pool: TaskPool,
    function: Callable[..., Any],
    shared: Any,
    batches: Sequence[Any],
    *,
    over: Callable[[], bool],
    tick_s: float,
    looking: Callable[[Finished | None, int], None],
) -> dict[int, Finished]:
    """How `function(shared, batch)` ended, by number of the batch; not all are there where `over` turned true.

    `shared` is from `TaskPool.share`. `looking` is called after each wait of at most `tick_s`, with what ended in
    it and how many have ended.
    """
    ended: dict[int, Finished] = {}
    sent = 0
    while len(ended) < len(batches) and not over():
        while sent < len(batches) and len(pool) < window(pool):
            pool.submit(sent, function, shared, batches[sent])
            sent += 1
        finished = pool.wait(tick_s)
        if finished is not None and finished.how == "cancelled":
            pool.submit(finished.ticket, function, shared, batches[finished.ticket])
            finished = None
        if finished is not None:
            ended[finished.ticket] = finished
        looking(finished, len(ended))
    pool.cancel()
    return ended
