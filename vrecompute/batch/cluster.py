"""Live mode: Dask workers in jobs of a queue, kept at the wanted number until the cluster is closed.

Dask's `SpecCluster` brings the cluster; script, submission and end of its jobs are the Backend's. So there is one
renderer (what `explain` prints is what runs), one poll and one loop that reconciles: Dask's own replacing is off.

    scheduler_runs: client      the scheduler is in this process
                    login       beside the batch system's commands, started over the access (login_scheduler)
                    allocation  in a job (scheduler_job)
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from distributed import Client as DaskClient
from distributed.security import Security

from vrecompute.batch.cluster_check import check_cluster, scheduler_cores
from vrecompute.batch.contract import Cluster, JobId, JobStatus, State, SubmitError
from vrecompute.batch.login_scheduler import LoginScheduler
from vrecompute.batch.node_strikes import NodeStrikes
from vrecompute.batch.outage import cancel_owed
from vrecompute.batch.post_mortem import log_ends
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.reconcile import Reconciler
from vrecompute.batch.scheduler import RangedScheduler, start_failure
from vrecompute.batch.scheduler_job import AllocatedScheduler, workers_beside
from vrecompute.batch.standstill import Standstill
from vrecompute.batch.temporary import scratch_folder
from vrecompute.batch.tls import TLS_FILE, fresh_keys, security_of
from vrecompute.batch.worker_jobs import WorkerJobs
from vrecompute.errors import OverBudget, Unavailable, VrecomputeError
from vrecompute.sites.limits import SiteLimits
from vrecompute.sites.model import Site
from vrecompute.workers.dask_hooks import take_for_closed

__all__ = ["QueueCluster", "open_queue_cluster"]

_log = logging.getLogger(__name__)
# What a poll interval is at least, whatever the site allows.
_LEAST_POLL_S = 1.0
_START_S = 60.0
# So soon after the first submission, jobs whose environment is wrong have ended; a poll before that would have the
# next one, which may be due much later, find it out.
_FIRST_LOOK_S = 5.0
# Jobs that end without a worker this often in a row, while no worker comes, would do so for ever.
_HOPELESS = 3
# This long before its walltime a job whose worker is gone may be one that the batch system is ending for it.
_NEAR_END_S = 10.0


def open_queue_cluster(backend: QueueBackend, workers: int) -> QueueCluster:
    """Start a scheduler where the site says and ask for workers.

    SubmitError where the first job is refused; and what `check_cluster` raises.
    """
    check_cluster(backend, workers)
    cluster = QueueCluster(backend, workers)
    try:
        cluster.scale(workers)
        cluster.reconcile()
        cluster.watch()
    except BaseException:
        cluster.close()
        raise
    return cluster


class QueueCluster(Cluster):
    """Wanted workers on one side, jobs on the other, and a thread that closes the difference."""

    patience_s = 7 * 86400.0  # a queue may be long

    def __init__(self, backend: QueueBackend, workers: int) -> None:
        self.backend = backend
        self.secret_files = dict(backend.secret_files)
        site = backend.site
        self.memory_bytes = site.workers.memory
        self._beside = workers_beside(backend, workers)
        self._wanted = 0
        self._statuses: dict[str, JobStatus] = {}
        self._ended: dict[str, JobStatus] = {}  # by name of a job
        self._strikes = NodeStrikes()
        self._standstill = Standstill(backend)
        most = site.limits.max_jobs
        own = site.scheduler_runs == "allocation"  # the scheduler's job counts too
        self._reconciler = Reconciler(None if most is None else most - own, backend.budget)
        self._refusal: VrecomputeError | None = None
        self._came = 0  # workers that there had been when jobs began to fail
        self._failed = ""  # how the last of those did
        self._first_look = float("inf")
        self._interval = max(_LEAST_POLL_S, site.limits.min_poll)
        self._deciding = threading.Lock()
        self._wake, self._over = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        keys = fresh_keys() if site.network.tls else None
        security = security_of(keys) if keys else None
        if keys:
            self.secret_files[TLS_FILE] = keys.encode()
        try:
            self._jobs = self._start(site, security, workers)
        except RuntimeError as error:
            if isinstance(cause := start_failure(error), VrecomputeError):
                raise cause from None
            why = f"site {site.name!r}: the Dask scheduler does not start: {cause}; check `network`"
            raise Unavailable(why) from error
        except BaseException:
            self._over.set()  # a wait for the scheduler's job ends
            raise
        try:
            self._client = DaskClient(self._jobs, set_as_default=False, timeout=_START_S)
        except BaseException:
            self._jobs.close(timeout=_START_S)
            raise
        # the scheduler's job is not among those that are watched: it counts with its whole walltime until the end
        self._runs_since = time.monotonic()
        self._scheduler_cores = scheduler_cores(site, self._beside)
        backend.budget.reserve(self._scheduler_cores, SiteLimits(site).longest_s)

    @property
    def client(self) -> DaskClient:
        """The plain `distributed.Client`, connected."""
        return self._client

    def scale(self, workers: int) -> None:
        """Want that many worker processes: as many jobs as hold them, up to `limits.max_jobs`.

        Workers beside the scheduler on a node that is charged whole are there as long as the scheduler is.
        """
        self._wanted = -(-max(0, workers - self._beside) // self.backend.site.workers.processes)
        self._wake.set()

    def bring(self, secret_files: Mapping[str, bytes]) -> bool:
        """Jobs that are submitted from now on are brought them."""
        there = secret_files.keys() <= self.secret_files.keys()
        self.secret_files |= secret_files
        return there

    def deaths(self) -> Mapping[str, JobStatus]:
        """How the jobs behind lost workers ended, by worker name: NAME or NAME-INDEX in the job NAME.

        With them jobs at their walltime, whose workers may be gone already while the batch system has not said why.
        """
        nearly = SiteLimits(self.backend.site).job_s() - 2 * self._interval - _NEAR_END_S
        ending = {name: s for name, s in dict(self._statuses).items() if (s.elapsed_s or 0) >= nearly}
        known = ending | self._ended
        found = {}
        for worker in list(self._jobs.names):
            status = known.get(worker) or known.get(worker.rpartition("-")[0])
            if status is not None:
                found[worker] = status
        return found

    def lost(self) -> str:
        """Why the scheduler is gone, or workers for good, as of the last look; empty while they are there."""
        scheduler = self._jobs.scheduler
        lost = scheduler.lost() if isinstance(scheduler, (LoginScheduler, AllocatedScheduler)) else ""
        return lost or str(self._refusal or "")

    def refusal(self) -> VrecomputeError | None:
        """Why another cluster would come to the same: its workers cannot start, or core-hours are used."""
        return self._refusal

    def waiting(self) -> str:
        """Why the first job that does not run is not running, or runs in vain; how one failed, or was refused."""
        failed = self._failed if self._reconciler.failures else ""
        ids = {name: job.job_id for name, job in dict(self._jobs.workers).items()}
        why = failed or self._standstill.why(ids, dict(self._statuses), self._brought())
        return "; ".join([why, *self.left_out()]) if why else ""

    def left_out(self) -> list[str]:
        """Nodes that jobs of this user are kept off."""
        return self.backend.left_out.told()

    def job_ids(self) -> list[JobId]:
        """The jobs of workers that are wanted and not known to have ended."""
        return [job.job_id for job in list(self._jobs.workers.values()) if job.job_id is not None]

    def close(self) -> None:
        """End jobs, scheduler and the thread."""
        if self._over.is_set():
            return
        self._over.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self.backend.budget.ended(s for s in self._statuses.values() if not s.state.terminal)
        unused_s = SiteLimits(self.backend.site).longest_s - (time.monotonic() - self._runs_since)
        self.backend.budget.reserve(self._scheduler_cores, -max(0.0, unused_s))
        gone = bool(self.lost()) or self._client.status != "running"
        try:
            self._client.close(timeout=5)
        except Exception:
            take_for_closed(self._client)
        try:
            with contextlib.suppress(Unavailable):
                self.backend.cancel(self.job_ids())  # all by one command, before each is closed alone
            for job in self._jobs.workers.values():
                job.job_id = None
            if gone:  # dask would call a scheduler that does not answer
                self._jobs.without_scheduler()
        finally:
            try:
                self._jobs.close(timeout=30)
            except TimeoutError:
                _log.warning("%s: Dask did not close the cluster within 30 s; its jobs are cancelled", self._jobs.name)
            cancel_owed(self.backend)

    def watch(self) -> None:
        """Reconcile on a thread from now on."""
        self._wake.clear()
        self._first_look = time.monotonic() + min(_FIRST_LOOK_S, self._interval)
        self._thread = threading.Thread(target=self._watch, name="vrecompute-cluster", daemon=True)
        self._thread.start()

    def reconcile(self) -> None:
        """Look once, and do what the difference between wanted and observed asks for."""
        with self._deciding:
            self._observe()
            now = time.monotonic()
            if not self._reconciler.failures:
                self._came = len(self._jobs.names)
            if self._refusal is None and (hopeless := self._hopeless(now)) is not None:
                self._refusal, self._wanted = hopeless, 0
            barren = self._barren()
            bad = self._strikes.look(self._statuses, barren, self._brought())
            self.backend.left_out.add(bad, self._strikes.suspect)
            actions = self._reconciler.decide(self._wanted, self._statuses, now, barren)
            if self._wanted and not self._beside and not actions.submit and self._reconciler.spent(self._statuses):
                self._refusal = OverBudget(f"core-hour limit reached ({self.backend.budget}); no worker jobs are left")
            for name in actions.forget:
                self._note_death(name)
            self._note_failure(actions.forget, barren)
            if self._reconciler.failures >= _HOPELESS and self._refusal is None and self._no_worker_comes():
                self._give_up_starting()
                actions = replace(actions, submit=0)
            self._jobs.sync(self._jobs.change, actions.forget, actions.cancel, 0)
            if actions.submit:
                self._submit(actions.submit, now)

    def _submit(self, count: int, now: float) -> None:
        """As many jobs as the system takes, in halves where it takes no more at once; the others with a later look."""
        size = left = count
        while left > 0:
            size = min(size, left)
            self._jobs.sync(self._jobs.change, (), (), size)
            refused = {name: e for name, job in self._jobs.workers.items() if (e := job.refusal) is not None}
            if not refused:
                self._standstill.taken()
                left -= size
                continue
            self._jobs.sync(self._jobs.change, tuple(refused), (), 0)
            error = next(iter(refused.values()))
            if not getattr(error, "too_many", False) or size == 1:
                self._reconciler.refused(now)
                self._refused(error, now)
                return
            size //= 2

    def _refused(self, error: Exception, now: float) -> None:
        """Go on with the jobs that were taken; raises where a run that is being opened may not start with so few."""
        site, taken, too_many = self.backend.site, len(self._jobs.workers), getattr(error, "too_many", False)
        least = min(site.workers.nodes.min - bool(self._beside), self._wanted)
        if self._thread is None and taken < max(1, least):  # the cluster is being opened
            if not (too_many and taken):
                raise error
            raise SubmitError(
                f"site {site.name!r}: {self.backend.system} takes {taken} of the {least} jobs that a run starts with "
                f"(workers.nodes.min): {error}",
                transient=getattr(error, "transient", True),
            ) from error
        self._standstill.refused(error, taken, now)

    def _start(self, site: Site, security: Security | None, workers: int) -> WorkerJobs:
        kind: type[Any]
        options: dict[str, Any]
        if site.scheduler_runs == "allocation":
            kind, options = AllocatedScheduler, {"backend": self.backend, "workers": workers}
            options |= {"secret_files": self.secret_files, "over": self._over.is_set}
        elif site.access.kind != "local":
            pem = self.secret_files[TLS_FILE].decode() if security is not None else None
            kind, options = LoginScheduler, {"backend": self.backend, "pem": pem}
        else:
            kind, options = RangedScheduler, {"ports": site.network.scheduler_ports}
            options |= {"security": security, "protocol": "tcp://" if security is None else "tls://"}
            options |= {"interface": site.network.interface, "local_directory": str(scratch_folder())}
            options |= {"dashboard": self.backend.dashboard, "dashboard_address": "127.0.0.1:0"}
        return WorkerJobs(self, f"vre-{secrets.token_hex(4)}", security, {"cls": kind, "options": options})

    def _watch(self) -> None:
        wait_s = self._first_look - time.monotonic()
        while not self._over.is_set():
            self._wake.wait(wait_s)
            self._wake.clear()
            if self._over.is_set():
                return
            try:
                self.reconcile()
            except Exception:
                # the cluster goes on with what it has; the next look may do better
                _log.exception(
                    "the state of the worker jobs of %s could not be learned; it is asked again", self._jobs.name
                )
            wait_s = self._reconciler.next_look_s(time.monotonic(), self._interval)

    def _observe(self) -> None:
        jobs = dict(self._jobs.workers)
        ids = {name: job.job_id for name, job in jobs.items() if job.job_id is not None}
        scheduler = self._jobs.scheduler
        own = [scheduler.job_id] if isinstance(scheduler, AllocatedScheduler) and scheduler.job_id else []
        early = time.monotonic() < self._first_look
        seen = self.backend.poll([*own, *ids.values()]) if (own or ids) and not early else {}
        for job_id in own if seen else ():
            scheduler.observe(seen[job_id])
        self._statuses = {name: seen.get(i, JobStatus(State.UNKNOWN)) for name, i in ids.items()}
        self._standstill.look(self._statuses.values())

    def _no_worker_comes(self) -> bool:
        came = len(self._jobs.names) > self._came or self._jobs.scheduler_info["workers"]
        return not came and not self._strikes.hope(self._statuses)

    def _brought(self) -> set[str]:
        """Jobs of which a worker came."""
        return {w for name in list(self._jobs.names) for w in (name, name.rpartition("-")[0])}

    def _barren(self) -> set[str]:
        """Jobs that ended by themselves, or at their walltime, before any worker of theirs was connected."""
        ends = {State.COMPLETED, State.FAILED, State.OOM, State.TIMEOUT}
        return {name for name, status in self._statuses.items() if status.state in ends} - self._brought()

    def _hopeless(self, now: float) -> VrecomputeError | None:
        """What the run ends with where waiting for its jobs, or for a submission, has been of no use for too long."""
        return self._standstill.hopeless(self._statuses.values(), bool(self._jobs.scheduler_info["workers"]), now)

    def _give_up_starting(self) -> None:
        """Say how the last job failed, with the end of its log, and ask for no other."""
        self._refusal = Unavailable(
            f"no worker starts: {_HOPELESS} worker jobs in a row ended without one; the last: {self._failed}. "
            f"Mend what its log names in the file of site {self.backend.site.name!r}; `vrecompute site check --probe` "
            "tries each part of it"
        )
        self._wanted = 0

    def _note_failure(self, ended: Sequence[str], barren: set[str]) -> None:
        """Keep how a job failed that brought no worker, with the end of its log."""
        name = next((n for n in ended if n in barren or self._statuses[n].blame in {"code", "memory"}), None)
        if name is not None and self._reconciler.failures:
            job_id = self._jobs.workers[name].job_id
            how = self._statuses[name].reason or f"job {job_id} is {self._statuses[name].state}"
            self._failed = f"{how}. {log_ends(self.backend, job_id)}"

    def _note_death(self, name: str) -> None:
        status = self._statuses[name]
        if status.state is not State.COMPLETED:
            _log.warning("%s", status.reason or f"the job of worker {name} is {status.state}")
        self._ended[name] = status
        asked = self._jobs.workers[name].batch.memory_bytes
        if status.state is State.OOM and (more := SiteLimits(self.backend.site).more_memory(asked)) is not None:
            self.memory_bytes = max(more, self.memory_bytes or 0)
