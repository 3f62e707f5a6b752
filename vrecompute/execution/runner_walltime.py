"""`RunnerWalltime`: the Runner's own time, where its job ends together with those of its workers (a detached run).

When a worker has no time left, none has: nothing more is submitted, what is in flight is taken, and the run is
handed over to the next job. It is handed over only by a job that came further, so that this comes to an end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ParamSpec, TypeVar

from vrecompute.errors import OutOfTime
from vrecompute.execution.failure import Failure
from vrecompute.execution.plan import Plan
from vrecompute.execution.schedule import Schedule, Task
from vrecompute.execution.tally import Tally
from vrecompute.stores.base import Store
from vrecompute.wording import duration_text
from vrecompute.workers.walltime import Allocation, allocation, within

__all__ = ["RunnerWalltime"]

_ADVICE = "ask for a longer walltime (--walltime, workers.walltime)"
# Workers that connect, have no time for any task and leave: this many in a row, or this many per thread, are too many.
_IN_VAIN, _IN_VAIN_EACH = 20, 4
_P = ParamSpec("_P")
_T = TypeVar("_T")


class RunnerWalltime:
    """What a Runner knows of its time. `closing`: nothing more is to be submitted. `late`: what was not reached."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.allocation: Allocation | None = allocation()
        self.closing = False
        self.late: Failure | None = None
        self._in_vain: set[str] = set()
        self._opening_counts = True
        self._known = self._sources() if self.allocation is not None else 0

    @property
    def ends(self) -> float | None:
        """When the Runner's own allocation ends, in seconds since 1970; None where it does not."""
        return None if self.allocation is None else self.allocation.ends

    @property
    def is_up(self) -> bool:
        """Whether it is time to stop and say how far the run came."""
        return self.allocation is not None and self.allocation.closes_s <= 0

    def refused(self, worker: str, *, leaves: bool, threads: int) -> bool:
        """A worker had no time. Whether so many had none, one after another, that going on makes no sense.

        Workers are counted, not their answers: one that is about to leave may be asked for all that is in flight.
        """
        self.closing = self.closing or not leaves
        self._in_vain.add(worker)
        return len(self._in_vain) > max(_IN_VAIN, _IN_VAIN_EACH * threads)

    def advanced(self) -> None:
        """A chunk was computed: workers without time before it no longer count."""
        self._in_vain.clear()

    def in_time(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What the function returns; TimeoutError where this job ends before."""
        if self.allocation is None:
            return function(*args, **kwargs)
        return within(self.allocation.closes_s, function, *args, **kwargs)

    def hand_over(self, tally: Tally) -> None:
        """Raise OutOfTime where the next job comes further than this one; else, what was not reached is a failure."""
        if self.late is None:
            return
        further = tally.computed > 0 or (self._opening_counts and self._sources() > self._known)
        if further and not tally.manifest.settings.reuse:
            # the next job would begin anew, and so on for ever
            reason = f"the run did not end within the walltime of {self._whole}, and with --no-reuse no other job can"
            self.late = replace(self.late, reason=f"{reason} continue it; {_ADVICE}, or leave out --no-reuse")
        elif further:
            raise OutOfTime(
                f"run {tally.manifest.run}: the job reached its walltime; it computed {tally.computed} chunks, all "
                "stored, and the next job continues from there"
            )
        tally.failed(self.late)

    def not_opened(self, dataset: str, opened: int, wanted: int) -> None:
        """Time ran out in preflight."""
        reason = f"this job opened {opened} of {wanted} sources within its walltime of {self._whole}; {_ADVICE}"
        self.late = Failure(dataset, "", "walltime", reason)

    def not_reached(
        self, plan: Plan, flying: Sequence[tuple[Task, float, int]], schedule: Schedule, dying: str = ""
    ) -> None:
        """Time ran out at work: the task in flight for longest was not done; or else, the next was not begun.

        `dying` says of workers that died for memory all that time, if so: more time would not have helped.
        """
        task, given_s, _ = max(flying, default=(None, 0.0, 0), key=lambda flight: flight[1])
        if task is not None:
            # opening files may have left it too little; a chunk that had its time is not helped by their being open
            self._opening_counts = self.allocation is None or given_s < self.allocation.whole_s / 2
            self.late = self.chunk(
                plan, task, f"ended the job before this chunk was done, after {duration_text(given_s)}"
            )
        elif (task := schedule.next(1, 0)) is not None:
            self.late = self.chunk(plan, task, "left no time to start this chunk")
        if self.late is not None and dying:
            self._opening_counts = False
            reason = f"{dying}. The walltime of {self._whole} was over before any chunk was done"
            self.late = replace(self.late, kind="memory", reason=reason)

    def not_finished(self, function: str, began_s: float) -> None:
        """Time ran out in `finish`, which began that many seconds ago."""
        reason = f"ran for {duration_text(began_s)} and was not done when this job ended; the result is kept; {_ADVICE}"
        self.late = Failure(function, "", "walltime", reason)

    def chunk(self, plan: Plan, task: Task, what: str) -> Failure:
        """The Failure that time is for the chunks of a task, where no chunk at all was computed in this job."""
        first, last = plan.chunk(task.first), plan.chunk(task.last - 1)
        source = plan.sources[int(plan.table[task.first, 0])]
        stop = last.stop if last.source == first.source else source.end
        advice = f"{_ADVICE} or use a smaller --chunk-bytes"
        if not self.closing and self.allocation is None:
            reason = f"TIMEOUT: new workers {what}; {advice}"
        else:
            reason = f"TIMEOUT: the walltime of {self._whole} {what}, and no other chunk was computed; {advice}"
        return Failure(first.source, source.sample, "walltime", reason, first.start, stop, stop - first.start)

    @property
    def _whole(self) -> str:
        return "time" if self.allocation is None else duration_text(self.allocation.whole_s)

    def _sources(self) -> int:
        """How many sources were ever opened with success: a preflight that adds to them came further."""
        return sum(1 for _ in self.store.names("sources"))
