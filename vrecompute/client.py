"""`Client`: the door. `Client()` is this machine; `Client("site")` is a site described in YAML."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from distributed import Client as DaskClient

from vrecompute.analysis import Analysis
from vrecompute.analysis.loading import check_needs
from vrecompute.analysis.mapping import MapAnalysis
from vrecompute.batch.contract import Backend, SubmitError
from vrecompute.datasets.columns import OptionalColumn
from vrecompute.detach import Detached
from vrecompute.errors import BadInput, Unavailable, UsageError
from vrecompute.execution.byvalue import pack_for
from vrecompute.execution.credentials import job_secrets, warn_of_short_lived
from vrecompute.execution.explain import Explanation, explain
from vrecompute.execution.manifest import Manifest, Settings
from vrecompute.execution.prepare import Request, prepare
from vrecompute.filecolumns import FileColumns, file_columns
from vrecompute.run import Run
from vrecompute.runlist import RunFacts
from vrecompute.sharejobs import jobs_of, number_of_shares
from vrecompute.sites.access import Access, open_access
from vrecompute.sites.limits import SiteLimits
from vrecompute.sites.model import Site
from vrecompute.storedruns import StoredRuns
from vrecompute.stores.base import Store
from vrecompute.stores.guarded import guarded
from vrecompute.stores.remote import AccessStore
from vrecompute.stores.site_store import site_store
from vrecompute.units import bytes_option
from vrecompute.whereabouts import tell_refusal
from vrecompute.workforce import Wanted, Workforce, close_later

__all__ = ["Client", "RunFacts"]


class Client(StoredRuns):
    """Takes an analysis and a dataset to where there are cores, and brings back a true result.

    `site` is None for this machine, or the name of a site, or the path of its YAML, or a Site; with `trust`, also a
    file found in the working directory that decides what runs as you. `store` is a folder, the site's or the user's by
    default. `workers` is how many worker processes to want, `threads` and `memory_bytes` (also as "2GiB") the shape of
    each on this machine. Nothing is started before it is needed. `dashboard` opens Dask's, which other users can read.

    Instead of a site, `dask` is a Dask cluster that you have (`LocalCluster`, `dask_jobqueue.SLURMCluster`, a
    gateway's), a `distributed.Client` of one, or the address of its scheduler. It stays yours: workers come and go
    as you have it. Walltimes, causes of death, TLS and detached runs need a site.

    Workers end with `close`, with the process, and with a Client that nothing refers to any more: a notebook cell
    that makes one may be run again. A run that is under way keeps its Client. In a `with`, SIGTERM and SIGHUP end the
    block as Ctrl-C does; elsewhere they end the process at once, and its jobs some minutes after they have begun.
    """

    def __init__(
        self,
        site: str | Site | None = None,
        *,
        store: str | Path | Store | None = None,
        workers: int | None = None,
        threads: int | None = None,
        memory_bytes: int | str | None = None,
        dashboard: bool = False,
        dask: Any = None,
        trust: bool = False,
    ) -> None:
        memory = bytes_option("memory_bytes", memory_bytes)
        self._wanted = Wanted(site, workers, threads, memory, dashboard, dask, trust)
        self._store_given = store if store is None or isinstance(store, (str, Path)) else guarded(store)
        self._folder = ""
        with contextlib.suppress(OSError):  # one that was removed
            self._folder = os.getcwd()  # an analysis may go to another
        self._owner = os.getpid()
        self._lock = threading.RLock()
        self._workforce: Workforce | None = None
        self._is_closed = False
        self._remote_store: Store | None = None

    def __repr__(self) -> str:
        # What was given and what is known: a repr reads no file, opens no connection and asks no site.
        started = self._workforce is not None and self._workforce.is_open
        return f"Client({self._wanted}, {'workers started' if started else 'no workers yet'})"

    @property
    def site(self) -> Site:
        """The site, with what the constructor was given beside it."""
        return self._site_workers.site

    @property
    def backend(self) -> Backend:
        """The driver of the site's batch system."""
        return self._site_workers.backend

    @property
    def _site_workers(self) -> Workforce:
        if os.getpid() != self._owner:
            raise UsageError(
                "this process is a fork of the one that made this Client, and cannot use its connections: make a "
                "Client() here, or start processes with multiprocessing's method 'spawn'"
            )
        with self._lock:
            if self._workforce is None:
                self._workforce = self._wanted.workforce()
                if self._is_closed:
                    self._workforce.close()
                # Not at exit: then each cluster ends by itself, and no thread can be started.
                weakref.finalize(self, close_later, self._workforce, self._owner).atexit = False
            return self._workforce

    @property
    def _access(self) -> Access:
        """The way to the site: the driver's own, so that both share one connection."""
        return getattr(self.backend, "access", None) or open_access(self.site)

    @property
    def store(self) -> Store:
        """Where runs are kept: behind the site's own way in, where that is not this machine."""
        given = self._store_given
        if given is not None and not isinstance(given, (str, Path)):
            return given
        if self._remote_store is None:
            opened = site_store(self.site, lambda: self._access, given, self._folder)
            if not isinstance(opened, AccessStore):  # an address of this machine is read anew
                return opened
            self._remote_store = opened
        return self._remote_store

    @property
    def dask(self) -> DaskClient:
        """The plain `distributed.Client`; the first use starts the site's workers."""
        self._site_workers.bring(job_secrets(self.site, self.store))
        return self._site_workers.dask

    def close(self) -> None:
        """End the workers, if any were started; from then on runs can be looked at, and none be started here.

        Runs that were under way can be attached to and resumed, with another Client.
        """
        if os.getpid() == self._owner:
            self._is_closed = True
            if self._workforce is not None:
                self._workforce.close()

    def run(
        self,
        analysis: str | type[Analysis] | Analysis,
        dataset: Any,
        *,
        params: Mapping[str, Any] | None = None,
        tree: str | None = None,
        on_bad: Literal["fail", "skip"] | None = None,
        max_bad: float | None = None,
        reuse: bool | None = None,
        allow_duplicates: bool | None = None,
        chunk_bytes: int | str | None = None,
        task_s: float | None = None,
        task_chunks: int | None = None,
        max_events: int | None = None,
        max_files: int | None = None,
        labels: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> Run:
        """Carry out an analysis on a dataset; returns at once, a thread of this process does the work.

        `parameters` are the analysis' own; those whose names are options of a run go into `params`. `Settings` says
        what the options mean and their defaults, which None stands for; `labels` name the run for you, and change no
        number. Raises UsageError, ParameterError or DatasetError before anything is started.
        """
        self._site_workers.check_open()
        self._site_workers.check()
        given = Settings.of(
            on_bad, max_bad, reuse, allow_duplicates, chunk_bytes, task_s, task_chunks, max_events, max_files
        )
        request = Request(analysis, dataset, {**parameters, **(params or {})}, tree, given, labels or {})
        made, manifest = self._prepare(request)
        check_needs(made)
        warn_of_short_lived(self.store, manifest, self._site_workers.job_s())
        manifest.write(self.store)
        return self._carry_out(Run(self.store, manifest, lambda: made))

    def submit(
        self,
        analysis: str | type[Analysis] | Analysis,
        dataset: Any,
        *,
        params: Mapping[str, Any] | None = None,
        walltime_s: int | None = None,
        shares: int | None = None,
        tree: str | None = None,
        on_bad: Literal["fail", "skip"] | None = None,
        max_bad: float | None = None,
        reuse: bool | None = None,
        allow_duplicates: bool | None = None,
        chunk_bytes: int | str | None = None,
        task_s: float | None = None,
        task_chunks: int | None = None,
        max_events: int | None = None,
        max_files: int | None = None,
        labels: Mapping[str, str] | None = None,
        name: str | None = None,
        written: Callable[[Manifest], None] = lambda manifest: None,
        **parameters: Any,
    ) -> Run:
        """Hand a run over to the site and return: one job holds workers and Runner, and this process may end.

        With `shares`, that many independent jobs compute a range of its chunks each. By default so does a site whose
        jobs have one machine, for more workers than that holds, or than a known amount of work keeps busy.
        A `name` is for programs that have to find the run whatever becomes of them: RunError where there is one of it;
        `written` is called with its manifest once the store has that, before anything is submitted.
        As `run`, and raises SubmitError where the batch system refuses, UsageError or OverBudget for too much; then
        nothing of the run is left. The analysis must be installed, or a source file.
        """
        if self._wanted.dask is not None:
            raise UsageError("a run is submitted to a site, and Client(dask=...) has none; use run(), or Client(SITE)")
        given = Settings.of(
            on_bad, max_bad, reuse, allow_duplicates, chunk_bytes, task_s, task_chunks, max_events, max_files
        )
        request = Request(analysis, dataset, {**parameters, **(params or {})}, tree, given, labels or {}, name)
        made, manifest = self._prepare(request)
        detached = self._detached(manifest, made, shares)
        warn_of_short_lived(self.store, detached.manifest, self._site_workers.job_s(walltime_s, detached=True))
        detached.manifest.write(self.store)
        written(detached.manifest)
        run = Run(self.store, detached.manifest, lambda: made, detached)
        try:
            detached.submit(self._wanted.workers, walltime_s, made)
        except (SubmitError, Unavailable, UsageError, BadInput) as refused:
            if isinstance(refused, Unavailable) or getattr(refused, "transient", False):
                tell_refusal(self.store, detached.manifest, refused)  # it may have been taken all the same
            else:
                run.delete()
            raise
        return run

    def map(
        self,
        function: Callable[[Any], Any],
        dataset: Any,
        *,
        columns: Sequence[str | OptionalColumn] | None = None,
        combine: Literal["concat", "sum"] = "concat",
        takes: Literal["awkward", "columns"] = "awkward",
        momenta: Sequence[str] = (),
        reads_unit: bool = False,
        reads_facts: Sequence[str] = (),
        **options: Any,
    ) -> Run:
        """Run a function of the events of a chunk over a dataset; see `vrecompute.analysis.mapping.MapAnalysis`."""
        made = MapAnalysis(function, columns, combine, takes, momenta, reads_unit=reads_unit, reads_facts=reads_facts)
        return self.run(made, dataset, **options)

    def explain(
        self,
        analysis: str | type[Analysis] | Analysis,
        dataset: Any,
        *,
        params: Mapping[str, Any] | None = None,
        detach: bool = False,
        walltime_s: int | None = None,
        shares: int | None = None,
        tree: str | None = None,
        on_bad: Literal["fail", "skip"] | None = None,
        max_bad: float | None = None,
        reuse: bool | None = None,
        allow_duplicates: bool | None = None,
        chunk_bytes: int | str | None = None,
        task_s: float | None = None,
        task_chunks: int | None = None,
        max_events: int | None = None,
        max_files: int | None = None,
        **parameters: Any,
    ) -> Explanation:
        """What a run would read and cost, from what is known without opening a file; starts no job.

        Behind ssh the login node is asked which files there are, and whether they are those that a run has opened.
        Its job scripts are those of `run`, or with `detach` that of `submit` with this `walltime_s` and `shares`.
        Raises UsageError or OverBudget where the site's file refuses such a run, as that run would.
        """
        given = Settings.of(
            on_bad, max_bad, reuse, allow_duplicates, chunk_bytes, task_s, task_chunks, max_events, max_files
        )
        request = Request(analysis, dataset, {**parameters, **(params or {})}, tree, given)
        made, manifest = self._prepare(request, keep=False)
        if detach:
            detached = self._detached(manifest, made, shares)
            manifest, script = detached.manifest, detached.script(self._wanted.workers, walltime_s)
        else:
            self._site_workers.check()
            self._site_workers.bring(job_secrets(self.site, self.store, manifest.dataset, read=False))
            script = self.backend.describe(SiteLimits(self.site).workers(self._wanted.workers))
        return self._explained(manifest, made, script, self._site_workers.job_s(walltime_s, detached=detach))

    def _explained(
        self, manifest: Manifest, analysis: Analysis, script: str = "", job_s: int | None = None
    ) -> Explanation:
        access = None if self.site.access.kind == "local" else self._access
        return explain(self.store, manifest, analysis, self.site, self._wanted.workers, script, access, job_s)

    def _detached(self, manifest: Manifest, analysis: Analysis, shares: int | None) -> Detached:
        """The jobs of a run that is handed over, in as many shares as are wanted."""
        workers = self._wanted.workers
        count = number_of_shares(self.backend, shares, workers, lambda: self._explained(manifest, analysis))
        return jobs_of(self.backend, self.site, self.store, replace(manifest, shares=count))

    def columns(self, dataset: Any, *, tree: str | None = None, match: str = "*") -> FileColumns:
        """The columns of the first file of a dataset, by name, type and size; with `match`, those that fit a pattern.

        The file is opened on this machine: UnreadableFile where it is on another. Raises as `run` for the dataset.
        """
        return file_columns(dataset, tree, match)

    def _backend_of(self, site: str) -> Backend | None:
        """The driver of the site that a run was submitted to; None where this machine has no site file of the name."""
        return self.backend if site == self.site.name else self._site_workers.of_another(site)

    def _carry_out(self, run: Run) -> Run:
        made: list[Any] = []
        # Now, not when workers are there: a notebook goes on, and may change what its analysis reaches.
        packed = pack_for(run.manifest, run.analysis())

        def make_runner(notice: Any) -> Any:
            from vrecompute.execution.runner import Runner

            started = time.monotonic()
            site_workers = self._site_workers
            if made:
                site_workers.leave(made[-1].dask)
            site_workers.renew(run.id, packed.effects)
            site_workers.fit_threads(run.manifest.settings.chunk_bytes)
            site_workers.bring(job_secrets(site_workers.site, run.store, run.manifest.dataset))
            runner = Runner(
                site_workers.dask,
                run.store,
                run.manifest,
                run.analysis(),
                notice,
                site_workers,
                packed,
                workers_reach=site_workers.reaches(run.store, run.manifest.object_name),
                signs=site_workers.site.stage.presign,
            )
            runner.tally.add_time("startup", time.monotonic() - started)
            made.append(runner)
            return runner

        return run.carry_out(make_runner, self._site_workers)

    def _prepare(self, request: Request, *, keep: bool = True) -> tuple[Analysis, Manifest]:
        _ = self.backend  # a driver that is not installed is an error before anything is written
        access = None if self.site.access.kind == "local" else self._access
        return prepare(request, self.store, self.site.name, access, keep=keep)
