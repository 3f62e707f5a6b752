"""`HeldWorkers`: workers that go on with a task of a run that has ended, as one that never returns."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from typing import Any

from distributed import Client as DaskClient

from vrecompute.workers.dask_hooks import ask_workers, running_tasks, workers_of

__all__ = ["HeldWorkers"]

_LOG = logging.getLogger(__name__)

# How long a task may go on after the end of its run.
_GRACE_S = 5.0
# How long a worker may take to say what it does, and may be silent in all while other runs are at work: code in C
# that keeps Python's lock, as a compilation does, lets it say nothing.
_ANSWER_S, _SILENT_S = 2.0, 30.0
# How often it is looked, at first and once a worker is known to be held.
_LOOK_S, _HELD_LOOK_S = 1.0, 5.0
# How long a worker may take to begin anew.
_RESTART_S = 30.0


class HeldWorkers:
    """Those of one cluster. Where they are `ours`, they are begun anew; else it is said which run holds them."""

    def __init__(self, dask: DaskClient, *, ours: bool) -> None:
        self._dask = dask
        self._ours = ours
        self._held: dict[str, set[str]] = {}
        self._watched: dict[str, object] = {}
        self._lock = threading.Lock()

    def watch(self, run: str, *, alone: bool) -> None:
        """See on a thread that no worker goes on with a run that has ended; `alone`: no other run is at work."""
        with self._lock:
            token = self._watched[run] = object()
        name = f"vrecompute-held-{run}"
        threading.Thread(target=self._watch, args=(run, token, alone), name=name, daemon=True).start()

    def forget(self, run: str) -> None:
        """It is taken up again: its tasks are wanted."""
        with self._lock:
            self._watched.pop(run, None)
            self._held.pop(run, None)

    def said(self) -> str:
        """Which workers of a cluster that was given are held by which run, and what to do; empty where none is."""
        with self._lock:
            held = {run: sorted(workers) for run, workers in self._held.items()}
        return "; ".join(
            f"worker {', '.join(workers)} of the given Dask cluster still computes a task of run {run}, which has "
            "ended, and a cluster that was given is not restarted: "
            f"distributed.Client.restart_workers({workers!r}) of your own ends that task, and all else that is there"
            for run, workers in held.items()
        )

    def _watch(self, run: str, token: object, alone: bool) -> None:
        try:
            self._until_free(run, token, alone)
        except Exception:
            if self._dask.status == "running":  # else the cluster is gone, and its workers with it
                _LOG.exception("whether workers go on with run %s, which has ended, could not be learned", run)
        finally:
            if self._is_watched(run, token):
                self.forget(run)

    def _is_watched(self, run: str, token: object) -> bool:
        with self._lock:
            return self._watched.get(run) is token

    def _until_free(self, run: str, token: object, alone: bool) -> None:
        """Return once no worker goes on with the run: by itself, or since it was begun anew."""
        began = time.monotonic()
        seen: set[str] | None = None
        while self._dask.status == "running":
            answers = ask_workers(self._dask, running_tasks, run, timeout_s=_ANSWER_S)
            if not self._is_watched(run, token):
                return
            silent = {worker for worker, tasks in answers.items() if tasks is None}
            seen = silent if seen is None else seen & silent
            passed_s = time.monotonic() - began
            busy = {worker for worker, tasks in answers.items() if tasks}
            if not busy and not seen:
                return
            held = busy | (seen if alone or passed_s > _SILENT_S else set())
            if passed_s > _GRACE_S and held:
                if self._ours:
                    self._begin_anew(run, held)
                    return
                self._tell(run, held)
            time.sleep(_HELD_LOOK_S if run in self._held else _LOOK_S)

    def _begin_anew(self, run: str, held: Iterable[str]) -> None:
        there = workers_of(self._dask)
        anew = sorted(worker for worker in held if there.get(worker, {}).get("nanny"))
        _LOG.warning(
            "a task of run %s, which has ended, did not end within %.0f s: %d of the workers are begun anew",
            run, _GRACE_S, len(anew),
        )  # fmt: skip
        if anew:
            answer: Any = self._dask.restart_workers(anew, timeout=_RESTART_S, raise_for_error=False)
            if failed := sorted(worker for worker, how in answer.items() if how != "OK"):
                _LOG.warning("worker %s could not be begun anew: %s", ", ".join(failed), answer[failed[0]])

    def _tell(self, run: str, held: set[str]) -> None:
        with self._lock:
            is_new = run not in self._held
            self._held[run] = held
        if is_new:
            _LOG.warning("%s", self.said())
