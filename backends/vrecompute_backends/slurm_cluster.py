"""Live mode: Dask workers in Slurm jobs, kept at the wanted number until the cluster is closed.

dask-jobqueue brings the cluster; its `Job` is subclassed so that script, submission and end are the
Backend's. So there is one renderer (what `explain` prints is what runs), one poll and one loop that
reconciles: dask-jobqueue never asks the batch system anything, and dask's own replacing is off.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from distributed import Client as DaskClient
from distributed.core import Status
from distributed.deploy.spec import ProcessInterface, SpecCluster
from distributed.security import Security

from vrecompute.access import Access
from vrecompute.backend import Cluster, Job, JobId, JobStatus, State, SubmitError
from vrecompute.errors import Unavailable, UsageError
from vrecompute.site import PortRange, Site
from vrecompute_backends.jobqueue import JobQueueCluster, JobQueueJob
from vrecompute_backends.reconcile import Reconciler
from vrecompute_backends.slurm import SlurmBackend
from vrecompute_backends.slurm_scheduler import free_port
from vrecompute_backends.slurm_script import TLS_FILE, environment_lines
from vrecompute_backends.slurm_worker import SETTINGS, WorkerShape, worker_command

__all__ = ["SlurmCluster", "open_slurm_cluster", "worker_job"]

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")
_HOUR_S = 3600
# What a poll interval is at least, whatever the site allows.
_LEAST_POLL_S = 1.0
_START_S = 60.0


def open_slurm_cluster(backend: SlurmBackend, workers: int) -> SlurmCluster:
    """Start a scheduler where the site says and ask for workers; SubmitError where the first job is refused."""
    site = backend.site
    if site.scheduler_runs not in {"client", "login"}:
        raise UsageError(
            f"site {site.name!r}: a live cluster needs scheduler_runs: client or login, not {site.scheduler_runs}; "
            "submit detached instead"
        )
    cluster = SlurmCluster(backend)
    try:
        cluster.scale(workers)
        cluster.reconcile()
        cluster.watch()
    except BaseException:
        cluster.close()
        raise
    return cluster


def worker_job(site: Site, address: str, name: str, secret_files: Mapping[str, bytes]) -> Job:
    """The job that holds one node's workers."""
    workers, network = site.workers, site.network
    shape = WorkerShape(
        workers.processes, workers.threads, workers.memory_per_process, network.interface, network.worker_ports
    )
    walltime = workers.walltime or _HOUR_S
    return Job(
        name=name,
        command=tuple(worker_command(shape, address, name, walltime)),
        cores=workers.cores,
        memory_bytes=workers.memory,
        walltime_s=walltime,
        environment=SETTINGS,
        secret_files=secret_files,
    )


class _Jobs(JobQueueJob):
    """One job of a cluster. Everything it does is asked of the Backend; dask-jobqueue's own settings are not read."""

    config_name = "slurm"

    def __init__(self, scheduler: str, name: str, owner: SlurmCluster, **_: Any) -> None:
        ProcessInterface.__init__(self, scheduler=scheduler, name=name)
        self.scheduler, self.name, self.owner = scheduler, name, owner
        self.worker_processes = owner.backend.site.workers.processes
        self.job_id: JobId | None = None
        self.refusal: Exception | None = None

    def job_script(self) -> str:
        """The very script that is submitted."""
        return self.owner.backend.script(self._job())

    async def start(self) -> None:
        """Submit; a refusal is kept for the reconciler, which decides whether to try again."""
        try:
            self.job_id = await asyncio.to_thread(self.owner.ask, self.owner.backend.submit, self._job())
        except (SubmitError, Unavailable) as error:
            self.refusal = error
        await ProcessInterface.start(self)

    async def close(self) -> None:
        """Cancel the job, if it may still be there."""
        if self.job_id is not None and self.status is not Status.closed:
            with contextlib.suppress(Unavailable):
                await asyncio.to_thread(self.owner.ask, self.owner.backend.cancel, [self.job_id])
                await asyncio.to_thread(self.owner.ask, self.owner.backend.sweep, [self.job_id])
        await ProcessInterface.close(self)

    def _job(self) -> Job:
        return worker_job(self.owner.backend.site, self.scheduler, self.name, self.owner.secret_files)


class _JobQueue(JobQueueCluster):
    """dask-jobqueue's cluster, with keys delivered by the Backend and no replacing of its own."""

    job_cls = _Jobs

    def __init__(self, **given: Any) -> None:
        self.names: set[str] = set()  # of every worker there ever was
        super().__init__(**given)

    def _get_worker_security(self, security: Security | None) -> None:
        """Workers find their key among their job's secret files; nothing is written to a working directory."""

    def _update_worker_status(self, op: str, msg: Any) -> None:
        if op == "add":
            self.names |= {str(facts["name"]) for facts in msg["workers"].values()}
        super(SpecCluster, self)._update_worker_status(op, msg)


class _Remote(ProcessInterface):  # type: ignore[misc]  # distributed is untyped
    """A scheduler on the login node, reached by a tunnel; `address` is for workers, `external_address` for us."""

    def __init__(self, access: Access, site: Site, pem: str | None, **_: Any) -> None:
        super().__init__()
        self.access, self.site, self.pem = access, site, pem
        self._open = contextlib.ExitStack()

    async def start(self) -> None:
        """Start it and open the tunnel."""
        await asyncio.to_thread(self._start)
        await super().start()

    async def close(self) -> None:
        """End both."""
        await asyncio.to_thread(self._open.close)
        await super().close()

    def _start(self) -> None:
        lines = [*environment_lines(self.site, SETTINGS), "exec python -m vrecompute_backends.slurm_scheduler"]
        process = self.access.start(["bash", "-l", "-c", "\n".join(lines)])
        if process.stdin is None or process.stdout is None:
            raise Unavailable(f"{self.access}: no pipes to a scheduler")
        self._open.callback(process.wait)
        self._open.callback(process.stdin.close)
        ports, network = self.site.network.scheduler_ports, self.site.network
        wanted = {"interface": network.interface, "ports": ports and [ports.first, ports.last], "tls": self.pem}
        process.stdin.write(json.dumps(wanted).encode() + b"\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise Unavailable(f"{self.access}: no Dask scheduler starts there; check environment of {self.site.name!r}")
        self.address = json.loads(answer)["address"]
        scheme, _, place = self.address.partition("://")
        host, _, port = place.rpartition(":")
        here = self._open.enter_context(self.access.forward(host, int(port)))
        self.external_address = f"{scheme}://{here[0]}:{here[1]}"


class SlurmCluster(Cluster):
    """Wanted workers on one side, jobs on the other, and a thread that closes the difference."""

    def __init__(self, backend: SlurmBackend) -> None:
        self.backend = backend
        self.secret_files: dict[str, bytes] = {}
        site = backend.site
        self._wanted = 0
        self._statuses: dict[str, JobStatus] = {}
        self._ended: dict[str, JobStatus] = {}  # by name of a job
        self._reconciler = Reconciler(site.limits.max_jobs)
        self._asking = threading.Lock()
        self._deciding = threading.Lock()
        self._wake, self._over = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        security = Security.temporary() if site.network.tls else None
        if security is not None:
            keys = security.get_tls_config_for_role("worker")
            self.secret_files = {TLS_FILE: (keys["cert"] + keys["key"]).encode()}
        self._jobs = self._start(site, security)
        try:
            self._client = DaskClient(self._jobs, set_as_default=False, timeout=_START_S)
        except BaseException:
            self._jobs.close(timeout=_START_S)
            raise

    @property
    def client(self) -> DaskClient:
        """The plain `distributed.Client`, connected."""
        return self._client

    def scale(self, workers: int) -> None:
        """Want that many worker processes: as many jobs as hold them, up to `limits.max_jobs`."""
        self._wanted = -(-workers // self.backend.site.workers.processes)
        self._wake.set()

    def deaths(self) -> Mapping[str, JobStatus]:
        """How the jobs behind lost workers ended, by worker name: NAME or NAME-INDEX in the job NAME."""
        found = {}
        for worker in list(self._jobs.names):
            status = self._ended.get(worker) or self._ended.get(worker.rpartition("-")[0])
            if status is not None:
                found[worker] = status
        return found

    def job_ids(self) -> list[JobId]:
        """The jobs that are wanted and not known to have ended."""
        return [job.job_id for job in list(self._jobs.workers.values()) if job.job_id is not None]

    def close(self) -> None:
        """End jobs, scheduler and the thread."""
        if self._over.is_set():
            return
        self._over.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        ids = self.job_ids()
        with contextlib.suppress(Exception):
            self._client.close(timeout=5)
        try:
            with contextlib.suppress(Unavailable):
                self.ask(self.backend.cancel, ids)  # all by one command, before each is closed alone
                self.ask(self.backend.sweep, ids)
            for job in self._jobs.workers.values():
                job.job_id = None
        finally:
            self._jobs.close(timeout=30)

    def watch(self) -> None:
        """Reconcile on a thread from now on."""
        self._thread = threading.Thread(target=self._watch, name="vrecompute-slurm", daemon=True)
        self._thread.start()

    def ask(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call the Backend, one call at a time."""
        with self._asking:
            return function(*args, **kwargs)

    def reconcile(self) -> None:
        """Look once, and do what the difference between wanted and observed asks for."""
        with self._deciding:
            self._observe()
            now = time.monotonic()
            actions = self._reconciler.decide(self._wanted, self._statuses, now)
            for name in actions.forget:
                self._note_death(name)
            self._jobs.sync(self._apply, actions.forget, actions.cancel, actions.submit)
            refusals = [job.refusal for job in self._jobs.workers.values() if job.refusal is not None]
            if refusals:
                self._reconciler.refused(now)
                refused = tuple(name for name, job in self._jobs.workers.items() if job.refusal is not None)
                self._jobs.sync(self._apply, refused, (), 0)
                if not getattr(refusals[0], "transient", True) or self._thread is None:
                    raise refusals[0]
                _log.warning("%s", refusals[0])

    def _start(self, site: Site, security: Security | None) -> JobQueueCluster:
        options: dict[str, Any] = {"dashboard_address": "127.0.0.1:0"}
        scheduler: dict[str, Any] = {}
        if site.access.kind == "local":
            ports: PortRange | None = site.network.scheduler_ports
            options["port"] = free_port(ports.first, ports.last) if ports else 0
        else:
            pem = self.secret_files[TLS_FILE].decode() if security is not None else None
            scheduler["scheduler_cls"] = _Remote
            options |= {"access": self.backend.access, "site": site, "pem": pem}
        return _JobQueue(
            owner=self,
            name=f"vre-{secrets.token_hex(4)}",
            security=security,
            protocol="tcp://" if security is None else "tls://",
            interface=site.network.interface,
            scheduler_options=options,
            config_name="slurm",
            **scheduler,
        )

    def _watch(self) -> None:
        interval = max(_LEAST_POLL_S, self.backend.site.limits.min_poll)
        while not self._over.is_set():
            self._wake.wait(interval)
            self._wake.clear()
            if self._over.is_set():
                return
            try:
                self.reconcile()
            except SubmitError as error:
                _log.error("%s; no more workers are asked for", error)
                self._wanted = len(self._jobs.workers)
            except Exception:
                # the cluster goes on with what it has; the next look may do better
                _log.exception("looking after the jobs of %s failed", self._jobs.name)

    def _observe(self) -> None:
        jobs = dict(self._jobs.workers)
        ids = {name: job.job_id for name, job in jobs.items() if job.job_id is not None}
        seen = self.ask(self.backend.poll, list(ids.values())) if ids else {}
        self._statuses = {name: seen.get(i, JobStatus(State.UNKNOWN)) for name, i in ids.items()}

    def _note_death(self, name: str) -> None:
        status = self._statuses[name]
        if status.state is not State.COMPLETED:
            _log.warning("%s", status.reason or f"job of {name} ended: {status.state}")
        self._ended[name] = status

    async def _apply(self, forget: tuple[str, ...], cancel: tuple[str, ...], submit: int) -> None:
        jobs = self._jobs
        for name in forget:
            job = jobs.workers.pop(name, None)
            jobs.worker_spec.pop(name, None)
            if job is not None:
                job.job_id = None
                await job.close()
        for name in cancel:
            jobs.worker_spec.pop(name, None)
        for _ in range(submit):
            jobs.worker_spec.update(jobs.new_worker_spec())
            jobs._i += 1  # a name is never used twice: it names the folder of the job's secrets
        await jobs._correct_state()
