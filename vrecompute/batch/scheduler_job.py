"""`AllocatedScheduler`: the Dask scheduler of a live cluster in a separate job, reached through the login node.

On sites that charge whole nodes (`options.whole_node`) that job is a node with workers beside the scheduler;
elsewhere it is one core, and workers are in jobs of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping

from distributed.deploy.spec import ProcessInterface

from vrecompute.batch.contract import Job, JobId, JobStatus, State
from vrecompute.batch.post_mortem import log_ends, never_starts
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.scheduler import tunnelled
from vrecompute.batch.worker_command import SETTINGS
from vrecompute.errors import Unavailable
from vrecompute.records import json_of
from vrecompute.sites.limits import SiteLimits

__all__ = ["NEVER_S", "AllocatedScheduler", "scheduler_job", "workers_beside"]

_log = logging.getLogger(__name__)
_SCHEDULER_BYTES = 1 << 30
_LEAST_POLL_S = 1.0
# How long a job that runs may take to say where its scheduler listens.
_START_S = 180.0
#: How long jobs must say that waiting is of no use: a partition or a node may be away for a moment.
NEVER_S = 30.0


def workers_beside(backend: QueueBackend, workers: int) -> int:
    """Worker processes that share the scheduler's node, of `workers` wanted."""
    allocated = backend.site.scheduler_runs == "allocation"
    return min(workers, backend.site.workers.processes) if allocated and backend.whole_node else 0


def scheduler_job(backend: QueueBackend, name: str, workers: int, secret_files: Mapping[str, bytes]) -> Job:
    """The job of the scheduler of a live cluster that wants `workers` worker processes."""
    site, beside = backend.site, workers_beside(backend, workers)
    command = ["python", "-m", "vrecompute.batch.keepalive", "--announce", f"{name}.json"]
    if not beside:
        given = {"--interface": site.network.interface, "--ports": site.network.scheduler_ports}
        command += [word for flag, value in given.items() if value for word in (flag, str(value))]
        command += [] if site.network.tls else ["--no-tls"]
    return Job(
        name=name,
        command=tuple(command),
        memory_bytes=_SCHEDULER_BYTES,
        walltime_s=SiteLimits(site).longest_s,  # its end interrupts the run
        workers=beside,
        environment=SETTINGS,
        secret_files=secret_files,
        controller=not beside,
        gpus=site.workers.gpus or 0 if beside else 0,
        image=site.environment.image,
    )


class AllocatedScheduler(ProcessInterface):  # type: ignore[misc]  # distributed is untyped
    """Waits in the queue like any job; `address` is for workers, `external_address` for this side of the tunnel.

    `over` is set when its client waits no more.
    """

    def __init__(
        self,
        backend: QueueBackend,
        workers: int,
        secret_files: Mapping[str, bytes],
        over: Callable[[], bool],
    ) -> None:
        super().__init__()
        self.backend, self._gone = backend, over
        self.job = scheduler_job(backend, f"vre-scheduler-{secrets.token_hex(6)}", workers, secret_files)
        self.job_id: JobId | None = None
        self._open = contextlib.ExitStack()
        self._seen = JobStatus(State.QUEUED)

    async def start(self) -> None:
        """Submit, wait until the scheduler answers, open the tunnel. SubmitError or Unavailable where it cannot be."""
        await asyncio.to_thread(self._start)
        await super().start()

    async def close(self) -> None:
        """End the tunnel and the job."""
        await asyncio.to_thread(self._close)
        await super().close()

    def observe(self, status: JobStatus) -> None:
        """Take in what the batch system says of the job."""
        self._seen = status

    def lost(self) -> str:
        """Why it is gone, empty while it is there, as of the last look."""
        if not self._seen.state.terminal:
            return ""
        how = self._seen.reason or f"job {self.job_id} is {self._seen.state}"
        return f"the job that held the Dask scheduler has ended: {how}"

    def _start(self) -> None:
        try:
            self.job_id = job_id = self.backend.submit(self.job)
            self.address = self._address(job_id)
            self.external_address = self._open.enter_context(tunnelled(self.backend.access, self.address))
        except BaseException:
            self._close()
            raise

    def _address(self, job_id: JobId) -> str:
        said, runs_since, may_start = "", float("inf"), time.monotonic()
        pause_s = 0.0
        while not (self._gone() or self.backend.leaving.wait(pause_s)):
            with contextlib.suppress(Unavailable, ValueError, LookupError, TypeError):  # it may be no announcement
                if (data := self.backend.announced(f"{self.job.name}.json")) is not None:
                    return str(json_of(data)["address"])
                self.observe(self.backend.poll([job_id])[job_id])
            if self.lost() or time.monotonic() - runs_since > _START_S:
                how = self.lost() or "the Dask scheduler did not start in its job"
                raise Unavailable(f"{how}. {log_ends(self.backend, job_id)}")
            if not self._seen.never:
                may_start = time.monotonic()
            elif time.monotonic() - may_start > NEVER_S:
                raise never_starts(self.backend, self._seen.reason)
            if self._seen.state is State.RUNNING:
                runs_since = min(runs_since, time.monotonic())
            elif self._seen.reason not in {"", said}:
                said = self._seen.reason
                _log.warning("the Dask scheduler has not started yet: %s", said)
            pause_s = max(_LEAST_POLL_S, min(10.0, self.backend.site.limits.min_poll))
        raise Unavailable(f"the client stopped waiting for job {self.job_id} of the Dask scheduler")

    def _close(self) -> None:
        self._open.close()
        if self.job_id is not None:
            with contextlib.suppress(Unavailable):
                self.backend.cancel([self.job_id])
