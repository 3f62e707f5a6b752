"""`WorkerControl`: what a Runner asks of the workers' owner, and tells it; Dask itself knows none of it."""

from __future__ import annotations

from collections.abc import Mapping

from vrecompute.batch.contract import Cluster, JobStatus
from vrecompute.errors import VrecomputeError

__all__ = ["WorkerControl"]


class WorkerControl:
    """The answers for a cluster that the user made: its jobs and their ends are unknown, its workers stay."""

    patience_s: float = Cluster.patience_s
    #: What a run waits for at its start, and what it does where its cluster is lost.
    starting = "workers are being started"
    anew = "it goes on with new workers"

    def deaths(self) -> Mapping[str, JobStatus]:
        """How the jobs behind lost workers ended, by worker name."""
        return {}

    def lost(self) -> str:
        """Why the workers are gone for good, empty while they are there."""
        return ""

    def refusal(self) -> VrecomputeError | None:
        """What a run ends with where others would be lost too."""
        return None

    def stop_waiting(self) -> None:
        """A thread that waits for workers to be started gets Unavailable."""

    def waiting(self) -> str:
        """Why there is no worker yet, empty where that is not known."""
        return ""

    def held(self) -> str:
        """Which workers a run that has ended holds by a task that goes on, and what to do; empty where that ends."""
        return ""

    def given_up(self, run: str) -> None:
        """A run has ended, and tasks of its may go on; no worker is to go on with one for ever."""

    def left_out(self) -> list[str]:
        """A sentence about each node that jobs are kept off."""
        return []

    def needed(self, run: str, chunks: int) -> None:
        """A run has so many chunks to compute; 0 when that is over."""
