"""The jobs of a live cluster's workers: what Dask's `SpecCluster` starts and closes, submitted in batches."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from distributed.core import Status
from distributed.deploy.spec import ProcessInterface
from distributed.security import Security

from vrecompute.batch.contract import Job, JobId, SubmitError
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.worker_command import SETTINGS, WorkerShape, worker_command
from vrecompute.errors import Unavailable
from vrecompute.sites.limits import SiteLimits
from vrecompute.workers.dask_hooks import BatchedSpecs
from vrecompute.workers.dask_logs import dask_logs_kept_back

__all__ = ["Owner", "WorkerJobs", "worker_job"]

# $0 is the batch's name: a job's workers are named by its number in the array.
_NUMBERED = 'exec "$@" --name "$0_$VRECOMPUTE_INDEX"'


def worker_job(
    backend: QueueBackend,
    address: str,
    name: str,
    secret_files: Mapping[str, bytes],
    memory_bytes: int | None = None,
) -> Job:
    """The job that holds one node's workers, any number of them as an array; workers are `name_INDEX`.

    `memory_bytes` is what it asks for in place of `workers.memory`.
    """
    site = backend.site
    workers, network = replace(site.workers, memory=memory_bytes or site.workers.memory), site.network
    shape = WorkerShape(
        workers.processes,
        workers.threads,
        workers.memory_per_process,
        network.interface,
        network.worker_ports,
        workers.gpus or 0,
    )
    return Job(
        name=name,
        command=("sh", "-c", _NUMBERED, name, *worker_command(shape, address, leave=True)),
        step=tuple(backend.step(1, workers.cores)),
        cores=workers.cores,
        memory_bytes=workers.memory,
        walltime_s=SiteLimits(site).job_s(),
        environment=SETTINGS,
        secret_files=secret_files,
        gpus=workers.gpus or 0,
        image=site.environment.image,
    )


class Owner(Protocol):
    """Whose jobs they are."""

    @property
    def backend(self) -> QueueBackend:
        """The driver."""

    @property
    def secret_files(self) -> Mapping[str, bytes]:
        """What is delivered to each job."""

    @property
    def memory_bytes(self) -> int | None:
        """What jobs that are submitted from now on ask for."""


class _Batch:
    """Jobs of one shape that are submitted together, as soon as the first of them is started."""

    def __init__(self, owner: Owner, name: str, count: int) -> None:
        self.owner, self.name, self.count = owner, name, count
        self.memory_bytes = owner.memory_bytes
        self._submitted: asyncio.Task[list[JobId]] | None = None

    def job(self, scheduler: str) -> Job:
        """What is submitted."""
        return worker_job(self.owner.backend, scheduler, self.name, self.owner.secret_files, self.memory_bytes)

    async def ids(self, scheduler: str) -> list[JobId]:
        """Their native ids, by number in the batch; raises what `submit_many` raises, to each of them."""
        if self._submitted is None:
            backend = self.owner.backend
            call = asyncio.to_thread(backend.submit_many, self.job(scheduler), self.count)
            self._submitted = asyncio.create_task(call)
        return await asyncio.shield(self._submitted)


class _Jobs(ProcessInterface):  # type: ignore[misc]  # distributed is untyped
    """One job of a cluster. Everything it does is asked of the Backend."""

    def __init__(self, scheduler: str, name: str, batch: _Batch, index: int) -> None:
        super().__init__(scheduler=scheduler, name=name)
        self.scheduler, self.batch, self.index = scheduler, batch, index
        self.job_id: JobId | None = None
        self.refusal: Exception | None = None

    async def start(self) -> None:
        """Submit; a refusal is kept for the reconciler, which decides whether to try again."""
        try:
            self.job_id = (await self.batch.ids(self.scheduler))[self.index]
        except (SubmitError, Unavailable) as error:
            self.refusal = error
        await super().start()

    async def close(self) -> None:
        """Cancel the job, if it may still be there."""
        owner = self.batch.owner
        if self.job_id is not None and self.status is not Status.closed:
            with contextlib.suppress(Unavailable):
                await asyncio.to_thread(owner.backend.cancel, [self.job_id])
        await super().close()


class WorkerJobs(BatchedSpecs):
    """Dask's cluster of a scheduler and jobs, without Dask's own replacing. `scheduler` is its class and options."""

    def __init__(self, owner: Owner, name: str, security: Security | None, scheduler: Mapping[str, Any]) -> None:
        self.owner = owner
        self.names: set[str] = set()  # of every worker there ever was
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(dask_logs_kept_back())
        try:
            super().__init__(scheduler=dict(scheduler), security=security, silence_logs=False, name=name)
        except BaseException:
            self._quiet.close()
            raise

    def close(self, timeout: float | None = None) -> Any:
        """Close it, within `timeout` seconds if one is given."""
        try:
            return super().close(timeout)
        finally:
            self._quiet.close()

    def came(self, names: set[str]) -> None:
        """Remember them."""
        self.names |= names

    async def change(self, forget: tuple[str, ...], cancel: tuple[str, ...], submit: int) -> None:
        """Forget jobs that ended, cancel others, and submit so many more as one batch."""
        for name in forget:
            job = self.workers.pop(name, None)
            self.worker_spec.pop(name, None)
            if job is not None:
                job.job_id = None
                await job.close()
        for name in cancel:
            self.worker_spec.pop(name, None)
        if submit:
            batch = _Batch(self.owner, self.new_name(), submit)  # which names the folders of the jobs' secrets too
            self.worker_spec |= {
                f"{batch.name}_{index}": {"cls": _Jobs, "options": {"batch": batch, "index": index}}
                for index in range(submit)
            }
        await self.correct()
