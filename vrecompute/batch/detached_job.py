"""The jobs of a detached run: one allocation with scheduler, workers and the run's command, or one for each share."""

from __future__ import annotations

from collections.abc import Mapping

from vrecompute.batch.contract import Job
from vrecompute.sites.limits import SiteLimits
from vrecompute.sites.model import Site
from vrecompute.workers.walltime import ATTEMPTS

__all__ = ["detached_job", "share_job"]


def detached_job(
    site: Site,
    name: str,
    command: tuple[str, ...],
    workers: int | None = None,
    walltime_s: int | None = None,
    labels: Mapping[str, str] | None = None,
) -> Job:
    """The job in the site's shape; UsageError or OverBudget for more workers or time than the site gives."""
    allowance = SiteLimits(site)
    wanted, job_s = allowance.workers(workers), allowance.job_s(walltime_s)
    attempts = allowance.attempts(wanted, job_s)
    return Job(
        name=name,
        command=command,
        memory_bytes=None,
        walltime_s=job_s,
        workers=wanted,
        environment={} if attempts is None else {ATTEMPTS: str(attempts)},
        requeue=attempts != 1,  # a later attempt finds what earlier ones made durable
        gpus=site.workers.gpus or 0,
        image=site.environment.image,
        labels=labels or {},
    )


def share_job(
    site: Site,
    name: str,
    command: tuple[str, ...],
    shares: int,
    memory_bytes: int | None = None,
    walltime_s: int | None = None,
    labels: Mapping[str, str] | None = None,
) -> Job:
    """The job of one of so many shares of a run, in the site's shape; UsageError or OverBudget as `detached_job`.

    `memory_bytes` is what it asks for where that is not `workers.memory`. With `limits.core_hours` it starts once.
    """
    allowance = SiteLimits(site)
    job_s = allowance.job_s(walltime_s)
    return Job(
        name=name,
        command=command,
        cores=site.workers.cores,
        memory_bytes=memory_bytes or site.workers.memory,
        walltime_s=job_s,
        requeue=allowance.attempts(shares * site.workers.processes, job_s) is None,
        gpus=site.workers.gpus or 0,
        image=site.environment.image,
        labels=labels or {},
    )
