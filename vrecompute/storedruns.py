"""`StoredRuns`: what a Client does with the runs of its store, made by any process."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from vrecompute.analysis import Analysis
from vrecompute.analysis.analysisfile import restore
from vrecompute.analysis.loading import reload_analysis
from vrecompute.attachedrun import AttachedRun
from vrecompute.batch.contract import Backend
from vrecompute.comparison import Comparison, compare
from vrecompute.errors import DamagedObject, UnknownRun, UsageError
from vrecompute.execution.manifest import find_manifest, is_run_name, read_manifest
from vrecompute.execution.retention import Stocktaking, stocktaking
from vrecompute.execution.runlog import delete_run, run_state
from vrecompute.execution.trust import require_trust
from vrecompute.run import Run
from vrecompute.runlist import RunFacts, list_runs
from vrecompute.scratch import process_scratch
from vrecompute.sharejobs import jobs_of
from vrecompute.signals import Closing
from vrecompute.sites.model import Site
from vrecompute.stores.base import Store

__all__ = ["StoredRuns"]

# A word for the run that was asked for last.
_LAST = "last"


class StoredRuns(Closing):
    """Lists, finds and removes the runs of a store."""

    @property
    @abstractmethod
    def store(self) -> Store:
        """Where runs are kept."""

    @property
    @abstractmethod
    def site(self) -> Site:
        """The site whose runs these are."""

    @abstractmethod
    def _backend_of(self, site: str) -> Backend | None: ...

    @abstractmethod
    def _carry_out(self, run: Run) -> Run: ...

    def runs(self, *, ask: bool = True, labels: Mapping[str, str] | None = None) -> list[RunFacts]:
        """Runs of the store that have all `labels`, oldest first.

        With `ask`, each site is asked once about those that have not ended, if this machine knows it.
        """

        def poll(site: str) -> Any:
            backend = self._backend_of(site) if ask else None
            return None if backend is None else backend.poll

        return list_runs(self.store, poll, labels or {})

    def attach(
        self, run: str, *, trust: bool = False, exact: bool = False, manifest_sha256: str | None = None
    ) -> AttachedRun:
        """A run of the store, made by any process, or the `last` one; UnknownRun where there is none. Starts nothing.

        With `exact`, for programs that chose its name, another run whose name begins or ends so is none.

        What it gave can be read always. Its code runs to resume it and to draw figures: that of another user only with
        `trust`, where its manifest has `manifest_sha256`, which the caller knows from elsewhere, or where the site
        lists that user in `store.trusted_users`; else there is UntrustedRun. A manifest that its permissions let others
        write is one of another user.
        """
        store = self.store
        found = find_manifest(store, run if exact else self._full_name(run))
        manifest = found.manifest

        def analysis() -> Analysis:
            if not trust and found.sha256 != manifest_sha256:
                require_trust(store, found, self.site.store.trusted_users)
            source = restore(store, manifest.source_files, process_scratch() / manifest.run)
            return reload_analysis(manifest.origin, manifest.parameters, source)

        backend = self._backend_of(manifest.site)
        detached = None if backend is None else jobs_of(backend, backend.site, store, manifest).ask_next()
        return AttachedRun(store, manifest, analysis, self._carry_out, detached)

    def compare(self, first: str, second: str) -> Comparison:
        """What differs between two runs of the store that have ended, as `vrecompute runs compare` shows it.

        UnknownRun where there is none of a name, RunError where one has not ended.
        """
        return compare(self.attach(first), self.attach(second))

    def delete(self, *runs: str, exact: bool = False) -> list[str]:
        """Remove runs from the store, and give their names; their parts stay, since other runs may share them.

        UnknownRun, and nothing is removed, where one is not there; RunError where one may yet run. One whose manifest
        is damaged or lost goes too. `exact` is as for `attach`.
        """
        names = [run if exact else self._full_name(run) for run in runs]
        for name in names:
            if not is_run_name(name) or not any(True for _ in self.store.names(f"runs/{name}")):
                read_manifest(self.store, name)
        for name in names:
            try:
                run = self.attach(name, exact=True)
            except (DamagedObject, UnknownRun):
                if run_state(self.store, name) == "running":
                    raise
                delete_run(self.store, name)
            else:
                run.delete()
        return names

    def unneeded(
        self, *, older_than_s: float = 0.0, most_bytes: int | str | None = None, keep: Sequence[str] = ()
    ) -> Stocktaking:
        """What of the store no run needs, as `vrecompute store gc` shows it; its `remove()` removes it."""
        names = [read_manifest(self.store, self._full_name(run)).run for run in keep]
        return stocktaking(self.store, older_than_s=older_than_s, most_bytes=most_bytes, keep=names)

    def _full_name(self, run: str) -> str:
        """A run's name from its beginning or end, where only one fits, or of the `last` one that was asked for."""
        if not run:  # an unset variable of a script: it would fit every run
            raise UsageError(
                "the name of the run is empty; give a run's name, enough of its beginning or end, or `last`"
            )
        names = self.store.children("runs")
        if run == _LAST:
            dated = [name for name in names if name[:8].isdigit()]  # others are of programs, which chose them
            if not dated:
                raise UnknownRun(f"there is no run in {self.store.url}; name the store or the site of the run")
            return max(dated)
        fitting = [n for n in names if n == run] or [n for n in names if n.startswith(run) or n.endswith(run)]
        if len(fitting) > 1:
            raise UnknownRun(f"{run!r} fits {len(fitting)} runs: {', '.join(sorted(fitting)[:5])}")
        return fitting[0] if fitting else run
