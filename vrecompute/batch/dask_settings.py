"""How Dask behaves in every cluster of ours, whatever the user's files and variables say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["PROCESS_VARIABLES", "SETTINGS", "as_environment"]

#: With what each process that computes chunks begins: workers here and in jobs, tasks of a detached run.
PROCESS_VARIABLES: Mapping[str, str] = {
    # A chunk's arrays lie where those of the chunk before lay. Dask's 64 KiB give that memory back after each chunk,
    # and the kernel clears it again: 6 % of a worker's CPU time. The bound on mappings is the largest that glibc takes.
    # A thread's own arena is made of heaps of 64 MiB, and one that is empty goes back whatever is said: one arena.
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_ARENA_MAX": "1",
    # Chunks are computed side by side. A sum by several threads also has other last digits.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Else each process goes through a set of names in an order of its own, and `hash` of a text differs. The number is
    # that of Dask, whose nannies take it where none is said, or 0.
    "PYTHONHASHSEED": "6640",
}
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
    # Dask prefers what the environment holds, so that is set too, wherever a process of ours is started.
    "distributed.nanny.pre-spawn-environ": dict(PROCESS_VARIABLES),
}


def as_environment() -> dict[str, str]:
    """The settings as the environment variables that Dask reads.

    >>> as_environment()["DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL"]
    '30 minutes'
    """
    return {f"DASK_{name.upper().replace('.', '__').replace('-', '_')}": str(value) for name, value in SETTINGS.items()}
