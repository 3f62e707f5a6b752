"""Whether a site allows a live cluster: where its scheduler may be, and what the smallest one would use."""

from __future__ import annotations

from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.scheduler_job import workers_beside
from vrecompute.errors import OverBudget, UsageError
from vrecompute.sites.limits import SiteLimits
from vrecompute.sites.model import Site

__all__ = ["check_cluster", "scheduler_cores"]


def check_cluster(backend: QueueBackend, workers: int) -> None:
    """UsageError where the site or this installation allows no live cluster, OverBudget where the core-hours do not."""
    site = backend.site
    if site.scheduler_runs not in {"client", "login", "allocation"}:
        raise UsageError(
            f"site {site.name!r}: a live cluster needs scheduler_runs: client, login or allocation, not "
            f"{site.scheduler_runs}; submit detached instead"
        )
    beside = workers_beside(backend, workers)
    if site.scheduler_runs == "allocation" and site.limits.max_jobs == 1 and not beside:
        raise UsageError(
            f"site {site.name!r}: scheduler_runs: allocation takes one job for the scheduler, and "
            "limits.max_jobs: 1 leaves no job for workers; raise it, or set options.whole_node"
        )
    needed_s = scheduler_cores(site, beside) * SiteLimits(site).longest_s
    needed_s += 0 if beside else site.workers.cores * backend.budget.job_s
    if not backend.budget.covers(needed_s):
        raise OverBudget(
            f"site {site.name!r}: the smallest cluster may use {needed_s / 3600:.3g} core-hours, more than the limit "
            f"leaves ({backend.budget}); finished chunks are kept and reused"
        )


def scheduler_cores(site: Site, beside: int) -> int:
    """Cores of the job that holds the scheduler, with so many workers beside it; none where it is in no job."""
    if site.scheduler_runs != "allocation":
        return 0
    return site.workers.cores if beside else 1
