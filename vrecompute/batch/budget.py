"""`Budget`: core-hours of all jobs of one client, those that ended and those that may still run. Pure logic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from vrecompute.batch.contract import JobStatus, State

__all__ = ["Budget"]


@dataclass
class Budget:
    """`limit_h` core-hours (None: no limit) for jobs of `cores` cores and `job_s` seconds.

    A job counts with its whole walltime until it has ended, and with the time that it took from then on.
    """

    limit_h: float | None
    cores: int
    job_s: int
    used_s: float = field(default=0.0, init=False)

    def affords(self, alive: int) -> int | None:
        """How many more jobs may be submitted while so many are there; None: any number."""
        if self.limit_h is None:
            return None
        left_s = self.limit_h * 3600 - self.used_s - alive * self.cores * self.job_s
        return max(0, int(left_s // (self.cores * self.job_s)))

    def covers(self, core_s: float) -> bool:
        """Whether so many core-seconds more are within the limit."""
        return self.limit_h is None or self.used_s + core_s <= self.limit_h * 3600

    def ended(self, statuses: Iterable[JobStatus]) -> None:
        """Use the core-hours of jobs that have ended, or end now; one without a known run time counts its walltime."""
        for status in statuses:
            unknown_s = 0 if status.state in {State.QUEUED, State.HELD} else self.job_s
            took_s = unknown_s if status.elapsed_s is None else min(status.elapsed_s, self.job_s)
            self.used_s += self.cores * took_s

    def reserve(self, cores: int, seconds: float) -> None:
        """A job of another shape, which is not watched: all of it is used. Less than nothing gives back."""
        self.used_s += cores * seconds

    def __str__(self) -> str:
        return f"{self.used_s / 3600:.3g} of {self.limit_h:g} h used by this client, limits.core_hours"
