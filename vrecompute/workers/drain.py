"""How a Dask worker leaves before its job ends: it takes nothing new, finishes what it has begun, and closes.

Loaded into each worker of a job (`dask worker --preload vrecompute.workers.drain`), it makes idle workers leave before
the batch system ends them. Dask's own lifetime is no use here: it throws away what a worker is computing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from hashlib import sha256
from typing import Any

from distributed import get_worker

from vrecompute.workers.dask_hooks import is_busy, pause, retired, unregister
from vrecompute.workers.walltime import allocation

__all__ = ["dask_setup", "leave", "leave_soon"]

_LOG = logging.getLogger("vrecompute")
_LOOK_S = 0.1
# How long results stay on a worker that has nothing to do any more, for the Runner to fetch them.
_SETTLE_S = 2.0
# How long the scheduler may take to tell a worker that it is not retired after all.
_UNDONE_S = 1.0
# How often a worker tries to say that it leaves.
_TRIES = 3
# Over how long a time before the end workers leave.
_STAGGER_S, _STAGGER_SHARE = 120.0, 0.1
_LEAVING: set[str] = set()


def dask_setup(worker: Any) -> None:
    """Called by Dask as the worker starts: it leaves when its allocation is nearly over.

    Jobs that were submitted together end together: their workers leave one after another, for others to come.
    """
    here = allocation()
    if here is not None:
        share = int(sha256(str(worker.name).encode()).hexdigest(), 16) % 1000 / 1000
        early_s = share * min(_STAGGER_S, _STAGGER_SHARE * here.whole_s)
        worker.loop.call_later(max(0.0, here.left_s - early_s), leave, worker)


def leave_soon() -> None:
    """From inside a task: its worker leaves; nothing where there is no worker."""
    try:
        worker = get_worker()
    except ValueError:
        return
    worker.loop.add_callback(leave, worker)


async def leave(worker: Any) -> None:
    """Leave without losing any task's work; the nanny goes too, so that a job of such workers ends by itself.

    The scheduler sends nothing more here. Tasks that wait here are not held up behind a long one: they start
    as ever, and those of ours say that there is no time for them.
    """
    if worker.address in _LEAVING:
        return
    _LEAVING.add(worker.address)
    _LOG.info("worker %s leaves the cluster: its job is about to end", worker.address)
    stimulus = f"vrecompute-leave-{time.time()}"
    pause(worker, stimulus)
    idle_since = time.monotonic()
    while time.monotonic() - idle_since < _SETTLE_S:
        if is_busy(worker):
            idle_since = time.monotonic()
        await asyncio.sleep(_LOOK_S)
    if not await _retired(worker, stimulus):
        # There are none, and the scheduler says so to this worker some time after the answer; a worker that is
        # closing must not hear it. It goes all the same.
        await asyncio.sleep(_UNDONE_S)
        with contextlib.suppress(OSError):
            await unregister(worker, stimulus)
    await worker.close(nanny=True, reason="vrecompute-leave")


async def _retired(worker: Any, stimulus: str) -> bool:
    """Whether others took what only this worker holds. One that stayed, paused, would keep its job to the walltime."""
    for _ in range(_TRIES):
        try:
            return await retired(worker, stimulus)
        except OSError as error:  # of a connection: that of a second call is another
            _LOG.warning("worker %s could not tell the scheduler that it leaves: %s", worker.address, error)
            await asyncio.sleep(_UNDONE_S)
    return False
