"""How Dask behaves in every cluster of ours, whatever the user's files and variables say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["SETTINGS", "as_environment"]

SETTINGS: Mapping[str, Any] = {
    # A worker short of memory is restarted at this share of its limit. Nothing is spilled: chunks are small.
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.pause": False,
    # Sampling the stacks of threads takes part of their time, and kernels are one frame.
    "distributed.worker.profile.enabled": False,
    # A kernel may hold the interpreter for long; a worker that is silent for longer than this is gone.
    "distributed.scheduler.worker-ttl": "30 minutes",
    # Other users of a node can read what is served without encryption.
    "distributed.worker.http.routes": [],
    # A chunk's arrays lie where those of the chunk before lay. Dask's 64 KiB give that memory back after each chunk,
    # and the kernel clears it again: 6 % of a worker's CPU time. The bound on mappings is the largest that glibc takes.
    # A thread's own arena is made of heaps of 64 MiB, and one that is empty goes back whatever is said: one arena.
    "distributed.nanny.pre-spawn-environ": {
        "MALLOC_TRIM_THRESHOLD_": 64 << 20,
        "MALLOC_MMAP_THRESHOLD_": 32 << 20,
        "MALLOC_ARENA_MAX": 1,
        "OMP_NUM_THREADS": 1,
        "MKL_NUM_THREADS": 1,
        "OPENBLAS_NUM_THREADS": 1,
    },
}


def as_environment() -> dict[str, str]:
    """The settings as the environment variables that Dask reads.

    >>> as_environment()["DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL"]
    '30 minutes'
    """
    return {f"DASK_{name.upper().replace('.', '__').replace('-', '_')}": str(value) for name, value in SETTINGS.items()}
