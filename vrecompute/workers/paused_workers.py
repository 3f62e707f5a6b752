"""`all_paused`: that no Dask worker takes a task, since each is short of memory, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vrecompute.wording import bytes_text

__all__ = ["PAUSED_ADVICE", "all_paused"]

#: What their owner can do about it.
PAUSED_ADVICE = "give workers more memory (memory_limit of a Dask cluster, workers.memory of a site) or start them anew"


def all_paused(workers: Mapping[str, Mapping[str, Any]]) -> str:
    """Which worker is fullest, where all are paused and none goes on with a task; empty otherwise.

    `workers` is what the scheduler says of each, by address. Dask pauses a worker at 80 % of its memory; it finishes
    what it has begun, and takes nothing new until memory is given back, which a process may never do.
    """
    if not workers or any(w.get("status") != "paused" or _executing(w) for w in workers.values()):
        return ""
    address, (used, limit) = max(((a, _memory(w)) for a, w in workers.items()), key=lambda one: one[1])
    which = f"all {len(workers)} workers are" if len(workers) > 1 else "the only worker is"
    full = f"{bytes_text(used)} of {bytes_text(limit)} of memory used on worker {address}"
    return f"{which} paused by Dask, which sends no task there{f' ({full})' if limit else ''}"


def _executing(worker: Mapping[str, Any]) -> int:
    counts = worker.get("metrics", {}).get("task_counts", {})
    return int(counts.get("executing", 0)) + int(counts.get("long-running", 0))


def _memory(worker: Mapping[str, Any]) -> tuple[int, int]:
    """Bytes in use, as of the last heartbeat, and bytes allowed; 0 for no limit."""
    return int(worker.get("metrics", {}).get("memory", 0)), int(worker.get("memory_limit") or 0)
