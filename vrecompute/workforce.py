"""`Workforce`: the workers of one Client: started on first use, more with more work, others where they are lost."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from distributed import Client as DaskClient

from vrecompute.analysis.importeffects import done_here
from vrecompute.analysis.leftbehind import leave_session
from vrecompute.batch.contract import Backend, Cluster, JobStatus
from vrecompute.batch.given_dask import GivenDask, check_given
from vrecompute.batch.held_workers import HeldWorkers
from vrecompute.batch.load import load_backend
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.errors import RunError, UntrustedSite, UsageError, VrecomputeError
from vrecompute.execution.explain import threads_that_fit
from vrecompute.execution.worker_control import WorkerControl
from vrecompute.secret_text import holds_secret
from vrecompute.sites.limits import SiteLimits
from vrecompute.sites.load import load_site
from vrecompute.sites.model import Site, local_site
from vrecompute.sites.search import list_site_files
from vrecompute.stores.base import Store

__all__ = ["Wanted", "Workforce", "close_later"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """The workers that `Client(...)` was asked for. Raises UsageError for what no run could use."""

    site: str | Site | None = None
    workers: int | None = None
    threads: int | None = None
    memory_bytes: int | None = None
    dashboard: bool = False
    dask: Any = None
    trust: bool = False

    def __post_init__(self) -> None:
        for name, number in {
            "workers": self.workers,
            "threads": self.threads,
            "memory_bytes": self.memory_bytes,
        }.items():
            if number is not None and number < 1:
                raise UsageError(f"Client({name}={number}): a run needs at least one; without {name} the site decides")
            if number is not None and self.dask is not None:
                raise UsageError(
                    f"Client(dask=..., {name}=...): the workers of a Dask cluster are as its owner made them"
                )
        if isinstance(self.dask, str) and holds_secret(self.dask):
            raise UsageError(
                "Client(dask=...): the address of the Dask scheduler carries a secret, and Dask asks for none; "
                "leave it out, and give a distributed.Client with security= where the cluster has TLS"
            )
        if self.dask is not None and (self.site is not None or self.dashboard):
            name = "dashboard" if self.site is None else "site"
            raise UsageError(
                f"Client(dask=..., {name}=...): a Dask cluster takes the place of a site; give one of them"
            )

    def __str__(self) -> str:
        if self.dask is not None:
            return f"dask={type(self.dask).__name__}"
        return repr("local" if self.site is None else self.site.name if isinstance(self.site, Site) else self.site)

    def workforce(self) -> Workforce:
        """Their owner; no worker is started. Raises what loading a site raises."""
        if self.dask is not None:
            return Workforce(
                replace(local_site(), name="dask", description="a Dask cluster that was given"), given=self.dask
            )
        if isinstance(self.site, Site):
            site = self.site
        else:
            site = load_site(self.site, trust=self.trust) if self.site else local_site()
        shape = site.workers
        if self.threads is not None:
            shape = replace(shape, threads=self.threads)
        if self.memory_bytes is not None:
            shape = replace(shape, memory=self.memory_bytes * shape.processes)
        return Workforce(replace(site, workers=shape), self.workers, dashboard=self.dashboard)


class Workforce(WorkerControl):
    """Workers on a site, `asked` processes of them, or as many as the site gives for the work there is.

    Or those of a Dask cluster that the user has `given`; see `GivenDask`.
    """

    def __init__(self, site: Site, asked: int | None = None, *, dashboard: bool = False, given: Any = None) -> None:
        self.site = site
        self.asked = asked
        self._dashboard = dashboard
        self._given = given
        leave_session()
        if given is not None:
            self.starting = "the scheduler and the workers of the given Dask cluster are asked for their versions"
            self.anew = "it goes on if the given Dask cluster answers again"
        self._lock = threading.RLock()
        self._secret_files: Mapping[str, bytes] = {}
        self._backend: Backend | None = None
        self._others: dict[str, Backend | None] = {}
        self._cluster: Cluster | None = None
        self._held: HeldWorkers | None = None
        self._wanted = 0
        self._left: DaskClient | None = None
        self._busy: dict[str, int] = {}
        # What its workers have done to libraries, see `vrecompute.analysis.importeffects`.
        self._effects = ""
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether any were started, and not given back since."""
        return self._cluster is not None

    def check_open(self) -> None:
        """UsageError once the Client was closed: what it would start would not be ended."""
        if self._closed:
            raise UsageError("this Client was closed, and its workers have ended; make another with Client()")

    @property
    def backend(self) -> Backend:
        """The driver of the site's batch system."""
        with self._lock:
            if self._backend is None:
                self._backend = load_backend(self.site)
                self._backend.dashboard = self._dashboard
                self._backend.secret_files = self._secret_files
            return self._backend

    def bring(self, secret_files: Mapping[str, bytes]) -> None:
        """What workers need to reach the store and the sources.

        Those that are there and were brought less are begun anew, unless runs are under way.
        """
        with self._lock:
            self._secret_files = secret_files
            if self._backend is not None:
                self._backend.secret_files = secret_files
            if self._cluster is None or self._cluster.bring(secret_files):
                return
            if any(self._busy.values()):
                _LOG.warning(
                    "workers that are there lack a credential of this run; they stay, since a run is under way"
                )
                return
            _LOG.warning("workers are begun anew, since those that are there lack a credential of this run")
            self._cluster.close()
            self._cluster = None

    @property
    def dask(self) -> DaskClient:
        """The plain `distributed.Client`; the first use starts the workers. UsageError once they were ended."""
        with self._lock:
            self.check_open()
            if self._cluster is None:
                self._cluster = self._open()
                self._held = HeldWorkers(self._cluster.client, ours=self._given is None)
                self.patience_s = self._cluster.patience_s
            return self._cluster.client

    def _open(self) -> Cluster:
        if self._given is not None:
            return GivenDask(self._given)
        self.backend.capabilities.require("clusters", self.site.name)
        self._wanted = SiteLimits(self.site).workers(self.asked)
        return self.backend.open_cluster(self._wanted)

    def of_another(self, site: str) -> Backend | None:
        """The driver of another site of this machine, by its name; None where there is none that can be used."""
        with self._lock:
            if site not in self._others:
                self._others[site] = None
                try:
                    if site in {path.stem for path in list_site_files()}:  # a store may name any path
                        self._others[site] = load_backend(load_site(site))
                    elif site == (here := local_site()).name:
                        self._others[site] = load_backend(here)
                except UntrustedSite as error:
                    _LOG.warning("site %r is not asked: %s", site, error)
                except VrecomputeError:
                    pass  # it is as if there were no such file
            return self._others.get(site)

    def check(self) -> None:
        """UsageError or OverBudget where the site's file refuses `dask`, or what was given is no open cluster.

        Nothing is asked or started.
        """
        with self._lock:
            if self._given is not None:
                check_given(self._given)
            elif self._cluster is None:
                self.backend.capabilities.require("clusters", self.site.name)
                self.backend.check_cluster(SiteLimits(self.site).workers(self.asked))

    def job_s(self, walltime_s: int | None = None, *, detached: bool = False) -> int | None:
        """Seconds of each job of a run; None where its workers are in none."""
        in_jobs = detached or (self._given is None and isinstance(self.backend, QueueBackend))
        return SiteLimits(self.site).job_s(walltime_s) if in_jobs else None

    def fit_threads(self, chunk_bytes: int) -> None:
        """Before workers are started: no more threads in each than chunks fit into its memory."""
        with self._lock:
            workers = self.site.workers
            threads = threads_that_fit(workers.threads, workers.memory_per_process, chunk_bytes)
            if self._cluster is None and self._given is None and threads < workers.threads:
                _LOG.warning(
                    "site %s: workers run %d instead of %d threads; chunks of %d bytes would fill their memory",
                    self.site.name, threads, workers.threads, chunk_bytes,
                )  # fmt: skip
                self.site = replace(self.site, workers=replace(workers, threads=threads))
                self._backend = None

    def needed(self, run: str, chunks: int) -> None:
        """More workers for more work, as the site gives them; they go back when no run is at work.

        A number that was asked for stays as it is.
        """
        with self._lock:
            self._busy |= {run: chunks}
            left = sum(self._busy.values())
            wanted = SiteLimits(self.site).grown(left)
            wanted = max(wanted, self._wanted) if left else wanted
            if self.asked is None and self._cluster is not None and wanted != self._wanted:
                self._cluster.scale(wanted)
                self._wanted = wanted

    def deaths(self) -> Mapping[str, JobStatus]:
        """How the jobs behind lost workers ended."""
        with self._lock:
            return {} if self._cluster is None else self._cluster.deaths()

    def lost(self) -> str:
        """Why the workers are gone for good, empty while they are there."""
        with self._lock:
            return "" if self._cluster is None else self._cluster.lost()

    def refusal(self) -> VrecomputeError | None:
        """What a run ends with where others would be lost too."""
        with self._lock:
            return None if self._cluster is None else self._cluster.refusal()

    def stop_waiting(self) -> None:
        """A thread that waits for workers to be started gets Unavailable."""
        if self._cluster is None and self._backend is not None:  # that thread has the lock
            self._backend.stop_waiting()

    def waiting(self) -> str:
        """Why there is no worker yet, empty where unknown."""
        with self._lock:
            return "" if self._cluster is None else self._cluster.waiting()

    def held(self) -> str:
        """Which workers of a given cluster a run that has ended holds, and what to do; others are begun anew."""
        held = self._held
        return "" if held is None else held.said()

    def given_up(self, run: str) -> None:
        """Have workers that go on with a task of this run begun anew, in a few seconds."""
        with self._lock:
            if self._cluster is not None and self._held is not None:
                self._held.watch(run, alone=not any(self._busy.values()))

    def left_out(self) -> list[str]:
        """Nodes that jobs are kept off."""
        with self._lock:
            return [] if self._cluster is None else self._cluster.left_out()

    def reaches(self, store: Store, known: str) -> bool:
        """Whether workers write to the store themselves: as the site says, or as those of a given cluster show."""
        with self._lock:
            cluster = self._cluster
        return cluster.reaches(store, known) if isinstance(cluster, GivenDask) else self.site.store.workers_reach

    def leave(self, dask: DaskClient) -> None:
        """Without its scheduler a cluster is of no use; the next use of `dask` starts another."""
        with self._lock:
            if dask is self._left:
                return
            if self._cluster is None:
                raise RunError("the client was closed")
            self._left = dask
            if self._cluster.client is dask:  # and not the next one already, started by another run
                self._cluster.close()
                self._cluster = None

    def renew(self, run: str, effects: str = "") -> None:
        """Before a run: give back workers that are gone for good, begin those anew that changed libraries for another.

        `effects` is of its Packed. Workers of a run that is under way stay as they are, and refuse this one. So
        do those of a cluster that was given: UsageError.
        """
        with self._lock:
            if self._cluster is not None and self._cluster.lost():
                self._cluster.close()
                self._cluster = None
            if self._held is not None:
                self._held.forget(run)
            if self._given is not None:
                _ = self.dask
            if isinstance(self._cluster, GivenDask):
                self._cluster.check_effects(effects, done_here)
                return
            if self._cluster is None:
                self._effects = ""
            if self._effects in ("", effects):
                self._effects = effects
            elif self._cluster is not None and not any(self._busy.values()):
                self._cluster.client.restart(wait_for_workers=False)
                self._effects = effects

    def close(self) -> None:
        """End the workers, if any were started."""
        self.stop_waiting()
        with self._lock:
            self._closed = True
            if self._cluster is not None:
                self._cluster.close()
                self._cluster = None
            for backend in (self._backend, *self._others.values()):
                if backend is not None:
                    backend.close()


def close_later(workforce: Workforce, owner: int) -> None:
    """End the workers of a Client that is gone; on a thread, since it may go on Dask's own."""
    if workforce.is_open and os.getpid() == owner:
        threading.Thread(target=workforce.close, name="vrecompute-close", daemon=True).start()
