"""The jobs that runs of a site would be: what a probe asks the batch system about before any run does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vrecompute.batch.contract import Job
from vrecompute.batch.detached_job import detached_job, share_job
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.scheduler_job import scheduler_job, workers_beside
from vrecompute.batch.tls import TLS_FILE
from vrecompute.batch.worker_jobs import worker_job
from vrecompute.sites.limits import SiteLimits

__all__ = ["Planned", "planned_detached", "planned_live"]


@dataclass(frozen=True)
class Planned:
    """`count` copies of a job that a run would submit at once; `what` names them. `live`: they are of a live run."""

    what: str
    job: Job
    count: int = 1
    live: bool = True


def planned_live(backend: QueueBackend) -> Iterator[Planned]:
    """Jobs of a live run as it begins; raises what `check_cluster` raises where there can be none."""
    site = backend.site
    if not backend.capabilities.clusters or site.scheduler_runs not in {"client", "login", "allocation"}:
        return
    workers = SiteLimits(site).workers()
    backend.check_cluster(workers)
    keys = {TLS_FILE: b""} if site.network.tls else {}
    if site.scheduler_runs == "allocation":
        yield Planned("scheduler job", scheduler_job(backend, "vre-scheduler", workers, keys))
    count = -(-(workers - workers_beside(backend, workers)) // site.workers.processes)
    if count < 1:
        return
    job = worker_job(backend, f"{'tls' if keys else 'tcp'}://SCHEDULER:PORT", "vre-workers", keys)
    yield Planned("worker job", job)
    if count > 1 and backend.array:
        yield Planned(f"array of {count} worker jobs", job, count)


def planned_detached(backend: QueueBackend) -> Iterator[Planned]:
    """The job or jobs of a detached run with as many workers as a run begins with; OverBudget where it may not be."""
    site = backend.site
    jobs = SiteLimits(site).workers() // site.workers.processes
    if jobs > 1 and not backend.capabilities.spans:
        shares = share_job(site, "vre-detached", ("true",), jobs)
        yield Planned(
            f"array of {jobs} jobs of a detached run" if backend.array else "detached job", shares, jobs, live=False
        )
        return
    in_image = site.environment.image is not None and backend.step(site.workers.nodes.min, site.workers.cores)
    if backend.capabilities.workers and site.store.workers_reach and not in_image:
        yield Planned("detached job", detached_job(site, "vre-detached", ("true",)), live=False)
