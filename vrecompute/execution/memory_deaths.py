"""`MemoryDeaths`: workers that were ended for memory, one after another, since a task last ended well."""

from __future__ import annotations

import time

from distributed import Client as DaskClient

from vrecompute.execution.pool import Finished
from vrecompute.execution.postmortem import FOR_MEMORY
from vrecompute.workers.worker_exit import WorkerExit, worker_exits

__all__ = ["MemoryDeaths"]

# How often nannies' reports are asked for: that is a round trip to the scheduler.
_ASK_S = 2.0
# So many in a row are more than one task that took too much.
_SEVERAL = 2


class MemoryDeaths:
    """Counts what the nannies of one cluster report. It is asked only while no task ends well."""

    def __init__(self, dask: DaskClient) -> None:
        self._dask = dask
        self._asked = -_ASK_S
        self._known: set[tuple[str, int]] | None = None
        self._latest: list[WorkerExit] = []

    def look(self, ended: Finished | None) -> None:
        """Ask, where that is due; `ended` is the task that did just now, if any. OSError as of Dask."""
        if ended is not None and ended.how == "done":
            self._known, self._latest = None, []
            return
        if time.monotonic() - self._asked < _ASK_S:
            return
        self._asked = time.monotonic()
        killed = {key: word for key, word in worker_exits(self._dask).items() if word.for_memory}
        if self._known is None:
            self._known = set(killed)
        self._latest += [word for key, word in killed.items() if key not in self._known]
        self._known |= set(killed)

    @property
    def several(self) -> bool:
        """Whether the workers' memory, and nothing else, is what keeps the run from going on."""
        return len(self._latest) >= _SEVERAL

    def __str__(self) -> str:
        """How many, how the last of them ended, and what to do; empty where there are not several."""
        if not self.several:
            return ""
        return f"{len(self._latest)} workers in a row died for memory, the last so: {self._latest[-1]}; {FOR_MEMORY}"
