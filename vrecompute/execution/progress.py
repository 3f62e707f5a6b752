"""`Progress`: how far a run is, as a value that any thread may read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["SPOKEN", "Progress", "WaitingFor"]

#: What keeps a run: workers that are being started, workers that do not come or are paused, tasks that do not end,
#: workers that die for memory one after another, a job that its batch system has suspended.
WaitingFor = Literal["", "start", "workers", "tasks", "memory", "job"]

#: What a Runner tells of it in the store.
SPOKEN = ("stage", "chunks_done", "chunks_total", "events", "events_expected", "waiting", "waiting_s", "waiting_for")


@dataclass(frozen=True)
class Progress:
    """How far a run is. `stage` is queued, preflight, reuse, work, finish or done; rates are of this Runner alone.

    `events_expected` is 0 until preflight has opened every source; `eta_s` is None until a rate is known. `waiting`
    says for what, `waiting_for` which kind of thing that is, and `waiting_s` since when, where nothing goes on. `jobs`
    tells how many of several that carry the run out have ended. `threads` are those of connected workers, `tasks`
    how many are under way on them; `retries` are reads that were tried again.
    """

    stage: str = "waiting"
    chunks_done: int = 0
    chunks_total: int = 0
    events: int = 0
    events_expected: int = 0
    events_per_s: float = 0.0
    eta_s: float | None = None
    sources_done: int = 0
    sources_total: int = 0
    failures: int = 0
    waiting: str = ""
    waiting_s: float = 0.0
    waiting_for: WaitingFor = ""
    jobs: str = ""
    threads: int = 0
    tasks: int = 0
    retries: int = 0

    @property
    def fraction(self) -> float:
        """Between 0 and 1; of sources during preflight, of chunks later."""
        if self.stage == "preflight":
            return self.sources_done / self.sources_total if self.sources_total else 0.0
        if self.stage == "done":
            return 1.0
        return self.chunks_done / self.chunks_total if self.chunks_total else 0.0

    def __str__(self) -> str:
        stopped = f"; waiting for {self.waiting_s:.0f} s: {self.waiting}" if self.waiting else ""
        if self.stage == "queued":
            return f"queued: {self.waiting}"
        if self.stage == "waiting":
            return f"waiting: {self.waiting or 'not begun'}"
        if self.stage == "preflight" and not self.sources_total:
            return f"preflight{stopped}"
        if self.stage == "preflight":
            return f"preflight: {self.sources_done} of {self.sources_total} sources opened{stopped}"
        if self.jobs:
            return (
                f"{self.stage}: {self.jobs}; {self.chunks_done} of {self.chunks_total or 'an unknown number of'} chunks"
            )
        left = stopped if stopped or self.eta_s is None else f", about {self.eta_s:.0f} s left"
        return (
            f"{self.stage}: {self.chunks_done} of {self.chunks_total} chunks, "
            f"{self.events:,} of {self.events_expected:,} events, {self.events_per_s:,.0f} events/s{left}"
        )
