"""`Tally`: what a Runner counts while it works, and the Outcome that it becomes. Green means true (law 5)."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from platform import python_version

import numpy as np
from numpy.typing import NDArray

from vrecompute.analysis import Analysis
from vrecompute.execution.counts import Counts
from vrecompute.execution.failure import Failure
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.outcome import Outcome
from vrecompute.execution.plan import Plan
from vrecompute.execution.planwarnings import chosen_trees, plan_warnings
from vrecompute.execution.task import TaskReport
from vrecompute.reader import link_of
from vrecompute.reports import report
from vrecompute.reports.report import RunSummary, Status
from vrecompute.reports.scale_factors import sample_summary, sums_to_zero, weight_warnings
from vrecompute.results.result import Result
from vrecompute.stores.objects import sha256_in
from vrecompute.traffic import Traffic

__all__ = ["Tally"]

_OF_A_TEST = "this is a test, which does not see all events of the sample"


class Tally:
    """Counts of one Runner, kept while it works."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.failures: list[Failure] = []
        self.warnings: list[str] = []
        self.recomputed = ""
        self.reads: set[str] = set()
        self.parts: set[str] = set()  # names of what the result is made of
        self.disturbed: set[str] = set()  # origins of sources that changed while they were read
        self.origins: dict[str, str] = {}
        self.reused = self.computed = self.total = 0
        self.events_seen = self.events_computed = 0
        self.bytes = 0
        self.core_s = 0.0
        self._machines: set[str] = set()
        self.traffic = Traffic()
        self.retries: list[str] = []
        self._elsewhere: dict[str, None] = {}
        self._times: dict[str, float] = defaultdict(float)
        self._entered: dict[str, float] = {}
        self._plan: Plan | None = None
        self._have: NDArray[np.bool_] = np.zeros(0, dtype=bool)

    def enter(self, stage: str) -> None:
        """A stage begins."""
        self._entered[stage] = time.monotonic()

    def leave(self, stage: str) -> None:
        """A stage ends; stages that are entered again add up."""
        self._times[stage] += time.monotonic() - self._entered.pop(stage)

    def add_time(self, stage: str, seconds: float) -> None:
        """Account for time that was spent outside the stages of the Runner."""
        self._times[stage] += seconds

    def elapsed(self, stage: str) -> float:
        """Seconds since the stage that is under way began."""
        return time.monotonic() - self._entered.get(stage, time.monotonic())

    def rounded_times(self) -> dict[str, float]:
        """Wall seconds by stage, and CPU seconds of all tasks by what they did."""
        return {stage: round(seconds, 4) for stage, seconds in self._times.items()}

    @property
    def must_stop(self) -> bool:
        """Whether what failed ends the run: trouble in code always, bad data as the policy says."""
        if not self.failures:
            return False
        return self.manifest.settings.on_bad == "fail" or self.over_quota or not all(f.skippable for f in self.failures)

    @property
    def over_quota(self) -> bool:
        """Whether more sources failed than `max_bad` allows."""
        return self._bad > self.manifest.settings.max_bad * max(1, len(self.manifest.dataset.sources))

    @property
    def _bad(self) -> int:
        return len({(f.sample, f.file) for f in self.failures})

    @property
    def all_there(self) -> bool:
        """Whether every chunk of a plan is in the result and nothing failed."""
        return self._plan is not None and not self.failures and bool(self._have.all())

    def failed(self, failure: Failure) -> None:
        """Something failed; told twice it counts once."""
        # a credential that is missing is missing for all that its server has
        alike = (f for f in self.failures if f.kind == failure.kind == "credentials")
        if failure not in self.failures and not any(link_of(f.file) == link_of(failure.file) for f in alike):
            self.failures.append(failure)

    def planned(self, plan: Plan, analysis: Analysis) -> None:
        """What events are counted against."""
        self.total = plan.chunks
        self._plan = plan
        self._have = np.zeros(plan.chunks, dtype=bool)
        self.warnings += plan_warnings(plan, analysis)

    def received(self, task_report: TaskReport, new_chunks: int) -> None:
        """A task ended and gave its report; what a straggler's second copy did again does not count twice."""
        for failure in task_report.failures:
            self.failed(failure)
        self.core_s += task_report.seconds.get("cpu", 0.0)
        for stage in ("read", "process", "write"):
            self._times[f"task-{stage}"] += task_report.seconds.get(stage, 0.0)
        self._machines.add(task_report.machine)
        self.retried(task_report.retries)
        self.read_elsewhere(task_report.replicas)
        self.traffic.add(task_report.links)
        if new_chunks:
            self.parts.update([task_report.part] if task_report.part else [])
            self.computed += new_chunks
            self.events_computed += task_report.events
            self.bytes += task_report.disk_bytes

    def are_now(self, before: Plan, now: Plan) -> None:
        """The files of a plan are not what they were."""
        moved = {a.origin: b.origin for a, b in zip(before.sources, now.sources, strict=True) if a.origin != b.origin}
        self.origins = {**moved, **{first: moved.get(last, last) for first, last in self.origins.items()}}

    def dropped(self, computed: int, reused: int) -> None:
        """So many chunks of those that were there are not what their files hold."""
        self.computed -= computed
        self.reused -= reused

    def counts(self) -> Counts:
        """All that was counted, for a Tally elsewhere to `add`."""
        return Counts(
            computed=self.computed,
            reused=self.reused,
            events_computed=self.events_computed,
            bytes=self.bytes,
            core_s=self.core_s,
            machines=tuple(sorted(self._machines)),
            retries=tuple(self.retries),
            elsewhere=tuple(self._elsewhere),
            reads=tuple(sorted(self.reads)),
            warnings=tuple(self.warnings),
            times=self.rounded_times(),
            links=dict(self.traffic.links),
        )

    def add(self, counts: Counts) -> None:
        """Count what another Runner of the run did."""
        self.computed += counts.computed
        self.reused += counts.reused
        self.events_computed += counts.events_computed
        self.bytes += counts.bytes
        self.core_s += counts.core_s
        self._machines.update(counts.machines)
        self.retried(counts.retries)
        self.read_elsewhere(counts.elsewhere)
        self.reads.update(counts.reads)
        self.warnings += counts.warnings
        for stage, seconds in counts.times.items():
            self.add_time(stage, seconds)
        self.traffic.add(counts.links)

    def retried(self, requests: Sequence[str]) -> None:
        """Requests for files, or to the store, that were made again, each with the reason."""
        self.retries += requests

    def read_elsewhere(self, replicas: Sequence[str]) -> None:
        """Replicas that were read for others, each with the reason."""
        self._elsewhere |= dict.fromkeys(replicas)

    def collected(self, plan: Plan, have: NDArray[np.bool_]) -> None:
        """What of the plan is in the result."""
        self._have = have
        self.events_seen = int(np.sum(plan.table[:, 2] - plan.table[:, 1], where=have))

    def outcome(self, results: Mapping[str, Result], result: str | None, *, cancelled: bool) -> Outcome:
        """The Outcome of what was counted."""
        expected = (self._plan.events if self._plan else 0) + sum(f.entries or 0 for f in self._whole_sources())
        merged = sum(r.events for r in results.values())
        if self._plan is not None and not self.must_stop and not cancelled:
            self._account(merged, expected)
            if not self.manifest.settings.limits:
                self._check_weights(results)
        if len(self._machines) > 1:
            kinds = ", ".join(sorted(self._machines))
            self.warnings.append(f"workers were of different kinds ({kinds}): sums agree to 1e-12, not bit by bit")
        if self.failures and self.over_quota and self.manifest.settings.on_bad == "skip":
            self.warnings.append(
                f"{self._bad} of {len(self.manifest.dataset.sources)} sources are bad, more than may be skipped "
                f"(max_bad={self.manifest.settings.max_bad:g}): mend the dataset, or raise --max-bad"
            )
        if self._elsewhere:
            self.warnings.append(f"replicas were read in place of others: {_some(list(self._elsewhere))}")
        if cancelled:
            self.warnings.append("cancelled by its user; finished chunks are kept, and the next run reuses them")
        samples = self.manifest.dataset.samples
        weighted = {s.name: self._is_weighted(s.name, s.weight) for s in samples}
        of = {s.name: results.get(s.name, Result()) for s in samples}
        weights = [w for s in samples for w in weight_warnings(s, of[s.name], weighted=weighted[s.name])]
        warnings = [*self.warnings, *weights, *_empty_selections(results)]
        unkeyed = [*self.manifest.unnamed, *sorted(self.reads)]
        warnings += [f"the parts of this run will not be reused by another run: {what}" for what in unkeyed]
        digest = sha256_in(result) if result else None
        summary = RunSummary(
            run=self.manifest.run,
            status=self._status(merged, cancelled=cancelled),
            analysis=report.AnalysisIdentity(
                self.manifest.analysis, self.manifest.analysis_version, self.manifest.code
            ),
            site=self.manifest.site,
            parameters=dict(self.manifest.parameters),
            events=report.Events(merged, expected),
            chunks=report.Chunks(self.total, self.computed, self.reused, self._failed_chunks()),
            result_sha256=digest,
            cutflow=_cutflow(results),
            failures=tuple(report.ReportedFailure(f.file, _span(f), f.kind, f.reason, f.detail) for f in self.failures),
            bytes=self.bytes,
            time_s=self.rounded_times(),
            events_per_s_per_core=self.events_computed / self.core_s if self.core_s > 0 else None,
            versions=self._versions(),
            files=self._files(),
            warnings=tuple(dict.fromkeys(warnings)),
            recomputed=self.recomputed,
            read_retries=len(self.retries),
            retried=_some(self.retries),
            trees=chosen_trees(self._plan) if self._plan else (),
            links=tuple(report.LinkTraffic(link, *moved) for link, moved in sorted(self.traffic.links.items())),
            labels=dict(self.manifest.labels),
            limits_given=self.manifest.settings.limits,
            provenance={"date": self.manifest.created, **self.manifest.provenance},
        )
        files = summary.files
        told = tuple(
            sample_summary(s, of[s.name], [f for f in files if f.sample == s.name], weighted=weighted[s.name])
            for s in samples
        )
        if summary.limits_given:
            told = tuple(replace(s, scale=None, unscaled_because=_OF_A_TEST) for s in told)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], self._have, [False]]).astype(np.int8)))
        chunks = tuple((int(first), int(last)) for first, last in edges.reshape(-1, 2))
        return Outcome(
            replace(summary, samples=told), result, tuple(self.failures), chunks=chunks, origins=self.origins
        )

    def _is_weighted(self, sample: str, weight: str | None) -> bool | None:
        """Whether the analysis reads the weights of a sample; None where it does so in some of its files."""
        sources = self._plan.sources if self._plan else ()
        reads = {weight in s.reading.given for s in sources if s.sample == sample}
        return None if len(reads) > 1 else reads != {False}

    def _check_weights(self, results: Mapping[str, Result]) -> None:
        """A sample whose weights cancel has no normalisation: its weight column is not what the dataset says."""
        incomplete = {f.sample for f in self._files() if f.seen != f.expected}
        for sample in self.manifest.dataset.samples:
            if sample.name not in incomplete and sums_to_zero(sample, results.get(sample.name, Result())):
                reason = f"sample {sample.name!r}: its weights {sample.weight!r} sum to 0 and cannot normalise it"
                self.failed(Failure(self.manifest.dataset.name, "", "weights", f"{reason}; name another weight column"))

    def _account(self, merged: int, expected: int) -> None:
        """Every expected event is in the result or part of a named failure; what is neither is a further failure."""
        spans = {(f.sample, f.file, f.start): f.entries or 0 for f in self.failures if f.kind != "duplicate"}
        named = sum(spans.values())
        if merged + named != expected:
            reason = f"{merged} events are in the result and {named} in named failures, but {expected} were expected"
            self.failed(Failure(self.manifest.dataset.name, "", "incomplete", reason))

    def _status(self, merged: int, *, cancelled: bool) -> Status:
        if cancelled or self.must_stop:
            return "failed" if self.must_stop else "cancelled"
        if self.manifest.settings.limits and not self.failures:
            return "test"
        # A part of nothing is nothing.
        return "complete" if not self.failures else "partial" if merged else "failed"

    def _whole_sources(self) -> list[Failure]:
        return [f for f in self.failures if f.start is None and f.sample and f.kind != "duplicate"]

    def _failed_chunks(self) -> int:
        return sum(f.start is not None for f in self.failures)

    def _versions(self) -> dict[str, str]:
        ours = {"vrecompute": version("vrecompute"), "python": python_version()}
        return {**ours, **self.manifest.numerics, **{n: version(n) for n in ("dask", "distributed")}}

    def _files(self) -> tuple[report.FileSummary, ...]:
        files = []
        for number, source in enumerate(self._plan.sources if self._plan else ()):
            rows = slice(*self._plan.offsets[number : number + 2]) if self._plan else slice(0)
            widths = self._plan.table[rows, 2] - self._plan.table[rows, 1] if self._plan else np.zeros(0)
            seen = int(np.sum(widths, where=self._have[rows]))
            files.append(report.FileSummary(source.path, source.sample, seen, source.end))
        files += [report.FileSummary(f.file, f.sample, 0, f.entries) for f in self._whole_sources()]
        return tuple(files)


def _span(failure: Failure) -> tuple[int, int] | None:
    return None if failure.start is None or failure.stop is None else (failure.start, failure.stop)


def _cutflow(results: Mapping[str, Result]) -> dict[str, dict[str, float]]:
    """The cutflow of all samples together; each sample's own is in the result."""
    total = Result()
    for result in results.values():
        total = total + Result(cutflow=result.cutflow)
    return total.cutflow


def _some(retries: Sequence[str]) -> str:
    """The first three different ones, and how many more."""
    told = list(dict.fromkeys(retries))
    return "; ".join(told[:3]) + (f"; and {len(told) - 3} more" if len(told) > 3 else "")


def _empty_selections(results: Mapping[str, Result]) -> list[str]:
    return [
        f"sample {sample!r}: no event passes the selection of channel {channel!r}"
        for sample, result in results.items()
        for channel, cuts in result.cutflow.items()
        if result.events and cuts and not list(cuts.values())[-1]
    ]
