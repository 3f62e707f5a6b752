"""A process that is ours ends at once: the system takes its memory back as a whole, not Python each object.

    dask worker --preload vrecompute.workers.quick_exit       (so do the workers of this machine, and the command line)

Where numba has compiled or loaded anything, taking its registries apart at exit costs a third of a second, a quarter of
all that a worker of few chunks costs.
"""

from __future__ import annotations

import atexit
import gc

__all__ = ["dask_setup", "end_quickly"]


def end_quickly() -> None:
    """From now on, this process leaves what it refers to at its exit where it is.

    What nothing refers to is still taken apart, so that a file in it is closed. Not for a process of the user's, whose
    objects may do something when they end.
    """
    atexit.register(_end)


def dask_setup(_: object) -> None:
    """Called by Dask in each worker that begins."""
    end_quickly()


def _end() -> None:
    gc.collect()
    gc.freeze()
