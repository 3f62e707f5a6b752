"""`WorkLoop`: sends the chunks that a plan lacks out as tasks, and takes their parts in, until none is left."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Protocol

import numpy as np
from distributed import Client as DaskClient
from numpy.typing import NDArray

from vrecompute.errors import AnalysisError, DamagedObject, StoreError
from vrecompute.execution.byvalue import Packed
from vrecompute.execution.collect import Collector
from vrecompute.execution.failure import failure_of
from vrecompute.execution.hands import Hands
from vrecompute.execution.killed_tasks import KilledTasks
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.memory_deaths import MemoryDeaths
from vrecompute.execution.parts import PartNode, read_part
from vrecompute.execution.pool import Finished, Shared, TaskPool
from vrecompute.execution.postmortem import lost_chunk
from vrecompute.execution.runlog import RunLog
from vrecompute.execution.runner_walltime import RunnerWalltime
from vrecompute.execution.schedule import Schedule, Task, runs_of
from vrecompute.execution.signer import Signer
from vrecompute.execution.spread import window
from vrecompute.execution.stock import rewritten
from vrecompute.execution.tally import Tally
from vrecompute.execution.task import TaskContext, TaskReport, compute
from vrecompute.execution.worker_control import WorkerControl
from vrecompute.stores.base import Store
from vrecompute.workers.worker_exit import worker_exit

__all__ = ["WorkLoop", "report_work"]

_TICK_S = 0.5
# So often a part may be gone before it is read.
_MOST_VANISHED = 3


class _Runner(Protocol):
    """What a Runner lends its work loop."""

    dask: DaskClient
    store: Store
    manifest: Manifest
    tally: Tally
    walltime: RunnerWalltime
    memory_deaths: MemoryDeaths
    control: WorkerControl
    doubled: bool
    log: RunLog
    hands: Hands | None
    signer: Signer | None

    @property
    def over(self) -> bool: ...
    def look_around(self, pool: TaskPool, ended: Finished | None) -> None: ...
    def begins(self, task: Task) -> None: ...
    def report(self, **changes: object) -> None: ...


class WorkLoop:
    """The work of one Runner: `missing` chunks, each `alone` if so. What comes in goes to `collector`, what fails to
    the Runner's tally.
    """

    def __init__(
        self, runner: _Runner, collector: Collector, missing: NDArray[np.bool_], *, alone: bool = False
    ) -> None:
        settings = runner.manifest.settings
        self.runner = runner
        self.collector = collector
        self.plan = collector.plan
        self.schedule = Schedule(missing & (not alone), task_s=settings.task_s, fixed=settings.task_chunks)
        for first, last in runs_of(missing) if alone else ():
            self.schedule.suspect(Task(first, last))
        self.killed = KilledTasks(runner.control.deaths)
        self._doubled: set[Task] = set()
        self._vanished: Counter[Task] = Counter()
        self._threads = self._most_threads = 0
        # Memory in use and allowed, by address of the worker, while suspects run alone.
        self._peaks: dict[str, tuple[int, int]] = {}

    def run(self, context: TaskContext, packed: Packed) -> None:
        """Compute what the collector lacks. Raises ClusterLost."""
        if self.schedule.exhausted:
            return
        runner, label = self.runner, f"{self.runner.manifest.run}-{self.plan.work[:8]}"
        common = [*context.resources.values(), *context.certified.values()]
        pool = TaskPool(runner.dask, label, lambda task_report: task_report.idle, runner.hands, common, runner.signer)
        with pool:
            shared = pool.share(context, packed)
            while not runner.over and (len(pool) > 0 or len(self.killed) > 0 or not self.schedule.exhausted):
                if runner.walltime.is_up or (runner.walltime.closing and len(pool) == 0):
                    break
                self._fill(pool, shared)
                ended = pool.wait(_TICK_S)
                if ended is not None:
                    self._ended(ended)
                    report_work(runner, self.collector, self._threads, len(pool))
                self._bury()
                runner.look_around(pool, ended)
                self._note_memory(pool)
                self._double_stragglers(pool, shared)
            if not runner.over and (runner.walltime.closing or runner.walltime.is_up):
                runner.walltime.not_reached(self.plan, pool.flying(), self.schedule, str(runner.memory_deaths))
            pool.cancel()
        runner.doubled |= bool(self._doubled)

    def _fill(self, pool: TaskPool, shared: Shared) -> None:
        """Send out tasks until the window is full."""
        self._threads = pool.threads()
        self._most_threads = max(self._threads, self._most_threads)
        while not self.runner.walltime.closing and len(pool) < window(pool):
            task = self.schedule.next(self._threads, len(pool))
            if task is None:
                break
            self._submit(pool, shared, task)

    def _submit(self, pool: TaskPool, shared: Shared, task: Task) -> None:
        self.runner.begins(task)
        longest_s = self.schedule.longest_s
        reads = [self.plan.sources[number].sidecar for number, _, _ in self.plan.slices(task.first, task.last)]
        pool.submit(task, compute, shared, task.first, task.last, longest_s, from_start=task.from_start, reads=reads)

    def _ended(self, end: Finished) -> None:
        task: Task = end.ticket
        if end.how == "done":
            self._received(task, end.value)
        elif end.how == "killed":
            self.runner.log.event("deaths", first=task.first, last=task.last, reason=str(end.value))
            self.killed.begin(task, end.value)
        elif end.how == "cancelled":
            self.schedule.again(task)
        else:
            self._failed(task, end.value)

    def _received(self, task: Task, task_report: TaskReport) -> None:
        runner = self.runner
        try:
            nodes = self._read(task, task_report.part) if task_report.part else []
            if nodes is None:
                return
            new = self.collector.add(nodes)
        except ValueError as error:
            self._failed(task, AnalysisError(f"results of different chunks do not combine: {error}"))
            return
        runner.tally.received(task_report, new)
        runner.tally.disturbed |= rewritten(self.plan, nodes, task_report.origins)
        runner.tally.reads.update(*(part.reads for part in nodes))
        left = task.last if task_report.left is None else task_report.left
        if new:
            runner.walltime.advanced()
        if task_report.part:
            self.schedule.finished(replace(task, last=left), task_report.seconds["wall"], task_report.longest_s)
        if left < task.last:
            rest = replace(task, first=left)
            runner.log.event("no-time", first=left, last=task.last, worker=task_report.worker)
            self.schedule.again(rest)
            if runner.walltime.refused(task_report.worker, leaves=task_report.leaves, threads=self._most_threads):
                runner.tally.failed(runner.walltime.chunk(self.plan, rest, "have no time to start it"))

    def _read(self, task: Task, name: str) -> list[PartNode] | None:
        """The nodes of a part that a task wrote; None where it was removed since, and its chunks go out again."""
        try:
            return read_part(self.runner.store, name)
        except DamagedObject:
            raise
        except StoreError:
            self._vanished[task] += 1
            if self._vanished[task] > _MOST_VANISHED or self.runner.store.exists(name):
                raise
        self.runner.log.event("part-vanished", part=name, first=task.first, last=task.last)
        self.schedule.again(task)
        return None

    def _failed(self, task: Task, error: BaseException) -> None:
        """Every chunk of a task that gave nothing is named; trouble with code or store is named once."""
        for number in range(task.first, task.last):
            chunk = self.plan.chunk(number)
            sample = self.plan.sources[int(self.plan.table[number, 0])].sample
            span = {"start": chunk.start, "stop": chunk.stop, "entries": chunk.stop - chunk.start}
            failure = failure_of(error, chunk.source, sample, **span)
            self.runner.tally.failed(failure)
            if not failure.skippable:
                break

    def _bury(self) -> None:
        """Chunks whose workers died too often are lost; the others are tried again."""
        runner, deaths = self.runner, self.runner.control.deaths
        for task, error in self.killed.judge(self.schedule):
            word = worker_exit(runner.dask, error.last_worker, deaths, lambda: runner.over)
            runner.tally.failed(lost_chunk(self.plan, task.first, error, deaths(), self._peaks, word))

    def _note_memory(self, pool: TaskPool) -> None:
        if any(task.alone for task in pool.tickets()):
            for address, (used, limit) in pool.memory().items():
                self._peaks[address] = max((used, limit), self._peaks.get(address, (0, 0)))

    def _double_stragglers(self, pool: TaskPool, shared: Shared) -> None:
        """Send a second copy of a task that takes far longer than usual, once, where cores idle."""
        if len(pool) >= self._threads:
            return
        for task, elapsed, copies in pool.flying():
            if copies == 1 and self.schedule.is_straggler(elapsed) and task not in self._doubled:
                self._doubled.add(task)
                self.runner.log.event("straggler", first=task.first, last=task.last, elapsed_s=elapsed)
                self._submit(pool, shared, task)


def report_work(runner: _Runner, collector: Collector, threads: int = 0, tasks: int = 0) -> None:
    """Make known how much of a plan is in, with how many worker threads and tasks under way."""
    plan = collector.plan
    widths = plan.table[:, 2] - plan.table[:, 1]
    events = int(np.sum(widths, where=collector.have))
    elapsed = runner.tally.elapsed("work")
    rate = runner.tally.events_computed / elapsed if elapsed > 0 else 0.0
    runner.report(
        stage="work",
        chunks_done=int(collector.have.sum()),
        chunks_total=plan.chunks,
        events=events,
        events_expected=plan.events,
        events_per_s=rate,
        eta_s=(plan.events - events) / rate if rate > 0 else None,
        failures=len(runner.tally.failures),
        threads=threads,
        tasks=tasks,
        retries=len(runner.tally.retries),
    )
