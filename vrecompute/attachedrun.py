"""`AttachedRun`: a run found in a store, made by any process, which may be finished here."""

from __future__ import annotations

from collections.abc import Callable

from vrecompute.analysis import Analysis
from vrecompute.batch.contract import JobId
from vrecompute.detach import Detached
from vrecompute.errors import UsageError, VrecomputeError
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.outcome import lost
from vrecompute.execution.runlog import outcomes, withdraw_cancel
from vrecompute.run import Run
from vrecompute.stores.base import Store

__all__ = ["AttachedRun"]


class AttachedRun(Run):
    """A run found in a store; `resume` finishes it with a Client's workers if no other client does."""

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        analysis: Callable[[], Analysis],
        carry_out: Callable[[Run], Run],
        detached: Detached | None = None,
    ) -> None:
        super().__init__(store, manifest, analysis, detached)
        self._resume = carry_out

    def resume(self) -> Run:
        """Finish the run in this process, from what is durable; a run that has ended complete is left as it is.

        Unless the store has lost what it ended with, which is made again.
        Of one of shares, what its jobs left is merged here, or what lacks is submitted again; wait for it then.
        """
        if (state := self.status) in {"complete", "test"} and not self._lost():
            return self
        if state in {"running", "queued", "submitted"}:
            raise VrecomputeError(f"run {self.id} is being carried out by another process; wait for it, or cancel it")
        self.analysis()  # one that cannot be had, or is not trusted, is an error before anything changes
        withdraw_cancel(self.store, self.id)
        if self.manifest.shares and self._detached is not None and not outcomes(self.store, self.id)[0]:
            self._detached.take_up(self.analysis)
            return self
        return self._resume(self)

    def _lost(self) -> bool:
        """Whether the store has not, or damaged, what the run ended with."""
        outcome = self._outcome()
        return outcome is not None and bool(lost(self.store, outcome))

    def hand_over(self, workers: int | None = None, walltime_s: int | None = None) -> list[JobId]:
        """Have jobs of its site carry the run out, and give their ids: those that it has, else it is submitted.

        For a client that takes over from one that may have been killed at any moment. UsageError for a run of no site
        that this machine knows, UntrustedRun as `attach` says; else as `Client.submit`.
        """
        if self._detached is None:
            raise UsageError(f"run {self.id} is one of site {self.manifest.site!r}, which this machine does not know")
        if ids := self._detached.settle():
            return ids
        self._detached.submit(workers, walltime_s, self.analysis())
        return self._detached.ids()
