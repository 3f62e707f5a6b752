"""`explain`: what a run would read and cost, from catalogue and cache alone; it opens no file and starts no job."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vrecompute import reader
from vrecompute.analysis import Analysis
from vrecompute.datasets.dataset import Dataset, Source
from vrecompute.datasets.find_files import There, is_url
from vrecompute.errors import StoreError, UnreadableFile
from vrecompute.execution.collect import Collector
from vrecompute.execution.credentials import short_lived
from vrecompute.execution.failure import Failure
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.plan import PlannedSource
from vrecompute.execution.planning import planned
from vrecompute.execution.planwarnings import chosen_trees
from vrecompute.execution.preflight import PreflightContext, known_sources
from vrecompute.execution.runlog import outcomes
from vrecompute.execution.stock import Proofs, stock
from vrecompute.execution.tally import Tally
from vrecompute.execution.wholefile import kept_digest
from vrecompute.execution.whyanew import why_anew
from vrecompute.execution.workkey import sample_views, work_key
from vrecompute.sites.access import Access
from vrecompute.sites.limits import SiteLimits
from vrecompute.sites.model import Site
from vrecompute.stores.base import Store

__all__ = ["Explanation", "explain", "threads_that_fit"]

# Decoded arrays, decompression buffers and the kernel's copies, in units of `chunk_bytes` for each thread.
_CHUNK_COPIES = 3
_PROCESS_BYTES = 350 << 20
# Of so many files elsewhere it is asked what a store elsewhere knows: a few commands there for each.
_MOST_THERE = 200
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
    earlier run measured a rate or no source is known. Bytes are of the declared columns, in the `chunks_new` that are
    to be computed. At most `chunks_in_doubt` of these are in the store after all: their files are like earlier ones,
    and the run compares the data first. `links` are those bytes by link, that of each source's first
    address; heads of files, gaps between columns, and samples that prove a file's content come besides. Where the run
    would compute nothing, `stops` says why. `why` says what changed since an earlier run whose chunks would else be
    reused. `not_looked` says why files elsewhere were not seen.
    `credentials` says which would end before the run does.
    `shares` is how many jobs compute a part each; 0 where workers get tasks as they go. `trees` say which are read of
    files that hold several. `rate_of` is the run that `seconds` are estimated from, where its code was another.
    `events_declared` are those of all sources by the dataset's own word; None where it does not say it of each.
    """

    dataset: tuple[str, ...]
    sources: int
    sources_unknown: int
    events: int
    chunks: int
    chunks_stored: int
    chunks_new: int
    chunks_in_doubt: int
    data_bytes: int
    disk_bytes: int
    memory_bytes: int
    threads: int
    seconds: float | None
    script: str
    why: str = ""
    bad: tuple[str, ...] = ()
    stops: str = ""
    not_looked: str = ""
    links: Mapping[str, int] = field(default_factory=dict)
    credentials: tuple[str, ...] = ()
    shares: int = 0
    trees: tuple[str, ...] = ()
    rate_of: str = ""
    events_declared: int | None = None

    def __str__(self) -> str:
        from vrecompute.wording import bytes_text, count_text

        to_read = f"{bytes_text(self.disk_bytes)} on disk, {bytes_text(self.data_bytes)} decoded"
        if self.chunks_stored == self.chunks and not self.sources_unknown:
            to_read = "nothing: every chunk is stored already"
        if self.chunks_in_doubt:
            doubted = count_text(self.chunks_in_doubt)
            to_read += f"; less for up to {doubted} chunks, if their data prove to be those of stored ones"
        if self.stops:
            to_read = f"nothing: {self.stops}"
        rate = "unknown: no run in this store has measured a rate of this analysis yet"
        time = rate if self.seconds is None else f"about {self.seconds:.0f} s on {self.threads} threads"
        if self.seconds and self.rate_of:
            time += f", at the speed of run {self.rate_of}, whose code was another"
        rows = [
            *_listed("dataset", self.dataset),
            ("sources", f"{count_text(self.sources)} ({count_text(self.sources_unknown)} not opened yet)"),
            *_listed("tree", self.trees),
            ("events", self._events()),
            (
                "chunks",
                self._known(f"{count_text(self.chunks)}, {count_text(self.chunks_stored)} of them stored already"),
            ),
            ("to read", self._known(to_read)),
            *_listed(
                "moves",
                tuple(
                    f"{bytes_text(size)} of columns from {link}; heads of files and gaps between columns come besides"
                    for link, size in self.links.items()
                    if link != "file://"
                ),
            ),
            ("memory", f"about {bytes_text(self.memory_bytes)} a worker"),
            ("time", time if self.seconds is None and self._known_sources else self._known(time)),
            *_listed("credentials", self.credentials),
            *([("shares", f"{count_text(self.shares)} independent jobs, as below")] if self.shares else []),
            *_listed("bad", self.bad),
        ]
        if self.why:
            rows.append(("anew", self.why))
        if self.sources_unknown:
            unknown = "what is in files that are not opened yet; the run's preflight opens them"
            rows.append(("unknown", self.not_looked or unknown))
        width = max(len(name) for name, _ in rows)
        text = "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
        return f"{text}\n\n{self.script}" if self.script else text

    def _events(self) -> str:
        """How many, by files or, where not all of them were opened, by the dataset."""
        from vrecompute.wording import count_text

        if not self.sources_unknown or self.events_declared is None:
            return self._known(count_text(self.events))
        files = f"{self.sources_unknown} {'file' if self.sources_unknown == 1 else 'files'}"
        return f"{count_text(self.events_declared)}, as the dataset says; {files} not opened"

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


class _Memory:
    """The eyes of who opens nothing: what the store knows of files, by their origins."""

    def __init__(self, store: Store, origin_of: Callable[[str], str]) -> None:
        self.store = store
        self.origin_of = origin_of
        self.unproved: list[PlannedSource] = []

    def look(self, context: PreflightContext, sources: Sequence[Source]) -> list[PlannedSource | Failure | None]:
        return known_sources(context, self.store, sources)

    def whole(self, alike: Sequence[PlannedSource]) -> dict[str, str | None]:
        return {s.path: kept_digest(self.store, self.origin_of(s.places[0]), "sha256") for s in alike}

    def prove(self, sources: Sequence[PlannedSource]) -> Proofs:
        self.unproved += sources
        return {}


def _origins_there(access: Access, dataset: Dataset) -> tuple[Callable[[str], str], str]:
    """Origins of files as that machine sees them, which is asked once; and why it was not asked, if so.

    Those of other schemes are as this machine sees them.
    """
    paths = [a for source in dataset.sources for a in source.addresses if not is_url(a)]
    stamps, not_looked = {}, ""
    if len(paths) > _MOST_THERE:
        not_looked = f"what is in {len(paths)} files on {access}: of more than {_MOST_THERE} none is looked at there"
    else:
        try:
            stamps = There(access).stamps(paths)
        except ValueError:
            not_looked = f"what is in the files on {access}: its `stat` tells no times in ns (GNU coreutils do)"

    def origin_of(address: str) -> str:
        if is_url(address):
            return reader.origin_of(address)
        if address not in stamps:
            raise UnreadableFile(address, f"cannot be seen on {access}")
        return reader.origin_at(address, stamps[address])

    return origin_of, not_looked


def explain(
    store: Store,
    manifest: Manifest,
    analysis: Analysis,
    site: Site,
    workers: int | None,
    script: str,
    access: Access | None = None,
    job_s: int | None = None,
) -> Explanation:
    """What carrying out `manifest` would take; `script` is that of its jobs. With `access` the files are there.

    `job_s` is the walltime of its jobs, where it has any.
    """
    samples = {s.name: s for s in manifest.dataset.samples}
    work = work_key(manifest, analysis)
    origin_of, not_looked = (reader.origin_of, "") if access is None else _origins_there(access, manifest.dataset)
    settings = manifest.settings
    context = PreflightContext(
        analysis, samples, sample_views(manifest), work, settings.chunk_bytes, store.url, origin_of=origin_of
    )
    memory, tally = _Memory(store, origin_of), Tally(manifest)
    seen = planned(manifest, context, memory)
    for failure in seen.failures:
        tally.failed(failure)
    unknown, bad = seen.unknown, tuple(map(str, seen.failures))
    found = stock(store, seen.plan, manifest.run, memory.prove, takes=False)
    plan, collector = found.plan, found.collector if settings.reuse else Collector(found.plan)
    left = np.zeros(plan.chunks, dtype=bool) if tally.must_stop else ~collector.have
    unproved = {source.proof for source in memory.unproved} if settings.reuse else set()
    doubted = left & np.array([s.proof in unproved for s in plan.sources], dtype=bool)[plan.table[:, 0]]
    rate, rate_of = _measured_rate(store, manifest)
    new = plan.table[left]
    # more than there are chunks have nothing to do
    most = manifest.shares * site.workers.cores or SiteLimits(site).workers(workers) * site.workers.threads
    threads = min(most, max(1, len(new)))
    events = new[:, 2] - new[:, 1]
    shares = events / np.array([s.entries or 1 for s in plan.sources], dtype=np.float64)[new[:, 0]]
    bytes_of = {
        kind: np.rint(np.array([getattr(s, kind) for s in plan.sources], dtype=np.float64)[new[:, 0]] * shares)
        for kind in ("data_bytes", "disk_bytes")
    }  # as tasks count
    seconds = int(events.sum()) / rate / threads if rate and plan.sources else None
    ends, of = max((seconds or 0, "the run"), (job_s or 0, "the job"))
    links: dict[str, int] = {}
    for number, size in zip(new[:, 0].tolist(), bytes_of["disk_bytes"].astype(np.int64).tolist(), strict=True):
        link = reader.link_of(plan.sources[number].path)
        links[link] = links.get(link, 0) + size
    return Explanation(
        dataset=manifest.dataset.notes,
        sources=len(plan.sources) + len(bad) + unknown,
        sources_unknown=unknown,
        events=plan.events,
        chunks=plan.chunks,
        chunks_stored=int(collector.have.sum()),
        chunks_new=len(new),
        chunks_in_doubt=int(doubted.sum()),
        data_bytes=int(bytes_of["data_bytes"].sum()),
        disk_bytes=int(bytes_of["disk_bytes"].sum()),
        memory_bytes=_PROCESS_BYTES + _CHUNK_COPIES * manifest.settings.chunk_bytes * site.workers.threads,
        threads=threads,
        seconds=seconds,
        script=script,
        why=why_anew(store, manifest, analysis, plan, len(new), unknown),
        bad=bad,
        not_looked=not_looked,
        links=links,
        credentials=tuple(short_lived(store, manifest.dataset, time.time() + ends, of).values()),
        shares=manifest.shares,
        trees=chosen_trees(plan),
        rate_of=rate_of,
        events_declared=_declared(manifest),
        stops="a run ends at bad sources, unless it is to skip them" if tally.must_stop else "",
    )


def _declared(manifest: Manifest) -> int | None:
    """How many events the dataset says that all its sources have; None where it does not, or a run takes fewer."""
    told = [source.entries for source in manifest.dataset.sources]
    known = [entries for entries in told if entries is not None]
    limited = manifest.settings.max_events is not None or manifest.grids
    return None if limited or not known or len(known) < len(told) else sum(known)


def _measured_rate(store: Store, manifest: Manifest) -> tuple[float | None, str]:
    """Events per second and core of the latest run of this analysis in the store, and its name if its code differs."""
    for run in reversed(store.children("runs")):
        try:
            ended, _ = outcomes(store, run)
        except StoreError:
            continue
        for summary in (e.outcome.summary for e in ended):
            if summary.analysis.name == manifest.analysis and summary.events_per_s_per_core:
                return summary.events_per_s_per_core, "" if summary.analysis.digest == manifest.code else run
    return None, ""
