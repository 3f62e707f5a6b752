"""`Runner`: carries out one run on any Dask client, wherever its workers are.

    preflight (distributed, cached) -> plan -> reuse parts -> tasks in a bounded window -> merge -> finish

Whatever it has finished is durable in the store, so killing it loses what was in flight and no more, and
a second Runner on the same run only adds parts that are equal.
"""

from __future__ import annotations

import contextlib
import logging
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from distributed import Client as DaskClient
from numpy.typing import NDArray

from vrecompute.analysis import Analysis
from vrecompute.analysis.arithmetic import with_arithmetic
from vrecompute.errors import AnalysisError, ClusterLost, OutOfTime, StoreError
from vrecompute.execution.byvalue import Packed, pack_for
from vrecompute.execution.collect import Collector
from vrecompute.execution.credentials import short_lived
from vrecompute.execution.failure import failure_of, failures_of_chunks
from vrecompute.execution.fileknowledge import forget_disproved
from vrecompute.execution.finish import failed_outcome, finish
from vrecompute.execution.hands import Hands
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.memory_deaths import MemoryDeaths
from vrecompute.execution.outcome import Outcome
from vrecompute.execution.parts import impurity_of
from vrecompute.execution.patience import Patience
from vrecompute.execution.plan import Plan
from vrecompute.execution.planner import Planner
from vrecompute.execution.planwarnings import rewritten_warnings
from vrecompute.execution.pool import Finished, TaskPool
from vrecompute.execution.progress import SPOKEN, Progress
from vrecompute.execution.runlog import OUT_OF_TIME, RunLog, cancel_requested
from vrecompute.execution.runner_walltime import RunnerWalltime
from vrecompute.execution.schedule import Task, runs_of
from vrecompute.execution.signer import Signer
from vrecompute.execution.skim import check_tables
from vrecompute.execution.stock import Stock
from vrecompute.execution.tally import Tally
from vrecompute.execution.task import TaskContext
from vrecompute.execution.whyanew import why_anew
from vrecompute.execution.worker_control import WorkerControl
from vrecompute.execution.workkey import work_key
from vrecompute.execution.workloop import WorkLoop, report_work
from vrecompute.results.file import Completeness, write_results
from vrecompute.results.result import Result
from vrecompute.retries import count_retries
from vrecompute.stores.base import Store
from vrecompute.stores.objects import SetAside, content_name, set_aside, write_content

__all__ = ["Runner"]

# How often the lives of credentials are compared with the planned end.
_LIVES_S = 60.0
# So often what was read of files that changed meanwhile is compared with them, and computed again.
_MOST_REWRITTEN = 3
_REWRITTEN = (
    f"it was rewritten {_MOST_REWRITTEN} times while the run read it, and these events were read of neither version; "
    "run again when nothing writes to it"
)
_LOG = logging.getLogger(__name__)


class Runner:
    """One execution of one manifest.

    `on_progress` is called from the Runner's thread with each new Progress; `control` knows more of the workers than
    Dask does, and gives more of them for more work. `packed` is from `pack_for`, when the run was asked for. Where
    workers do not reach the store, all of it goes through the Runner, which then also signs addresses of sources if it
    has keys. One that `signs` has to.
    """

    #: How often the store is asked whether a client wants an end.
    cancel_s = 2.0
    #: Whether chunks are computed one after another, so that it is known at which one it dies.
    one_by_one = False

    def __init__(
        self,
        dask: DaskClient,
        store: Store,
        manifest: Manifest,
        analysis: Analysis,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        control: WorkerControl | None = None,
        packed: Packed | None = None,
        *,
        workers_reach: bool = True,
        signs: bool = False,
    ) -> None:
        self.dask = dask
        self.store = store
        self.manifest = manifest
        self.analysis = analysis
        self.settings = manifest.settings
        self.log = RunLog(store, manifest)
        self.tally = Tally(manifest)
        self.progress = Progress()
        self._on_progress = on_progress
        self.control = control or WorkerControl()
        self.packed = packed or pack_for(manifest, analysis)
        self.walltime = RunnerWalltime(store)
        self.hands = None if workers_reach else Hands(store, manifest.run)
        self.signer = Signer(manifest.dataset, required=signs) if signs or not workers_reach else None
        watch = weakref.proxy(self)
        self.planner = Planner(dask, store, manifest, self.tally, self.walltime, watch, self.hands, self.signer)
        self._aside = SetAside(store)
        self._found = np.zeros(0, dtype=bool)  # which chunks were there before
        self._cancelled = False
        self.doubled = False  # whether there were two copies of a task, of which one may not have ended
        self._looked = 0.0
        # of a live run the client has just said it
        self._lives_looked = -_LIVES_S if self.walltime.ends is not None else time.monotonic()
        self._lives_said: set[str] = set()
        self.memory_deaths = MemoryDeaths(dask)
        self._patience = Patience(self.control, self.memory_deaths)

    def cancel(self) -> None:
        """Stop soon: nothing more is submitted, what is durable stays."""
        self._cancelled = True

    def execute(self) -> Outcome:
        """Carry the run out to its end and record how it ended.

        Raises, and records no end: ClusterLost where its cluster is gone, OutOfTime where the Runner's own job is
        over before (in both cases another Runner can finish the run), StoreError where the store fails for good.
        """
        try:
            with self.log.speaking(lambda: {name: getattr(self.progress, name) for name in SPOKEN}):
                return self._execute()
        except OutOfTime:
            self.log.event(OUT_OF_TIME)
            raise

    def _execute(self) -> Outcome:
        results, retries = self._worked()
        cancelled = self._cancelled
        name = self._kept(results, cancelled=cancelled)
        self.tally.retried(retries)
        self.tally.warnings += [*self._aside.said(), *self.control.left_out()]
        outcome = self.tally.outcome(results, name, cancelled=cancelled)
        try:
            with self._stage("finish"):
                outcome = self._finish(outcome)
            outcome = replace(outcome, summary=replace(outcome.summary, time_s=self.tally.rounded_times()))
            self.log.outcome(outcome.to_data(self.log.writer))
        except StoreError as error:
            # What the store cannot take is still reported by this process.
            self.tally.failed(failure_of(error, self.store.url, ""))
            outcome = self.tally.outcome(results, name, cancelled=cancelled)
        self.report(stage="done")
        return outcome

    def _worked(self) -> tuple[dict[str, Result], list[str]]:
        """The Results of what there is once all is done that can be, and what was tried again for it."""
        results: dict[str, Result] = {}
        retries = count_retries()
        ended = False
        try:
            self.log.event("started")
            self._aside.begin()
            results = self._results()
            ended = not (self.over or self.doubled)
        except StoreError as error:
            self.tally.failed(failure_of(error, self.store.url, ""))
        except Exception as error:
            why = self._cluster_lost(error)
            if why and not self._cancelled:  # a client that cancels may close the cluster at once
                waited = isinstance(error, ClusterLost) and error.was_waited_for
                raise ClusterLost(why, was_waited_for=waited) from error
            # A run that ends without a word would look as if it were running still.
            if not why:
                self.tally.failed(failure_of(error, self.manifest.dataset.name, ""))
        finally:
            self.control.needed(self.manifest.run, 0)
            if not ended:
                self.control.given_up(self.manifest.run)
        self.walltime.hand_over(self.tally)
        return results, retries

    def _cluster_lost(self, error: Exception) -> str:
        """Why the cluster is gone, where the error is of that; what a worker or the store raised is not."""
        why = self.control.lost() or (str(error) if isinstance(error, ClusterLost) else "")
        if not why and (self.dask.status != "running" or isinstance(error, OSError)):
            why = f"the connection to the Dask scheduler was lost: {error}"
        return why

    def _finish(self, outcome: Outcome) -> Outcome:
        arguments = (self.store, self.manifest, self.analysis, outcome, self.log.writer)
        if self.analysis.finish_function is None:
            return outcome
        try:
            return self.walltime.in_time(lambda: with_arithmetic(self.manifest.arithmetic, finish, *arguments))
        except TimeoutError:
            self.walltime.not_finished(str(self.analysis.finish_function), self.tally.elapsed("finish"))
            self.walltime.hand_over(self.tally)
            return failed_outcome(outcome, self.tally.failures[-1])

    @property
    def over(self) -> bool:
        """Whether nothing more is to be begun."""
        return self._cancelled or self.tally.must_stop or self.walltime.late is not None

    def _results(self) -> dict[str, Result]:
        with self._stage("preflight"):
            plan = self._planned()
        if self.over:
            self.tally.planned(plan, self.analysis)
            return {}
        with self._stage("reuse"):
            plan, collector = self._reuse(plan)
        self._found = collector.have.copy()
        missing = ~collector.have & self._wanted(plan)
        self._explain_recomputed(plan, int(missing.sum()))
        self._compute(plan, collector, missing)
        forget_disproved(self.store, self.manifest, plan, self.tally.failures)
        plan, collector = self._undisturbed(plan, collector)
        with self._stage("merge"):
            return self._merged(plan, collector)

    def _undisturbed(self, plan: Plan, collector: Collector) -> tuple[Plan, Collector]:
        """What there is of a plan once none of it is of a file that changed while the run read it.

        Of such a file, what was read is compared with what it holds now, and computed again where that is other.
        """
        for left in reversed(range(_MOST_REWRITTEN + 1)):
            if self.over or not self.tally.disturbed:
                break
            with self._stage("compare"):
                plan, collector, lost = self._compared(plan, collector)
            if left:
                self._compute(plan, collector, lost)
                continue
            for span in runs_of(lost):
                for failure in failures_of_chunks(plan, span, "changed", _REWRITTEN):
                    self.tally.failed(failure)
        self.tally.warnings += rewritten_warnings(plan, self.tally.disturbed)
        return plan, collector

    def _compared(self, plan: Plan, collector: Collector) -> tuple[Plan, Collector, NDArray[np.bool_]]:
        """The plan of files as they are now, what there is of it, and which chunks no longer are."""
        disturbed, had = set(self.tally.disturbed), collector.have
        now, collector, self.tally.parts = self.planner.again(plan)
        lost = had & ~collector.have & self._wanted(plan)
        self.tally.warnings += rewritten_warnings(plan, disturbed, lost)
        self.tally.dropped(int((lost & ~self._found).sum()), int((lost & self._found).sum()))
        self._found &= ~lost
        return now, collector, lost

    def _planned(self) -> Plan:
        return self.planner.plan(self.analysis, work_key(self.manifest, self.analysis), self.packed)

    def _compute(self, plan: Plan, collector: Collector, missing: NDArray[np.bool_]) -> None:
        """Have workers compute the chunks that are missing."""
        context = TaskContext(
            plan,
            self.analysis,
            self.store.url if self.hands is None else self.hands.url,
            resources=dict(self.manifest.resources),
            certified=dict(self.manifest.certified),
            numerics=dict(self.manifest.numerics),
            ends=self.walltime.ends,
            code=self.packed.code.parts,
            run=self.manifest.run,
            own=type(self.analysis).__module__.partition(".")[0],
            folder=self.manifest.folder,
            unnamed=self.manifest.unnamed,
        )
        with self._stage("work"):
            self.control.needed(self.manifest.run, int(missing.sum()))
            WorkLoop(self, collector, missing, alone=self.one_by_one).run(context, self.packed)

    def _wanted(self, plan: Plan) -> NDArray[np.bool_]:
        """Which chunks of the plan are to be computed where they are not there."""
        return np.ones(plan.chunks, dtype=bool)

    def _explain_recomputed(self, plan: Plan, missing: int) -> None:
        self.tally.recomputed = why_anew(self.store, self.manifest, self.analysis, plan, missing)

    def _merged(self, plan: Plan, collector: Collector) -> dict[str, Result]:
        try:
            results = collector.results()
        except ValueError as error:
            raise AnalysisError(f"results of different files do not combine: {error}") from error
        self.tally.collected(plan, collector.have)
        check_tables(results)
        return results

    def _reuse(self, plan: Plan) -> tuple[Plan, Collector]:
        """The plan that the run keeps, and what the store has of it."""
        impure = impurity_of(self.store, plan.work) if self.settings.reuse else ""
        if impure:
            told = (
                f"{impure}. A run of this code found that before, and nothing of it is reused: edit it, or `--no-reuse`"
            )
            self.tally.failed(failure_of(AnalysisError(told), self.manifest.dataset.name, ""))
        try:
            found = self._stock(plan)
        except ValueError as error:
            wrong = AnalysisError(f"stored results do not combine: {error}")
            self.tally.failed(failure_of(wrong, self.manifest.dataset.name, ""))
            found = Stock(plan, Collector(plan))
        for name, why in found.damaged.items():
            set_aside(self.store, name, why)
        self.tally.planned(found.plan, self.analysis)
        if impure or not self.settings.reuse:
            return found.plan, Collector(found.plan)
        self.tally.reused += int(found.collector.have.sum())
        self.tally.reads |= found.reads
        self.tally.parts |= found.parts
        report_work(self, found.collector)
        return found.plan, found.collector

    def _stock(self, plan: Plan) -> Stock:
        return self.planner.stock(plan)

    def _kept(self, results: Mapping[str, Result], *, cancelled: bool) -> str | None:
        """The store's name of the results of what was seen; a complete run has one even of no events at all."""
        if not results or not (self.tally.events_seen or self.tally.all_there):
            return None
        summary = self.tally.outcome(results, None, cancelled=cancelled).summary
        events = summary.events
        completeness = Completeness(summary.status, events.seen, events.expected, summary.completeness_text)
        try:
            data = write_results(results, completeness)
            name = content_name(f"{self.manifest.prefix}results", data, ".zip")
            write_content(self.store, name, data)
        except StoreError as error:
            self.tally.failed(failure_of(error, self.store.url, ""))
            return None
        return name

    def look_around(self, pool: TaskPool, ended: Finished | None) -> None:
        """See whether the cluster is gone or a client wants an end. Raises ClusterLost."""
        if why := self.control.lost():
            raise ClusterLost(why)
        wait = self._patience.look(pool, ended)
        self.report(waiting=wait.reason, waiting_s=wait.seconds, waiting_for=wait.kind)
        if time.monotonic() - self._lives_looked > _LIVES_S:
            self._lives_looked = time.monotonic()
            self._say_lives()
        if time.monotonic() - self._looked > self.cancel_s:
            self._looked = time.monotonic()
            self._cancelled = self._cancelled or cancel_requested(self.store, self.manifest.run)

    def _say_lives(self) -> None:
        """Say once of each credential that it ends before this job does, or before the run at its present rate."""
        ends, of = self.walltime.ends, "the job"
        if ends is None:
            ends, of = time.time() + (self.progress.eta_s or 0.0), "the run"
        for credential, said in short_lived(self.store, self.manifest.dataset, ends, of).items():
            if credential not in self._lives_said:
                self._lives_said.add(credential)
                self.log.event("credential", said=said)
                _LOG.warning("run %s: %s", self.manifest.run, said)

    def begins(self, task: Task) -> None:
        """A task goes out."""

    def report(self, **changes: object) -> None:
        """Make progress known."""
        self.progress = replace(self.progress, **changes)  # type: ignore[arg-type]  # fields of Progress by name
        self._on_progress(self.progress)

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        if name != "merge":
            self.report(stage=name)
        self.tally.enter(name)
        started = time.monotonic()
        try:
            yield
        finally:
            self.tally.leave(name)
            self.log.event("stage", stage=name, seconds=time.monotonic() - started)
