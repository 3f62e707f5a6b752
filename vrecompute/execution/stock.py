"""`stock`: which parts of a plan the store has already, computed from the very data that its sources hold now.

A part tells the file it was read from, by address and stamp, and a digest of the columns it was made of. A node of
the same file at the same stamp is taken as it is. Any other (a copy, a file that was touched, moved or rewritten in
place) is taken only where the columns of today have the same digest, for which they are read; that is remembered by
stamp, in `PlannedSource.proof`. A source that proves to hold other data than its parts gets another key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vrecompute.datasets.columns import data_digest
from vrecompute.digest import sha256_json
from vrecompute.errors import ChangedFile, DamagedObject, StoreError, UnreadableFile
from vrecompute.execution.collect import Collector
from vrecompute.execution.origins import is_gone, is_one_file, origin_after, origin_before
from vrecompute.execution.parts import PartNode, read_part, stored_parts
from vrecompute.execution.plan import Plan, PlannedSource
from vrecompute.execution.replicas import replica_notes
from vrecompute.execution.task import read_chunk
from vrecompute.results.result import Result
from vrecompute.results.tree import MergeTree, Node
from vrecompute.stores.address import open_store
from vrecompute.stores.base import Store
from vrecompute.stores.objects import intact, read_document, write_document

__all__ = [
    "Proofs",
    "Stock",
    "chunk_digests",
    "in_batches",
    "is_of",
    "kept",
    "remember",
    "remembered",
    "rewritten",
    "source_digests",
    "stock",
]

_BATCH = 16

Proofs = dict[str, tuple[str, ...]]
"""Digests of the data of all chunks of sources, by `PlannedSource.proof`; none where they could not be read."""

Batch = tuple[PlannedSource, int, int]


@dataclass
class Stock:
    """The plan, in which sources that hold other data than their parts have keys of their own, and what is there.

    `parts` are the names of those that were taken. `damaged` are the names of parts, and of rows that parts tell of,
    that are not what was written, and why. `reads` is what no key holds and is in what is there, which is then of this
    run.
    """

    plan: Plan
    collector: Collector
    damaged: dict[str, DamagedObject] = field(default_factory=dict)
    reads: set[str] = field(default_factory=set)
    parts: set[str] = field(default_factory=set)


def stock(
    store: Store,
    plan: Plan,
    run: str,
    prove: Callable[[Sequence[PlannedSource]], Proofs],
    *,
    settled: bool = False,
    takes: bool = True,
    within: range | None = None,
) -> Stock:
    """What the store has of `plan` for a run; a `settled` plan stays as it is. `within`: of these chunks alone.

    Who `takes` it has it count as used today. `prove` is asked at most once for each source; what it does not tell is
    not taken. Raises ValueError where stored Results cannot be combined.
    """
    proofs: Proofs = {}
    while True:
        found = Stock(plan, Collector(plan))
        strangers = _take(store, found, run, proofs, takes=takes, within=within)
        left = {s.proof: s for s in strangers if s.proof not in proofs}
        if left:
            known = {name: digests for name in left if (digests := remembered(store, name)) is not None}
            unread = [source for name, source in left.items() if name not in known]
            proofs |= dict.fromkeys(left, ()) | known | (prove(unread) if unread else {})
            continue
        others = {id(s) for s in strangers if proofs[s.proof]}
        if settled or not others:
            return found
        told = [replace(s, data=sha256_json(proofs[s.proof])) if id(s) in others else s for s in plan.sources]
        plan = Plan.of(plan.work, plan.samples, told, plan.chunk_bytes)


def _take(
    store: Store, found: Stock, run: str, proofs: Proofs, *, takes: bool, within: range | None
) -> list[PlannedSource]:
    """Collect the nodes that are known to be of their sources; the sources, not complete, that others may be of."""
    plan, collector = found.plan, found.collector
    sources: dict[str, list[PlannedSource]] = {}
    for source in plan.sources:
        sources.setdefault(source.key, []).append(source)
    strangers: dict[int, PlannedSource] = {}
    for name in stored_parts(store, plan.work, run):
        if takes:
            store.refresh(name)  # before it is read: from then on it is not retired; its rows likewise
        try:
            nodes = read_part(store, name)
        except DamagedObject as error:
            found.damaged[name] = error
            continue
        except StoreError:
            if store.exists(name):
                raise
            continue  # another Runner set it aside since it was listed
        mine = []
        for part in (part for part in nodes if within is None or collector.touches(part, within)):
            doubted = [s for s in sources.get(part.source_key, ()) if not _is_of(part, s, proofs)]
            strangers |= {id(s): s for s in doubted}
            mine += [] if doubted else [part]
        mine = [part for part in mine if _has_rows(store, found, part, takes=takes)]
        if collector.add(mine):
            found.parts.add(name)
            found.reads.update(*(part.reads for part in mine))
    complete = [bool(collector.have[a:b].all()) for a, b in zip(plan.offsets[:-1], plan.offsets[1:], strict=True)]
    return [s for s, whole in zip(plan.sources, complete, strict=True) if id(s) in strangers and not whole]


def _has_rows(store: Store, found: Stock, part: PartNode, *, takes: bool) -> bool:
    """Whether the rows of a node are all in the store."""
    names = [piece.name(found.plan.work, part.source_key) for piece in part.pieces]
    for name in names if takes else ():
        store.refresh(name)
    lost = [name for name in names if not intact(store, name)]
    found.damaged |= {n: DamagedObject(f"{store.url}: {n} is damaged") for n in lost if store.exists(n)}
    return not lost


def _is_of(part: PartNode, source: PlannedSource, proofs: Mapping[str, tuple[str, ...]]) -> bool:
    if part.origin == source.origin:
        return True
    digests = proofs.get(source.proof, ())
    leaves = part.node.leaves(source.chunks)
    if not digests or not leaves:
        return False
    tree = MergeTree[Result](source.chunks)
    for leaf in leaves:
        tree.add(Node(0, leaf), Result(data_digest=digests[leaf]))
    return any(value.data_digest == part.result.data_digest for value in tree.nodes.values())


def kept(
    store: Store, plan: Plan, names: Iterable[str], doubted: Sequence[PlannedSource], proofs: Proofs
) -> tuple[Collector, set[str]]:
    """What parts have of a plan, and the names of those that were taken; of sources in doubt what they hold now.

    Of a doubted source, `proofs` have the digests where its chunks could be read. Those with its key are in doubt too.
    """
    collector, taken = Collector(plan), set()
    for name in names:
        try:
            nodes = read_part(store, name)
        except StoreError:
            continue  # its chunks are computed anew
        if collector.add(node for node in nodes if is_of(node, doubted, proofs)):
            taken.add(name)
    return collector, taken


def is_of(part: PartNode, doubted: Sequence[PlannedSource], proofs: Proofs) -> bool:
    """Whether a node is of what those of the sources hold that are in doubt and have its key, if any."""
    return all(_is_of(part, source, proofs) for source in doubted if source.key == part.source_key)


def rewritten(plan: Plan, nodes: Sequence[PartNode], replicas: Iterable[str] = ()) -> set[str]:
    """Origins of sources that were another file when they were read than when they were opened.

    `replicas` are origins of what was read elsewhere.
    """
    keys = {part.source_key for part in nodes}
    opened = {s.origin for s in plan.sources if s.key in keys} | set(replicas)
    others = {part.source_key for part in nodes if part.origin not in opened}
    return {s.origin for s in plan.sources if s.key in others}


def in_batches(sources: Iterable[PlannedSource]) -> list[Batch]:
    """Ranges of chunks of sources, for `chunk_digests` to read one after another."""
    return [(s, i, min(i + _BATCH, s.chunks)) for s in sources for i in range(0, s.chunks, _BATCH)]


def chunk_digests(store_url: str, batch: Batch, *, asks: bool = False) -> tuple[list[str], str, bool]:
    """Digests of the data of chunks [first, last) of a source, on a worker; what the file is, and whether as planned.

    `asks` is as in `origin_before`. Raises what reading raises, and ChangedFile where they may not be of one file;
    UnreadableFile also where the file is gone after it was read.
    """
    source, first, last = batch
    store, notes, bounds = open_store(store_url), replica_notes(), source.bounds
    before = origin_before(source, asks=asks)
    digests = [data_digest(read_chunk(source, bounds[i], bounds[i + 1], store)) for i in range(first, last)]
    origin, as_planned = origin_after(source, before, notes)
    if is_gone(origin):
        raise UnreadableFile(source.path, "could not be looked at once it had been compared with what was read of it")
    if not is_one_file(origin):
        raise ChangedFile(source.path, "was rewritten while it was compared with what was read of it")
    return digests, origin, as_planned or not source.origin


def source_digests(store_url: str, source: PlannedSource) -> tuple[list[str], str, bool]:
    """The same of all chunks of a source, which are of one file then: one machine alone looks at it."""
    return chunk_digests(store_url, (source, 0, source.chunks), asks=True)


def remember(store: Store, name: str, digests: Sequence[str]) -> None:
    """Keep what was read for a proof."""
    write_document(store, name, "data", {"chunks": list(digests)})


def remembered(store: Store, name: str) -> tuple[str, ...] | None:
    """The digests that were kept under the name of a proof; None where none are, or they are damaged."""
    try:
        return read_document(store, name, "data", lambda raw: tuple(map(str, raw["chunks"])))
    except StoreError:
        return None
