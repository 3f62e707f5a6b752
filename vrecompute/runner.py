"""`Runner`: carries out one run on any Dask client. Where it lives is nobody's business here.

    preflight (distributed, cached) -> plan -> reuse parts -> tasks in a bounded window -> merge -> finish

Whatever it has finished is durable in the store, so killing it loses what was in flight and no more, and
a second Runner on the same run only adds parts that are equal.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from distributed import Client as DaskClient

from vrecompute.analysis import Analysis
from vrecompute.backend import JobStatus
from vrecompute.collect import Collector
from vrecompute.dataset import Source
from vrecompute.deaths import lost_chunk
from vrecompute.digest import sha256_of
from vrecompute.errors import AnalysisError, RunError, StoreError
from vrecompute.failure import Failure, failure_of, lines_of
from vrecompute.finishing import finish
from vrecompute.lastword import last_word
from vrecompute.manifest import Manifest
from vrecompute.outcome import Outcome, Tally
from vrecompute.parts import read_part, stored_parts
from vrecompute.plan import Plan, PlannedSource
from vrecompute.pool import Finished, TaskPool
from vrecompute.preflight import PreflightOrder, plan_grid, preflight
from vrecompute.progress import Progress
from vrecompute.result import Result
from vrecompute.resultfile import write_results
from vrecompute.runlog import RunLog, cancel_requested
from vrecompute.schedule import Schedule, Task
from vrecompute.store import Store
from vrecompute.work import Order, Receipt, compute
from vrecompute.workkey import sample_views, work_key

__all__ = ["Runner"]

# Tasks in flight per worker thread: enough that no thread waits for the Runner.
_WINDOW = 2.5
_PREFLIGHT_BATCH = 16
_TICK_S = 0.5
_BEAT_S = 1.0
_SPOKEN = ("stage", "chunks_done", "chunks_total", "events", "events_expected")
# How often the store is asked whether somebody wants an end.
_CANCEL_S = 2.0


class Runner:
    """One execution of one manifest.

    `on_progress` is called from the Runner's thread with each new Progress; `deaths` tells how the jobs behind
    lost workers ended, by worker name.
    """

    def __init__(
        self,
        dask: DaskClient,
        store: Store,
        manifest: Manifest,
        analysis: Analysis,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        deaths: Callable[[], Mapping[str, JobStatus]] = dict,
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
        self._deaths = deaths
        self._peaks: dict[str, tuple[int, int]] = {}
        self._cancelled = False
        self._looked = 0.0

    def cancel(self) -> None:
        """Stop soon: nothing more is submitted, what is durable stays."""
        self._cancelled = True

    def execute(self) -> Outcome:
        """Carry the run out to its end and record how it ended; raises only where the store fails for good."""
        with self._speaking():
            return self._execute()

    def _execute(self) -> Outcome:
        results: dict[str, Result] = {}
        try:
            self.log.event("started")
            carried = dict(self.manifest.resources)
            for step in self.manifest.steps or ("",):
                analysis = self.analysis.at_step(step) if step else self.analysis
                results = self._step(step, analysis, carried)
                if self._over:
                    break
                if step:
                    carried[step] = self._keep(results, "blobs/")
        except StoreError as error:
            self.tally.failed(failure_of(error, self.store.url, ""))
        except Exception as error:
            # A run that ends without a word would look as if it were running still.
            self.tally.failed(failure_of(error, self.manifest.dataset.name, ""))
        name = self._kept(results)
        outcome = self.tally.outcome(results, name, cancelled=self._cancelled)
        try:
            with self._stage("finish"):
                outcome = finish(self.store, self.manifest, self.analysis, outcome, self.log.writer)
            outcome = replace(outcome, summary=replace(outcome.summary, time_s=self.tally.rounded_times()))
            self.log.outcome(outcome.to_data(self.log.writer))
        except StoreError as error:
            # What the store cannot take is told to whoever listens to this process.
            self.tally.failed(failure_of(error, self.store.url, ""))
            outcome = self.tally.outcome(results, name, cancelled=self._cancelled)
        self._report(stage="done")
        return outcome

    @property
    def _over(self) -> bool:
        return self._cancelled or self.tally.must_stop

    def _step(self, step: str, analysis: Analysis, resources: Mapping[str, str]) -> dict[str, Result]:
        work = work_key(self.manifest, analysis, step, resources)
        with self._stage("preflight"):
            plan = self._plan(step, analysis, work)
        if self._over:
            return {}
        lines = lines_of(type(analysis).process)
        order = Order(plan, analysis, self.store.url, dict(resources), dict(self.manifest.numerics), lines)
        collector = Collector(plan)
        if self.settings.reuse:
            with self._stage("reuse"):
                self._reuse(plan, collector)
        with self._stage("work"):
            self._work(order, collector)
        with self._stage("merge"):
            results = collector.results()
            self.tally.collected(plan, collector.have)
        return results

    def _plan(self, step: str, analysis: Analysis, work: str) -> Plan:
        views = sample_views(self.manifest)
        samples = {s.name: s for s in self.manifest.dataset.samples}
        grids = self.manifest.grids.get(step, ())
        planned = [plan_grid(grid, s, views[s.name]) for grid in grids for s in samples.values()]
        if not grids:
            order = PreflightOrder(analysis, samples, views, work, self.settings.chunk_bytes, self.store.url)
            planned += self._preflight(order)
        plan = Plan.of(work, self.manifest.dataset.samples, self._without_twins(planned), self.settings.chunk_bytes)
        # The first Runner's plan is the run's plan; files that changed since are caught when they are read.
        name = f"{self.manifest.prefix}plan{'-' + step if step else ''}.json"
        if not self.tally.failures and not self.store.create(name, plan.to_json()):
            try:
                known = Plan.from_json(self.store.get(name))
            except StoreError as error:
                raise StoreError(f"{name}: {error}; run the analysis again: what it had finished is reused") from error
            plan = known if known.work == work else plan
        self.tally.planned(plan, final=step == (self.manifest.steps or ("",))[-1])
        return plan

    def _preflight(self, order: PreflightOrder) -> list[PlannedSource]:
        sources = self.manifest.dataset.sources
        batches = [sources[i : i + _PREFLIGHT_BATCH] for i in range(0, len(sources), _PREFLIGHT_BATCH)]
        pool = TaskPool(self.dask, f"preflight-{self.manifest.run}")
        shared = pool.share(order)
        found: dict[int, list[PlannedSource | Failure]] = {}
        sent = 0
        while len(found) < len(batches) and not self._cancelled:
            while sent < len(batches) and len(pool) < self._window(pool):
                pool.submit(sent, preflight, shared, batches[sent])
                sent += 1
            ended = pool.wait(_TICK_S)
            self._look_for_cancel()
            if ended is None:
                continue
            if ended.how == "done":
                found[ended.ticket] = ended.value
            elif ended.how == "cancelled":
                pool.submit(ended.ticket, preflight, shared, batches[ended.ticket])
            else:
                found[ended.ticket] = [_preflight_failure(ended, source) for source in batches[ended.ticket]]
            self._report(
                stage="preflight",
                sources_total=len(sources),
                sources_done=sum(len(batch) for batch in found.values()),
            )
        pool.cancel()
        flat = [item for number in sorted(found) for item in found[number]]
        for item in flat:
            if isinstance(item, Failure):
                self.tally.failed(item)
        return [item for item in flat if isinstance(item, PlannedSource)]

    def _without_twins(self, planned: list[PlannedSource]) -> list[PlannedSource]:
        """Each source once: the same file under two addresses would be counted twice without anybody asking."""
        seen: dict[tuple[str, str], list[PlannedSource]] = {}
        kept = []
        for given in planned:
            source = replace(given, ordinal=0)
            twins = seen.setdefault((source.sample, source.identity), [])
            twins.append(source)
            if len(twins) == 1 or self.settings.allow_duplicates:
                kept.append(replace(source, ordinal=len(twins) - 1))
            else:
                reason = (
                    f"is the same file as {twins[0].path} (UUID {source.uuid}): its events would count twice; "
                    "list it once, or pass --allow-duplicates"
                )
                self.tally.failed(Failure(source.path, source.sample, "duplicate", reason, entries=source.entries))
        return kept

    def _reuse(self, plan: Plan, collector: Collector) -> None:
        wanted = {source.key for source in plan.sources}
        for name in stored_parts(self.store, plan.work):
            try:
                nodes = read_part(self.store, name)
            except StoreError as error:
                self.tally.warnings.append(f"a stored part was damaged and is computed again: {error}")
                self.store.delete(name)
                continue
            try:
                collector.add(node for node in nodes if node.source_key in wanted)
            except ValueError as error:
                self.tally.failed(failure_of(AnalysisError(f"stored results do not combine: {error}"), name, ""))
                return
        self.tally.reused += int(collector.have.sum())
        self._report_work(plan, collector)

    def _work(self, order: Order, collector: Collector) -> None:
        plan = order.plan
        settings = self.settings
        schedule = Schedule(~collector.have, task_s=settings.task_s, fixed=settings.task_chunks)
        if schedule.exhausted:
            return
        pool = TaskPool(self.dask, f"{self.manifest.run}-{plan.work[:8]}")
        shared = pool.share(order)
        while not self._over and (len(pool) > 0 or not schedule.exhausted):
            threads = pool.threads()
            while len(pool) < self._window(pool):
                task = schedule.next(threads, len(pool))
                if task is None:
                    break
                pool.submit(task, compute, shared, task.first, task.last)
            ended = pool.wait(_TICK_S)
            if ended is not None:
                self._ended(ended, schedule, plan, collector)
                self._report_work(plan, collector)
            self._look_for_cancel()
            if any(task.alone for task, _, _ in pool.flying()):
                for address, (used, limit) in pool.memory().items():
                    self._peaks[address] = max((used, limit), self._peaks.get(address, (0, 0)))
            for task, elapsed, copies in pool.flying():
                if copies == 1 and len(pool) < threads and schedule.is_straggler(elapsed):
                    self.log.event("straggler", first=task.first, last=task.last, elapsed_s=elapsed)
                    pool.submit(task, compute, shared, task.first, task.last)
        pool.cancel()

    def _ended(self, ended: Finished, schedule: Schedule, plan: Plan, collector: Collector) -> None:
        task: Task = ended.ticket
        if ended.how == "done":
            receipt: Receipt = ended.value
            try:
                new = collector.add(read_part(self.store, receipt.part)) if receipt.part else 0
            except ValueError as error:
                self._failed(task, plan, AnalysisError(f"results of different chunks do not combine: {error}"))
                return
            self.tally.received(receipt, new)
            if receipt.part:
                schedule.finished(task, receipt.seconds["wall"])
        elif ended.how == "killed" and not task.alone:
            self.log.event("deaths", first=task.first, last=task.last, reason=str(ended.value))
            schedule.suspect(task)
        elif ended.how == "killed":
            word = last_word(self.dask, ended.value.last_worker, self._deaths, lambda: self._over)
            self.tally.failed(lost_chunk(plan, task.first, ended.value, self._deaths(), self._peaks, word))
        elif ended.how == "cancelled":
            schedule.again(task)
        else:
            self._failed(task, plan, ended.value)

    def _failed(self, task: Task, plan: Plan, error: BaseException) -> None:
        """Every chunk of a task that gave nothing is named; trouble with code or store is told once."""
        for number in range(task.first, task.last):
            chunk = plan.chunk(number)
            sample = plan.sources[int(plan.table[number, 0])].sample
            failure = failure_of(
                error, chunk.source, sample, start=chunk.start, stop=chunk.stop, entries=chunk.stop - chunk.start
            )
            self.tally.failed(failure)
            if not failure.skippable:
                break

    def _kept(self, results: Mapping[str, Result]) -> str | None:
        """The store's name of the results of what was seen; a complete run has one even of no events at all."""
        if not results or not (self.tally.events_seen or self.tally.all_there):
            return None
        try:
            return self._keep(results, f"{self.manifest.prefix}results/")
        except StoreError as error:
            self.tally.failed(failure_of(error, self.store.url, ""))
            return None

    def _keep(self, results: Mapping[str, Result], folder: str) -> str:
        data = write_results(results)
        name = f"{folder}{sha256_of(data)}.zip"
        self.store.create(name, data)
        return name

    def _window(self, pool: TaskPool) -> int:
        return max(2, round(_WINDOW * pool.threads()))

    @contextlib.contextmanager
    def _speaking(self) -> Iterator[None]:
        """Progress goes into the log from a thread of its own: a long `finish` is no silence."""
        over = threading.Event()

        def speak() -> None:
            while not over.wait(_BEAT_S):
                now = self.progress
                with contextlib.suppress(StoreError):
                    self.log.beat(**{name: getattr(now, name) for name in _SPOKEN})

        thread = threading.Thread(target=speak, name=f"vrecompute-log-{self.manifest.run}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _look_for_cancel(self) -> None:
        if time.monotonic() - self._looked > _CANCEL_S:
            self._looked = time.monotonic()
            self._cancelled = self._cancelled or cancel_requested(self.store, self.manifest.run)

    def _report_work(self, plan: Plan, collector: Collector) -> None:
        done = int(collector.have.sum())
        widths = plan.table[:, 2] - plan.table[:, 1]
        events = int(np.sum(widths, where=collector.have))
        elapsed = self.tally.elapsed("work")
        rate = self.tally.events_computed / elapsed if elapsed > 0 else 0.0
        left = plan.events - events
        self._report(
            stage="work",
            chunks_done=done,
            chunks_total=plan.chunks,
            events=events,
            events_expected=plan.events,
            events_per_s=rate,
            eta_s=left / rate if rate > 0 else None,
            failures=len(self.tally.failures),
        )

    def _report(self, **changes: object) -> None:
        self.progress = replace(self.progress, **changes)  # type: ignore[arg-type]  # fields of Progress by name
        self._on_progress(self.progress)

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        if name != "merge":
            self._report(stage=name)
        self.tally.enter(name)
        started = time.monotonic()
        try:
            yield
        finally:
            self.tally.leave(name)
            self.log.event("stage", stage=name, seconds=time.monotonic() - started)


def _preflight_failure(ended: Finished, source: Source) -> Failure:
    if ended.how == "killed":
        error: Exception = RunError(f"workers died while opening it: {ended.value}")
        return replace(failure_of(error, source.path, source.sample, entries=source.entries), kind="lost")
    return failure_of(ended.value, source.path, source.sample, entries=source.entries)
