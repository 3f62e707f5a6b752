"""`explain`: what a run would read and cost, from catalogue and cache alone; it opens and starts nothing."""

from __future__ import annotations

from dataclasses import dataclass

from vrecompute.analysis import Analysis
from vrecompute.errors import StoreError
from vrecompute.execution.collect import Collector
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.plan import Plan
from vrecompute.execution.preflight import PreflightContext, cached_source, plan_grid, settled
from vrecompute.execution.runlog import outcomes
from vrecompute.execution.stock import stock
from vrecompute.execution.whyanew import why_anew
from vrecompute.execution.workkey import sample_views, work_key
from vrecompute.sites.limits import SiteLimits
from vrecompute.sites.model import Site
from vrecompute.stores.base import Store

__all__ = ["Explanation", "explain", "threads_that_fit"]

# Decoded arrays, decompression buffers and the kernel's copies, in units of `chunk_bytes` for each thread.
_CHUNK_COPIES = 3
_PROCESS_BYTES = 350 << 20
# Lines about what the user named.
_MOST = 12


def threads_that_fit(threads: int, memory_bytes: int | None, chunk_bytes: int) -> int:
    """How many of a worker's `threads` may each work a chunk within its memory; at least one.

    The number of threads gives way, never `chunk_bytes`: where chunks are cut must not depend on a site.

    >>> threads_that_fit(8, 2 << 30, 128 << 20)
    4
    """
    if memory_bytes is None:
        return threads
    return max(1, min(threads, (memory_bytes - _PROCESS_BYTES) // (_CHUNK_COPIES * chunk_bytes)))


@dataclass(frozen=True)
class Explanation:
    """What is known of a run before it starts. `sources_unknown` were never opened; they add to everything.

    `dataset` says what became of each thing that the user named.
    `memory_bytes` is the estimated peak of one worker; `seconds` the estimated wall time on `threads`, None
    where no earlier run measured a rate. Bytes are of the declared columns. `why` says what changed since an earlier
    run whose chunks would else be reused.
    """

    dataset: tuple[str, ...]
    sources: int
    sources_unknown: int
    events: int
    chunks: int
    chunks_stored: int
    data_bytes: int
    disk_bytes: int
    memory_bytes: int
    threads: int
    seconds: float | None
    script: str
    why: str = ""

    def __str__(self) -> str:
        from vrecompute.wording import bytes_text, count_text

        rows = [
            *(("dataset", note) for note in self.dataset[:_MOST]),
            *([("", f"and {len(self.dataset) - _MOST} more")] if len(self.dataset) > _MOST else ()),
            ("sources", f"{count_text(self.sources)} ({count_text(self.sources_unknown)} not opened yet)"),
            ("events", count_text(self.events)),
            ("chunks", f"{count_text(self.chunks)}, {count_text(self.chunks_stored)} of them stored already"),
            ("to read", f"{bytes_text(self.disk_bytes)} on disk, {bytes_text(self.data_bytes)} decoded"),
            ("memory", f"about {bytes_text(self.memory_bytes)} a worker"),
            ("time", _time_text(self.seconds, self.threads)),
        ]
        if self.why:
            rows.append(("anew", self.why))
        if self.sources_unknown:
            rows.append(("unknown", "events of the sources not opened yet; the run's preflight opens them"))
        width = max(len(name) for name, _ in rows)
        text = "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
        return f"{text}\n\n{self.script}" if self.script else text


def _time_text(seconds: float | None, threads: int) -> str:
    if seconds is None:
        return "unknown: no run in this store has measured a rate of this analysis yet"
    return f"about {seconds:.0f} s on {threads} threads"


def explain(
    store: Store, manifest: Manifest, analysis: Analysis, site: Site, workers: int | None, script: str
) -> Explanation:
    """What carrying out `manifest` would take; `script` is that of its jobs."""
    views = sample_views(manifest)
    samples = {s.name: s for s in manifest.dataset.samples}
    work = work_key(manifest, analysis)
    context = PreflightContext(analysis, samples, views, work, manifest.settings.chunk_bytes, store.url)
    known = settled(context, manifest.dataset.sources, lambda o, sources: [cached_source(o, store, s) for s in sources])
    planned = [source for source in known if source is not None]
    planned += [plan_grid(g, s, views[s.name]) for g in manifest.grids for s in samples.values()]
    plan = Plan.of(work, manifest.dataset.samples, planned, manifest.settings.chunk_bytes)
    found = stock(store, plan, lambda sources: {})
    plan, collector = found.plan, found.collector if manifest.settings.reuse else Collector(plan)
    threads = SiteLimits(site).workers(workers) * site.workers.threads
    rate = _measured_rate(store, manifest.analysis)
    left = 1 - int(collector.have.sum()) / plan.chunks if plan.chunks else 1.0
    missing = plan.chunks - int(collector.have.sum()) + sum(s is None for s in known)
    return Explanation(
        dataset=manifest.dataset.notes,
        sources=len(known) + len(planned) - sum(s is not None for s in known),
        sources_unknown=sum(s is None for s in known),
        events=plan.events,
        chunks=plan.chunks,
        chunks_stored=int(collector.have.sum()),
        data_bytes=sum(s.data_bytes for s in plan.sources),
        disk_bytes=sum(s.disk_bytes for s in plan.sources),
        memory_bytes=_PROCESS_BYTES + _CHUNK_COPIES * manifest.settings.chunk_bytes * site.workers.threads,
        threads=threads,
        seconds=plan.events * left / rate / threads if rate else None,
        script=script,
        why=why_anew(store, manifest, analysis, missing, plan.chunks if all(known) else 0),
    )


def _measured_rate(store: Store, analysis: str) -> float | None:
    """Events per second and core of the latest run of this analysis in the store."""
    for run in reversed(store.children("runs")):
        try:
            ended, _ = outcomes(store, run)
        except StoreError:
            continue
        for summary in (e.outcome.summary for e in ended):
            if summary.analysis.name == analysis and summary.events_per_s_per_core:
                return summary.events_per_s_per_core
    return None
