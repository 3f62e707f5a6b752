"""`Run`: one execution of an analysis on a dataset, wherever its Runner lives; the same class live or detached."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from vrecompute.analysis import Analysis
from vrecompute.batch.contract import JobStatus, SubmitError
from vrecompute.detach import Detached, submissions
from vrecompute.errors import (
    ClusterLost,
    EndUnknown,
    Incomplete,
    Interrupted,
    RunError,
    Unavailable,
    UsageError,
)
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.outcome import Outcome
from vrecompute.execution.progress import Progress
from vrecompute.execution.runlog import (
    REFUSALS,
    RunLog,
    cancel_requested,
    delete_run,
    outcomes,
    request_cancel,
    run_state,
)
from vrecompute.rundisplay import html_of_run, show, shown
from vrecompute.runoutputs import RunOutputs
from vrecompute.stores.base import Store
from vrecompute.whereabouts import (
    Whereabouts,
    cancelled_early,
    heard,
    refusal_word,
    state_by_job,
    tell_refusal,
    unknown_end,
    whereabouts,
    without_outcome,
)

if TYPE_CHECKING:
    from vrecompute.execution.runner import Runner
    from vrecompute.execution.worker_control import WorkerControl

__all__ = ["Run"]

_log = logging.getLogger(__name__)
_POLL_S = 1.0
# So many Runners in a row may lose their cluster before they get anything done.
_IDLE_RUNNERS = 2
_LIVE, _UNSAID = {"running", "queued", "unknown", "submitted"}, {"interrupted", "cancelled", "unknown"}
# How long a site may say nothing of a run that a client waits for.
_SILENT_S = 3600.0
# How long a job must say that waiting is of no use: a partition or a node may be away for a moment.
_NEVER_S = 30.0


class Run(RunOutputs):
    """A run in a store. One that this process carries out has a thread; any other is followed through the store."""

    def __init__(
        self, store: Store, manifest: Manifest, analysis: Callable[[], Analysis], detached: Detached | None = None
    ) -> None:
        self.store = store
        self.manifest = manifest
        self._detached = detached
        self._make_analysis = analysis
        self._thread: threading.Thread | None = None
        self._owner = os.getpid()
        # Not the thread's own word: before Python 3.13 one whose join was interrupted counts as ended.
        self._over = threading.Event()
        self._runner: Runner | None = None
        self._control: WorkerControl | None = None
        self._cancelled = False
        self._progress = Progress()
        self._error: BaseException | None = None
        # How this process' Runner ended, for when the store could not be told.
        self._told: Outcome | None = None
        # What the latest look at its state gave: a repr looks at nothing.
        self._known = "state not asked yet"
        self._heard_at = self._may_start = time.monotonic()

    def __repr__(self) -> str:
        known = "running" if self._is_here and not self._over.is_set() else self._known
        return f"Run({self.id!r}, {known}, {self.manifest.analysis} on {self.manifest.dataset.name})"

    def _repr_html_(self) -> str:
        """How far it is, or what was done and what is missing."""
        outcome = self._outcome()
        return html_of_run(self, None if outcome is None else outcome.summary)

    def _ipython_display_(self) -> None:
        show(self)

    def analysis(self) -> Analysis:
        """The run's analysis; UsageError where its code is gone, UntrustedRun where another user stored it."""
        return self._make_analysis()

    @property
    def _is_here(self) -> bool:
        """Whether a thread of this process carries it out: a fork of the process has no such thread."""
        return self._thread is not None and os.getpid() == self._owner

    @property
    def id(self) -> str:
        """The run's name in its store: what `client.attach` and `vrecompute runs` take."""
        return self.manifest.run

    @property
    def status(self) -> str:
        """`queued`, `running`, `interrupted`, `complete`, `test`, `partial`, `failed`, `cancelled`, `refused`, or
        `over budget`; `unknown` while its site is silent, `submitted` where this machine does not know its site.

        `cancelled` by Ctrl-C, by `cancel`, or in the batch system; it may be taken up like an interrupted one.

        `unknown` is also a run whose job ended as Runners end, where a store that lags does not show yet how.
        """
        state = self._state()
        self._known = f"{state} at {datetime.now().astimezone():%H:%M:%S}"
        return state

    def _state(self) -> str:
        if self._is_here and not self._over.is_set():
            return "running"
        if self._is_here and (outcome := self._outcome()) is not None:
            return outcome.summary.status
        if self._error is not None:
            return REFUSALS.get(refusal_word(self._error), "interrupted")
        state = run_state(self.store, self.id, self._job_is_over)
        if state == "interrupted":
            state = self._site_says()
        # A Runner that ended while its site was asked has said how by now.
        said = run_state(self.store, self.id, self._job_is_over) if state in _UNSAID else state
        return state if said == "interrupted" else said

    def where(self) -> Whereabouts:
        """Its state now, its job, since when and why; after a bad end of the job also how its log ends."""
        return whereabouts(self.store, self.manifest, self.status, self._detached, self._outcome(), self._error)

    def job_status(self) -> JobStatus | None:
        """What the batch system says of a detached run's latest submission; None for a live run."""
        return self._detached.status() if self._detached is not None and self._detached.ids() else None

    def logs(self) -> str:
        """What a detached run's latest submission wrote so far; empty for a live run."""
        return self._detached.logs() if self._detached is not None else ""

    @property
    def is_here(self) -> bool:
        """Whether this process carries it out, so that its end is the run's."""
        return self._thread is not None

    def _job_is_over(self, job: str, attempt: int) -> bool:
        """Whether the batch system says so of the run's latest submission."""
        return self._detached is not None and self._detached.over(job, attempt)

    def _site_says(self) -> str:
        """The state of a run that no Runner speaks for: it may wait in a queue, or have died with its job."""
        job = self.job_status()
        if job is None:
            if self._detached is not None or not submissions(self.store, self.id):
                return "interrupted"
            # its job was cancelled by who could reach its site; one that starts all the same sees the wish, and stops
            return "cancelled" if cancel_requested(self.store, self.id) else "submitted"
        told_by = self._detached.told_by() if self._detached is not None else None
        return state_by_job(self.store, self.id, told_by or "", job)

    @property
    def exit_code(self) -> int:
        """What a command would exit with: 0 complete, 3 partial, 4 failed or unknown, 130 cancelled or interrupted."""
        if (outcome := self._outcome()) is not None:
            return outcome.summary.exit_code
        return EndUnknown.exit_code if unknown_end(self.store, self.manifest) else Interrupted.exit_code

    def progress(self) -> Progress:
        """How far the run is; of a run elsewhere, as of its last message."""
        if self._is_here:
            return self._progress
        return heard(self.store, self.manifest, self._detached)

    def wait(self, timeout_s: float | None = None) -> Run:
        """Return when the run has ended, or after `timeout_s` seconds; raises what stopped its Runner, if it broke.

        Unavailable where its site has been silent for an hour.
        """
        if self._is_here:
            self._over.wait(timeout_s)
            if self._error is not None:
                raise self._error
            return self
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._heard_at = time.monotonic()
        while self.is_live() and (deadline is None or time.monotonic() < deadline):
            time.sleep(_POLL_S)
        return self

    def is_live(self) -> bool:
        """Whether its end is to be waited for.

        Unavailable where its site has been silent for an hour of waiting; SubmitError where its job can never start,
        which then goes: the run is `refused`.
        """
        status, now, site = self.status, time.monotonic(), self.manifest.site
        if status == "interrupted" and self._detached is not None and self._detached.take_up(self.analysis):
            return True
        self._heard_at = self._heard_at if status == "unknown" else now
        job = self.job_status() if status == "queued" else None
        if job is None or not job.never:
            self._may_start = now
        elif now - self._may_start > _NEVER_S:
            raise self._refused(job)
        if status == "submitted":
            raise UsageError(
                f"run {self.id} waits or runs on site {site!r}, which is not known here; name it: --site FILE"
            )
        if now - self._heard_at > _SILENT_S:
            raise Unavailable(f"site {site!r} has said nothing of run {self.id} for an hour; wait again, or cancel it")
        return status in _LIVE

    def _refused(self, job: JobStatus) -> SubmitError:
        """End the job of a run that the system took and will never start, and tell the store of it."""
        why = f"run {self.id} can never start: {job.reason}"
        try:
            if self._detached is not None:
                self._detached.cancel()
        except Unavailable as error:
            return SubmitError(f"{why}; its job could not be cancelled: {error}")
        again = f"mend the file of site {self.manifest.site!r}, and `vrecompute runs attach {self.id}` takes it up"
        refusal = SubmitError(f"{why}; its job is cancelled: {again}")
        tell_refusal(self.store, self.manifest, refusal)
        return refusal

    def cancel(self) -> None:
        """Ask the run to stop, wherever it is. What is durable stays, and the next run reuses it."""
        self._cancelled = True
        if (runner := self._runner) is not None:
            runner.cancel()
        elif self._control is not None:
            self._control.stop_waiting()
        request_cancel(self.store, self.id)
        if self._detached is not None:
            self._detached.cancel()

    def delete(self) -> None:
        """Remove the run's own objects; parts stay, since other runs may share them. RunError where it may yet run."""
        if (state := self.status) in _LIVE:
            told = f"is {state}" if state != "unknown" else "may be running, as its site does not answer"
            raise RunError(
                f"run {self.id} {told}; `vrecompute runs cancel {self.id}` ends it, and it can be deleted after that"
            )
        delete_run(self.store, self.id)

    def carry_out(
        self,
        make_runner: Callable[[Callable[[Progress], None]], Runner],
        control: WorkerControl,
    ) -> Run:
        """Carry the run out on a thread of this process; `make_runner` is called there.

        When a Runner loses its cluster, another goes on with a new one, unless several in a row got nothing done,
        workers were waited for as long as they may take, or `control` says why that would be of no use.
        """
        self._control = control

        def work() -> None:
            idle = 0
            logs: list[RunLog] = []
            try:
                while self._told is None:
                    self._progress = replace(self._progress, waiting=control.starting, waiting_for="start")
                    self._runner = runner = None
                    if self._cancelled:
                        raise cancelled_early(self.id)
                    try:
                        self._runner = runner = make_runner(self._notice)
                        logs.append(runner.log)
                        self._told = runner.execute()
                    except ClusterLost as lost:
                        if (refused := control.refusal()) is not None:
                            raise refused from lost
                        idle = 0 if runner is not None and runner.tally.computed else idle + 1
                        if lost.was_waited_for or idle > _IDLE_RUNNERS:
                            raise
                        _log.warning("run %s: %s; %s", self.id, lost, control.anew)
            except BaseException as error:
                early = self._cancelled and self._runner is None
                self._error = cancelled_early(self.id) if early else error
                tell_refusal(self.store, self.manifest, self._error, logs)
            finally:
                self._runner = None  # its plan and parts are large, and a notebook keeps its runs
                self._over.set()

        self._thread = threading.Thread(target=work, name=f"vrecompute-{self.id}", daemon=True)
        self._thread.start()
        return self

    def _notice(self, progress: Progress) -> None:
        self._progress = progress

    def _outcome(self) -> Outcome | None:
        if self._is_here and not self._over.is_set():
            return None
        ended, _ = outcomes(self.store, self.id)
        return ended[0].outcome if ended else self._told

    def _ended(self, timeout_s: float | None, *, shows: bool = False) -> Outcome:
        with shown(self) if shows else nullcontext():
            self.wait(timeout_s)
        outcome = self._outcome()
        if outcome is not None:
            return outcome
        if (state := self.status) in _LIVE:
            raise Incomplete(f"run {self.id} is {state} after {timeout_s} s: {self.progress()}")
        raise without_outcome(self.store, self.manifest, self.where(), self.job_status())
