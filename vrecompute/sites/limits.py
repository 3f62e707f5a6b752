"""`SiteLimits`: what a run may ask of a site, and what it gets where it asks for nothing."""

from __future__ import annotations

from dataclasses import dataclass

from vrecompute.errors import OverBudget, UsageError
from vrecompute.sites.model import Site
from vrecompute.wording import duration_text

__all__ = ["SiteLimits"]

_HOUR_S = 3600
#: A run grows to as many threads as have this many chunks each: the last job should be there before the work is gone.
_CHUNKS_EACH = 4
#: So many times the memory may be enough where that was not.
_MORE_MEMORY = 2


@dataclass(frozen=True)
class SiteLimits:
    """`workers` and `limits` of a site, applied. Every question is answered without asking the site."""

    site: Site

    @property
    def longest_s(self) -> int:
        """Seconds of the longest job."""
        return self.site.workers.walltime or _HOUR_S

    def workers(self, asked: int | None = None) -> int:
        """Worker processes to begin with; UsageError for more than the site gives."""
        workers = self.site.workers
        if asked is None:
            return workers.processes * workers.nodes.min
        if workers.nodes.max is not None and asked > workers.processes * workers.nodes.max:
            raise UsageError(
                f"site {self.site.name!r} gives a run at most {workers.processes * workers.nodes.max} workers "
                f"(workers.nodes.max: {workers.nodes.max}, {workers.processes} in each job), and {asked} were asked for"
            )
        return asked

    def grown(self, chunks: int) -> int:
        """Worker processes that so many chunks keep busy, between `nodes.min` and `nodes.max` jobs."""
        workers = self.site.workers
        least, most = workers.nodes.min, workers.nodes.max or workers.nodes.min
        busy = -(-chunks // (_CHUNKS_EACH * workers.cores))
        return workers.processes * max(least, min(most, busy))

    def job_s(self, asked: int | None = None) -> int:
        """Seconds that a job is submitted for: what is asked, else what starts soonest; UsageError for too many."""
        if asked is None:
            return self.site.workers.sweet_spot or self.longest_s
        if self.site.workers.walltime is not None and asked > self.site.workers.walltime:
            raise UsageError(
                f"site {self.site.name!r} gives jobs at most {duration_text(self.site.workers.walltime)} "
                f"(workers.walltime), and {duration_text(asked)} were asked for; a run that takes longer goes through "
                "several jobs by itself"
            )
        return asked

    def more_memory(self, asked: int | None) -> int | None:
        """Bytes to ask for after a job of so many was ended for its memory; None where the site gives no more."""
        most = self.site.workers.max_memory
        return None if asked is None or most is None or asked >= most else min(most, _MORE_MEMORY * asked)

    def attempts(self, workers: int, job_s: int) -> int | None:
        """How often a job of so many workers may be started within `limits.core_hours`; None: any number of times.

        OverBudget where that is never.
        """
        limit, shape = self.site.limits.core_hours, self.site.workers
        if limit is None:
            return None
        jobs = -(-workers // shape.processes)
        hours = jobs * shape.cores * job_s / _HOUR_S
        if hours > limit:
            raise OverBudget(
                f"site {self.site.name!r}: {jobs} x {shape.cores} cores for {duration_text(job_s)} are {hours:g} "
                f"core-hours, and one run may plan {limit:g} (limits.core_hours); ask for fewer workers or less time"
            )
        return int(limit // hours)
