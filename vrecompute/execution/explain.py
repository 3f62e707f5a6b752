"""`explain`: what a run would read and cost, from catalogue and cache alone; it opens no file and starts no job."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vrecompute.analysis import Analysis
from vrecompute.errors import StoreError
from vrecompute.execution.collect import Collector
from vrecompute.execution.failure import Failure
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.plan import Plan, PlannedSource
from vrecompute.execution.preflight import PreflightContext, known_sources, plan_grid, settled
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

    `dataset` says what became of each thing that the user named. `bad` are sources that the run could not use, and why.
    `memory_bytes` is the estimated peak of one worker; `seconds` the estimated wall time on `threads`, None where no
    earlier run measured a rate or no source is known. Bytes are of the declared columns, in chunks that are not stored
    already. `why` says what changed since an earlier run whose chunks would else be reused.
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
    bad: tuple[str, ...] = ()

    def __str__(self) -> str:
        from vrecompute.wording import bytes_text, count_text

        to_read = f"{bytes_text(self.disk_bytes)} on disk, {bytes_text(self.data_bytes)} decoded"
        if self.chunks_stored == self.chunks and not self.sources_unknown:
            to_read = "nothing: every chunk is stored already"
        rate = "unknown: no run in this store has measured a rate of this analysis yet"
        time = rate if self.seconds is None else f"about {self.seconds:.0f} s on {self.threads} threads"
        rows = [
            *_listed("dataset", self.dataset),
            ("sources", f"{count_text(self.sources)} ({count_text(self.sources_unknown)} not opened yet)"),
            ("events", self._known(count_text(self.events))),
            (
                "chunks",
                self._known(f"{count_text(self.chunks)}, {count_text(self.chunks_stored)} of them stored already"),
            ),
            ("to read", self._known(to_read)),
            ("memory", f"about {bytes_text(self.memory_bytes)} a worker"),
            ("time", time if self.seconds is None and self._known_sources else self._known(time)),
            *_listed("bad", self.bad),
        ]
        if self.why:
            rows.append(("anew", self.why))
        if self.sources_unknown:
            rows.append(("unknown", "what is in files that are not opened yet; the run's preflight opens them"))
        width = max(len(name) for name, _ in rows)
        text = "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
        return f"{text}\n\n{self.script}" if self.script else text

    @property
    def _known_sources(self) -> int:
        return self.sources - self.sources_unknown - len(self.bad)

    def _known(self, text: str) -> str:
        """`text` of the sources that are known, and how many are not."""
        files = f"{self.sources_unknown} {'file' if self.sources_unknown == 1 else 'files'}"
        if not self.sources_unknown:
            return text
        return f"{text}, without {files} not opened" if self._known_sources else f"not known yet: {files} not opened"


def _listed(name: str, lines: tuple[str, ...]) -> list[tuple[str, str]]:
    more = [("", f"and {len(lines) - _MOST} more")] if len(lines) > _MOST else []
    return [(name, line) for line in lines[:_MOST]] + more


def explain(
    store: Store, manifest: Manifest, analysis: Analysis, site: Site, workers: int | None, script: str
) -> Explanation:
    """What carrying out `manifest` would take; `script` is that of its jobs."""
    views = sample_views(manifest)
    samples = {s.name: s for s in manifest.dataset.samples}
    work = work_key(manifest, analysis)
    context = PreflightContext(analysis, samples, views, work, manifest.settings.chunk_bytes, store.url)
    known = settled(context, manifest.dataset.sources, lambda c, sources: known_sources(c, store, sources))
    planned = [source for source in known if isinstance(source, PlannedSource)]
    bad = [source for source in known if isinstance(source, Failure)]
    planned += [plan_grid(g, s, views[s.name]) for g in manifest.grids for s in samples.values()]
    plan = Plan.of(work, manifest.dataset.samples, planned, manifest.settings.chunk_bytes)
    found = stock(store, plan, manifest.run, lambda sources: {}, takes=False)
    plan, collector = found.plan, found.collector if manifest.settings.reuse else Collector(plan)
    unknown = sum(source is None for source in known)
    rate = _measured_rate(store, manifest.analysis)
    new = plan.table[~collector.have]
    # more than there are chunks have nothing to do
    threads = min(SiteLimits(site).workers(workers) * site.workers.threads, max(1, len(new)))
    events = new[:, 2] - new[:, 1]
    shares = events / np.array([s.entries or 1 for s in plan.sources], dtype=np.float64)[new[:, 0]]
    data_bytes, disk_bytes = (
        int(np.rint(np.array(sizes, dtype=np.float64)[new[:, 0]] * shares).sum())
        for sizes in ([s.data_bytes for s in plan.sources], [s.disk_bytes for s in plan.sources])
    )
    return Explanation(
        dataset=manifest.dataset.notes,
        sources=len(planned) + len(bad) + unknown,
        sources_unknown=unknown,
        events=plan.events,
        chunks=plan.chunks,
        chunks_stored=int(collector.have.sum()),
        data_bytes=data_bytes,
        disk_bytes=disk_bytes,
        memory_bytes=_PROCESS_BYTES + _CHUNK_COPIES * manifest.settings.chunk_bytes * site.workers.threads,
        threads=threads,
        seconds=int(events.sum()) / rate / threads if rate and planned else None,
        script=script,
        why=why_anew(store, manifest, analysis, plan, len(new) + unknown, 0 if unknown else plan.chunks),
        bad=tuple(str(failure) for failure in bad),
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
