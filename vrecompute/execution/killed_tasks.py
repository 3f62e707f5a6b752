"""`KilledTasks`: tasks whose workers died, until the batch system has said how, or has been silent for too long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from distributed.scheduler import KilledWorker

from vrecompute.batch.contract import JobStatus, State
from vrecompute.execution.schedule import Schedule, Task

__all__ = ["KilledTasks"]

# How long a job at its walltime may take to be ended, and to be written down as such.
_PATIENCE_S = 180.0


@dataclass
class KilledTasks:
    """Asks `deaths` (by worker name) about the last worker of each task that is given up."""

    deaths: Callable[[], Mapping[str, JobStatus]]
    _open: list[tuple[Task, KilledWorker, float]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, task: Task, error: KilledWorker) -> None:
        """Workers of this task died: `error` is distributed's KilledWorker, which names the last."""
        self._open.append((task, error, time.monotonic()))

    def judge(self, schedule: Schedule) -> list[tuple[Task, KilledWorker]]:
        """Put back what is to be tried again, alone; gives the tasks that are lost, with their KilledWorker.

        A job at its walltime may have had little time left for a chunk: before that is believed to be too long, it
        is run alone on a worker with its time ahead. Nothing is said of a job that is at its walltime right now.
        """
        known = self.deaths() if self._open else {}
        lost = []
        for case in list(self._open):
            task, error, since = case
            death = known.get(str(error.last_worker.name))
            if death is not None and not death.state.terminal and time.monotonic() - since < _PATIENCE_S:
                continue
            self._open.remove(case)
            at_walltime = death is not None and death.state is State.TIMEOUT
            if not task.alone:
                schedule.suspect(task, from_start=at_walltime)
            elif at_walltime and not task.from_start:
                schedule.again(replace(task, from_start=True))
            else:
                lost.append((task, error))
        return lost
