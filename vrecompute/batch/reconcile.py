"""`Reconciler`: how many jobs are wanted, what the batch system says of those submitted, what to do. Pure logic.

      wanted     a number, never more than the site's `max_jobs`
      requested  jobs that were submitted and not given up
      observed   what the batch system says of each; UNKNOWN is silence and changes nothing

A job that ended is forgotten and another takes its place, as long as the budget affords it. Jobs that fail as soon
as they start would be replaced for ever, so each such failure doubles the wait before the next submission.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from vrecompute.batch.budget import Budget
from vrecompute.batch.contract import JobStatus, State

__all__ = ["Actions", "Reconciler"]

# A job that ends badly this soon after its start never did any work.
_QUICK_S = 60.0
_LONGEST_WAIT_S = 300.0


@dataclass(frozen=True)
class Actions:
    """What to do now: `forget` jobs that ended, `cancel` jobs that are too many, `submit` that many new ones."""

    forget: tuple[str, ...] = ()
    cancel: tuple[str, ...] = ()
    submit: int = 0


@dataclass
class Reconciler:
    """Decides what to submit and cancel; the caller carries it out.

    `strikes` counts what went wrong since a job last did well, `failures` those that were jobs of no use.
    """

    max_jobs: int | None = None
    budget: Budget = field(default_factory=lambda: Budget(None, 1, 1))
    strikes: int = field(default=0, init=False)
    failures: int = field(default=0, init=False)
    _not_before_s: float = field(default=float("-inf"), init=False)

    def decide(
        self, wanted: int, observed: Mapping[str, JobStatus], now_s: float, barren: Collection[str] = ()
    ) -> Actions:
        """The difference between what is wanted and what is there. `now_s` is any clock that only goes forward.

        `barren` are jobs that ended without having brought what they were for, however long they took.
        """
        limit = wanted if self.max_jobs is None else min(wanted, self.max_jobs)
        over = tuple(name for name, status in observed.items() if status.state.terminal)
        alive = {name: status for name, status in observed.items() if not status.state.terminal}
        self._judge(observed, now_s, failed=bool(barren))
        self.budget.ended(observed[name] for name in over)
        excess = len(alive) - limit
        if excess > 0:
            # those that do not run yet are given up first
            order = sorted(alive, key=lambda name: alive[name].state is State.RUNNING)
            given_up = tuple(order[:excess])
            self.budget.ended(alive[name] for name in given_up)
            return Actions(forget=over, cancel=given_up)
        affordable = self.budget.affords(len(alive))
        submit = -excess if affordable is None else min(-excess, affordable)
        return Actions(forget=over, submit=submit if now_s >= self._not_before_s else 0)

    def next_look_s(self, now_s: float, interval_s: float) -> float:
        """How long to wait before the next decision: no longer than until a submission that was put off is due."""
        due_s = self._not_before_s - now_s
        return min(due_s, interval_s) if due_s > 0 else interval_s

    def spent(self, observed: Mapping[str, JobStatus]) -> bool:
        """Whether no job is there and no other is affordable: this is the end."""
        return all(s.state.terminal for s in observed.values()) and self.budget.affords(0) == 0

    def refused(self, now_s: float) -> None:
        """A submission was refused for now: wait, longer each time."""
        self.strikes += 1
        self._not_before_s = now_s + min(_LONGEST_WAIT_S, 2.0**self.strikes)

    def _judge(self, observed: Mapping[str, JobStatus], now_s: float, *, failed: bool) -> None:
        if any(s.state is State.RUNNING and (s.elapsed_s or 0) >= _QUICK_S for s in observed.values()):
            self.strikes = self.failures = 0
        at_once = [s for s in observed.values() if s.blame in {"code", "memory"} and (s.elapsed_s or 0) < _QUICK_S]
        failed = failed or bool(at_once)
        # one that is gone without a trace may have worked for long
        lost = [s.elapsed_s for s in observed.values() if s.state is State.NODE_FAIL and s.elapsed_s is not None]
        self.failures += failed
        if failed or any(elapsed_s < _QUICK_S for elapsed_s in lost):
            self.refused(now_s)
