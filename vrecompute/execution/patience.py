"""`Patience`: what a run waits for, and when it has waited too long."""

from __future__ import annotations

import time
from dataclasses import dataclass

from vrecompute.errors import ClusterLost
from vrecompute.execution.memory_deaths import MemoryDeaths
from vrecompute.execution.pool import Finished, TaskPool
from vrecompute.execution.progress import WaitingFor
from vrecompute.execution.worker_control import WorkerControl
from vrecompute.wording import duration_text
from vrecompute.workers.paused_workers import PAUSED_ADVICE

__all__ = ["Patience", "Wait"]

# How long no task may end before progress mentions it.
_QUIET_S = 60.0
# A worker is started again when it dies: only a longer want of workers is one.
_SOON_S = 3.0


@dataclass(frozen=True)
class Wait:
    """What a run waits for, also in a sentence, and for how many seconds it has; empty while it goes on."""

    kind: WaitingFor = ""
    reason: str = ""
    seconds: float = 0.0


class Patience:
    """Knows how long a run has had no worker, or none that takes tasks, and how long no task of its has ended."""

    def __init__(self, control: WorkerControl, deaths: MemoryDeaths | None = None) -> None:
        self._control = control
        self._deaths = deaths
        self._worker_seen = self._task_ended = self._open_seen = time.monotonic()

    def look(self, pool: TaskPool, ended: Finished | None) -> Wait:
        """What there is to wait for, where `ended` is the task that did just now, if any.

        Raises ClusterLost where no worker came, or took a task, for longer than its site may take.
        """
        now = time.monotonic()
        if ended is not None or len(pool) == 0:
            self._task_ended = now
        if self._deaths is not None:
            self._deaths.look(ended)
        if pool.threads():
            self._worker_seen = now
            quiet_s = now - self._task_ended
            if quiet_s > _SOON_S and (paused := pool.paused()):
                return self._of_paused(paused, now)
            self._open_seen = now
            if self._deaths is not None and self._deaths.several:
                return Wait("memory", str(self._deaths), quiet_s)
            held = self._control.held() if quiet_s > _SOON_S else ""
            if quiet_s < _QUIET_S and not held:
                return Wait()
            longest_s = max((since_s for _, since_s, _ in pool.flying()), default=0.0)
            reason = f"{len(pool)} tasks are in progress, the oldest for {duration_text(longest_s)}; none has ended"
            return Wait("tasks", f"{reason}; {held}" if held else reason, quiet_s)
        self._open_seen = now
        missing_s = now - self._worker_seen
        why = self._control.waiting()
        reason = f"no worker is connected{': ' + why if why else ''}"
        if missing_s > self._control.patience_s:
            waited = duration_text(missing_s)
            said = f"{reason}; none connected for {waited}. Finished chunks are kept and reused"
            raise ClusterLost(said, was_waited_for=True)
        if missing_s > _SOON_S:
            return Wait("workers", reason, missing_s)
        dying = "" if self._deaths is None else str(self._deaths)
        return Wait("memory", dying, now - self._task_ended) if dying else Wait()

    def _of_paused(self, paused: str, now: float) -> Wait:
        paused_s = now - self._open_seen
        if paused_s > self._control.patience_s:
            raise ClusterLost(
                f"{paused}; none went on for {duration_text(paused_s)}. Finished chunks are kept and reused: "
                f"{PAUSED_ADVICE}, and run again",
                was_waited_for=True,
            )
        return Wait("workers", paused, paused_s) if paused_s > _SOON_S else Wait()
