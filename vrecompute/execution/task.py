"""What a worker does: a range of chunks is read, processed, merged along the tree and made durable as one part."""

from __future__ import annotations

import os
import platform
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np

from vrecompute import reader
from vrecompute.analysis import Analysis
from vrecompute.analysis.code import Code, difference, remedy
from vrecompute.analysis.entropy import is_drawn_from, shared_generator
from vrecompute.analysis.filereads import WORKING_DIRECTORY
from vrecompute.analysis.processreads import Reads
from vrecompute.analysis.unseeded import DRAWN, INSTEAD_IN_LIBRARY
from vrecompute.datasets.columns import THIS_FILE, Column, Columns, data_digest
from vrecompute.datasets.facts import SeenSample
from vrecompute.digest import numerics
from vrecompute.errors import AnalysisError, BadInput, DamagedObject, StoreError
from vrecompute.execution.anew import Sent
from vrecompute.execution.events import count_certified, events_given, sum_of_weights
from vrecompute.execution.failure import Failure, failure_of
from vrecompute.execution.origins import origin_after, origin_before
from vrecompute.execution.parts import PartNode, Piece, note_impurity, write_part
from vrecompute.execution.plan import Plan, PlannedSource
from vrecompute.execution.purity import ChunkOf, Impure, Purity, Work
from vrecompute.execution.replicas import gave_last, note_replicas, read_somewhere
from vrecompute.execution.skim import write_tables
from vrecompute.results.check import check_result
from vrecompute.results.result import Result
from vrecompute.results.tree import MergeTree, Node
from vrecompute.stores.address import open_store
from vrecompute.stores.base import Store
from vrecompute.stores.copies import local_copy
from vrecompute.stores.objects import read_content, set_aside
from vrecompute.utf8text import utf8
from vrecompute.workers.drain import leave_soon
from vrecompute.workers.walltime import Pace, allocation

__all__ = ["TaskContext", "TaskReport", "compute", "process_chunk", "process_events", "read_chunk"]

_PACE = Pace()
_ONE = threading.Lock()

_MIXED = "results of different versions are never mixed"


@dataclass(frozen=True)
class TaskContext:
    """All that tasks of a run share; sent to each worker once. `resources` and `certified` are as in the Manifest.

    `code` are digests of all that the analysis reaches, by name. `ends` is when the Runner's own allocation ends, in
    seconds since 1970; None where it does not. `run` is the run's id, `own` the analysis' package, `folder` the working
    directory that it was asked for in, `unnamed` what no key holds. `reads` and `purity` are of this process, as its
    analysis is, and `sent` is what that was made of.
    """

    plan: Plan
    analysis: Analysis
    store_url: str
    resources: Mapping[str, str] = field(default_factory=dict)
    certified: Mapping[str, str] = field(default_factory=dict)
    numerics: Mapping[str, str] = field(default_factory=dict)
    ends: float | None = None
    code: Mapping[str, str] = field(default_factory=dict)
    run: str = "none"
    own: str = ""
    folder: str = ""
    unnamed: tuple[str, ...] = ()
    reads: Reads = field(default_factory=Reads, compare=False)
    purity: Purity = field(default_factory=Purity, compare=False)
    sent: Sent | None = field(default=None, compare=False)

    @cached_property
    def other(self) -> str:
        """What here is not what it is for the Runner, libraries or code, and what to do; empty where all is."""
        here = numerics(self.numerics)
        if self.numerics and here != self.numerics:
            return f"{_difference(self.numerics, here)}; {_MIXED}: {remedy(())}"
        code = self.analysis.code(looks=False) if self.code else Code({})
        for memory in code.memories.values():
            memory.cache_clear()  # of an installed analysis, another run here may have left something in it
        differing = difference(self.code, code.parts) if self.code else []
        what = ", ".join(differing[:3])
        return f"different code of {what}; {_MIXED}: {remedy(differing, self.unnamed)}" if differing else ""

    @cached_property
    def tells_of_draws(self) -> bool:
        """Whether the text says of the analysis that it draws random numbers, or gives numpy's own generator a seed."""
        return any(DRAWN in told for told in self.unnamed) or "numpy.random" in self.analysis.code().seeds


@dataclass(frozen=True)
class TaskReport:
    """What a task did: the part it wrote, the chunks in it, what failed, and what it cost.

    `seconds` is wall time by stage (`read`, `process`, `merge`, `write`), `wall` for all of it, and its `cpu` time.
    `longest_s` is of its longest chunk. Chunks from `left` on were not started, for want of time; `leaves` says
    whether the worker makes room for another, as it does unless its time is the Runner's own. `retries` names the file
    and the reason of each read or store request that was tried again, `replicas` those that were read in place of
    others; `origins` are what the store has of sources that were read there, and did not change meanwhile. `links` are
    bytes and requests by link.
    """

    part: str | None
    done: tuple[int, ...]
    failures: tuple[Failure, ...]
    events: int
    data_bytes: int
    disk_bytes: int
    seconds: Mapping[str, float]
    worker: str
    machine: str
    longest_s: float = 0.0
    left: int | None = None
    leaves: bool = False
    retries: tuple[str, ...] = ()
    replicas: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    links: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Whether there was no time for any of the task: a copy of it elsewhere may do better."""
        return self.left is not None and not self.part and not self.failures


def compute(
    context: TaskContext, first: int, last: int, chunk_s: float = 0.0, *, from_start: bool = False
) -> TaskReport:
    """Compute chunks [first, last) of the plan and give the report; failures of chunks are data, not exceptions.

    The first failure of the analysis' own code ends the task: the next chunk would fail alike. So does the end
    of this worker's time: a chunk that would outlive it is not started; see `Pace.fits` for the other two.
    """
    with _ONE:  # before any of its threads changes something
        other = context.other
    if other:
        return _refused(context, first, last, other)
    store = open_store(context.store_url)
    seconds = dict.fromkeys(("read", "process", "merge", "write"), 0.0)
    began, cpu = time.perf_counter(), time.thread_time()
    retries, notes, traffic = reader.count_retries(), note_replicas(), reader.count_traffic()
    origins: list[str] = []
    nodes: list[PartNode] = []
    done: list[int] = []
    failures: list[Failure] = []
    events = data_bytes = disk_bytes = 0
    longest_s = 0.0
    left: int | None = None
    for number, begin, end in context.plan.slices(first, last):
        source = context.plan.sources[number]
        base = int(context.plan.offsets[number])
        tree: MergeTree[Result] = MergeTree(source.chunks)
        pieces: list[Piece] = []
        notes.origins.clear()
        before = origin_before(source)
        for leaf in range(begin, end):
            start, stop = source.bounds[leaf], source.bounds[leaf + 1]
            if not _PACE.fits(context.plan.work, chunk_s, from_start=from_start):
                left = base + leaf
                break
            chunk_began = _PACE.begins()
            try:
                following = source.bounds[leaf + 2] if leaf + 1 < end else None
                result, rows = process_chunk(context, source, start, stop, store, seconds, following)
                clock = time.perf_counter()
                tree.add(Node(0, leaf), result)
                pieces += rows
                seconds["merge"] += time.perf_counter() - clock
            # An analysis that calls sys.exit would end this thread, and one that raises KeyboardInterrupt its worker:
            # the task would never be heard of again.
            except (Exception, SystemExit, KeyboardInterrupt) as error:
                failures.append(
                    failure_of(error, source.path, source.sample, start=start, stop=stop, entries=stop - start)
                )
                if not failures[-1].skippable:
                    break
                continue
            longest_s = max(longest_s, _PACE.took(context.plan.work, chunk_began))
            done.append(base + leaf)
            events += stop - start
            share = (stop - start) / (source.entries or 1)
            data_bytes += round(source.data_bytes * share)
            disk_bytes += round(source.disk_bytes * share)
        origin, unchanged = origin_after(source, before, notes)
        origins += [origin] if unchanged else []
        nodes += [_part_node(source, node, value, origin, pieces) for node, value in tree.nodes.items()]
        if left is not None or (failures and not failures[-1].skippable):
            break
    clock = time.perf_counter()
    part = write_part(store, context.plan.work, nodes, context.run, context.reads.told) if nodes else None
    _PACE.wrote(context.plan.work, time.perf_counter() - clock)
    seconds["write"] += time.perf_counter() - clock
    seconds["cpu"] = time.thread_time() - cpu + traffic.cpu_s
    seconds["wall"] = time.perf_counter() - began
    facts = (part, tuple(done), tuple(failures), events, data_bytes, disk_bytes, seconds)
    leaves = left is not None and _makes_room(context)
    told = (tuple(retries), tuple(notes.told), tuple(origins), dict(traffic.links))
    return TaskReport(*facts, _worker_name(), machine_facts(), longest_s, left, leaves, *told)


def _part_node(source: PlannedSource, node: Node, value: Result, origin: str, pieces: list[Piece]) -> PartNode:
    leaves = node.leaves(source.chunks)
    first, last = source.bounds[leaves.start], source.bounds[leaves.stop]
    return PartNode(source.key, node, value, origin, tuple(p for p in pieces if first <= p.start < last))


def _makes_room(context: TaskContext) -> bool:
    """This worker has no time left. It leaves for another to come, unless the Runner has to end with it."""
    here = allocation()
    if here is None or (context.ends is not None and here.ends >= context.ends):
        return False
    leave_soon()
    return True


def process_chunk(
    context: TaskContext,
    source: PlannedSource,
    start: int,
    stop: int,
    store: Store,
    seconds: dict[str, float],
    following: int | None = None,
) -> tuple[Result, list[Piece]]:
    """The Result of one chunk, with `events` and `sum_of_weights` filled in, and where its skim rows were stored.

    The chunk after it, if it is read next, ends at `following`.
    """
    clock = time.perf_counter()
    columns = read_chunk(source, start, stop, store)
    if following is not None and (table := _table(store.url, source.sidecar)) is not None:
        reader.fetch_ahead(gave_last(source.places), table, source.columns, stop, following)
    digest = data_digest(columns)
    seconds["read"] += time.perf_counter() - clock
    clock = time.perf_counter()

    given = [columns]

    def processed(chunk: ChunkOf, analysis: Analysis) -> tuple[Result, str]:
        """Once of this chunk; then read anew, as `process` may have changed its events in place."""
        here = given.pop() if given else read_chunk(*chunk, store)
        of = context if analysis is context.analysis else replace(context, analysis=analysis)
        return process_events(of, chunk, here, store), digest if here is columns else data_digest(here)

    work = Work(context.analysis, processed, context.code, context.sent)
    try:
        result = context.purity.checked(work, (source, start, stop))
    except Impure as error:
        note_impurity(store, context.plan.work, str(error))
        raise
    result.data_digest = digest
    seconds["process"] += time.perf_counter() - clock
    clock = time.perf_counter()
    pieces = write_tables(store, result, context.plan.work, source.key, start, stop)
    seconds["write"] += time.perf_counter() - clock
    return result, pieces


def process_events(context: TaskContext, chunk: ChunkOf, columns: Mapping[str, Column], store: Store) -> Result:
    """The Result of the events that the dataset leaves of a chunk, whose columns were read; it still has its rows."""
    source, start, stop = chunk
    sample, facts = context.plan.sample(source.sample), context.analysis.reads_facts
    resources = {name: local_copy(store, stored) for name, stored in context.resources.items()}
    _check_folder(context)
    with context.reads.watching(context.own, folder=context.folder):
        variations = tuple(context.analysis.variations(SeenSample.of(sample, facts)))
    read = Columns(columns, sample, start, stop, variations, resources, source.path)
    weights = sum_of_weights(read, source.reading.weight)
    certified = context.certified.get(source.sample)
    events = events_given(read, source.reading, None if certified is None else local_copy(store, certified))
    place = source.path if "source" in facts else THIS_FILE
    seen = replace(events, sample=SeenSample.of(events.sample, facts), facts=facts, place=place)
    generator = shared_generator()
    with context.reads.watching(context.own, resources.values(), context.folder):
        result = check_result(context.analysis.process(seen))
    if is_drawn_from(generator) and not context.tells_of_draws:
        context.reads.tell("random", f"{DRAWN} without a seed, from numpy's own generator", "", INSTEAD_IN_LIBRARY)
    result.events = stop - start
    result.sum_of_weights = weights
    if source.reading.sections:
        count_certified(result, events, stop - start)
    return result


def _check_folder(context: TaskContext) -> None:
    """AnalysisError where the code depends on the working directory, and this is another than the run's."""
    asked = [told for told in context.unnamed if WORKING_DIRECTORY in told]
    if asked and context.folder and (here := utf8(os.getcwd())) != context.folder:
        raise AnalysisError(
            f"{asked[0].partition(';')[0]}. The worker runs in {here}, and the run was asked for in {context.folder}: "
            "write the whole path, or make it a parameter"
        )


def read_chunk(source: PlannedSource, start: int, stop: int, store: Store) -> dict[str, Column]:
    """The declared columns of entries [start, stop). Raises BadInput."""
    if source.kind == "grid":
        return {"index": Column(np.arange(start, stop, dtype=np.int64))}
    expect = reader.Identity(source.uuid, source.size, source.entries, source.content)
    table = _table(store.url, source.sidecar)
    what = (source.tree, source.columns, start, stop)
    columns = read_somewhere(source.places, lambda at: reader.read(at, *what, expect=expect, table=table))
    for name, column in columns.items():
        length = len(column.values) if column.offsets is None else len(column.offsets) - 1
        if length != stop - start:
            raise BadInput(source.path, f"column {name!r} gave {length} entries where {stop - start} were asked for")
    return columns


@lru_cache(maxsize=128)
def _table(url: str, sidecar: str) -> reader.Table | None:
    """The sidecar that preflight left, so that a worker parses no metadata; without it, it does."""
    store = open_store(url)
    try:
        return reader.table_from_bytes(read_content(store, sidecar)) if store.exists(sidecar) else None
    except DamagedObject as error:
        set_aside(store, sidecar, error)  # the next preflight makes it again
    except (StoreError, ValueError):
        pass
    return None


def _difference(wanted: Mapping[str, str], here: Mapping[str, str]) -> str:
    pairs = [f"{n} {here.get(n, 'absent')} (client: {v})" for n, v in sorted(wanted.items()) if here.get(n) != v]
    return ", ".join(pairs)


def _refused(context: TaskContext, first: int, last: int, difference: str) -> TaskReport:
    chunk = context.plan.chunk(first)
    failure = Failure(chunk.source, "", "environment", f"worker {_worker_name()} has {difference}")
    return TaskReport(None, (), (failure,), 0, 0, 0, {}, _worker_name(), machine_facts())


def _worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident() % 10000}"


@lru_cache(maxsize=1)
def machine_facts() -> str:
    """What besides library versions may move the last bit of a sum: architecture and C library."""
    return f"{platform.machine()} {' '.join(platform.libc_ver())}".strip()
