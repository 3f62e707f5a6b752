"""Parts: what a finished task leaves in the store, filed under the work that made it (law 3).

    work/<work>/parts/<sha256 of the object>.zip     nodes of the merge trees of some sources
    work/<work>/runs/<run>/<sha256>.zip     the same, of a process that read what no key holds: for that run alone
    work/<work>/impure.json     that what its code gives for a chunk was seen to depend on others: none of it is taken
    work/<work>/tables/<source key>/<table>/<start>-<stop>-<sha256>.parquet      rows of one chunk, see `Piece`

`<work>` names the code, its parameters, resources and numerics; a source key names identity, columns
and cut. A node tells the file it was read from and a digest of what was read: see `stock`. So runs share
parts exactly where work and data are the same, and a part proves its own content.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from vrecompute.digest import canonical_json
from vrecompute.errors import DamagedObject, StoreError
from vrecompute.results.check import TABLE_NAME
from vrecompute.results.file import pack, result_from_members, result_members, unpack
from vrecompute.results.result import Result, TableSummary
from vrecompute.results.tree import Node
from vrecompute.stores.base import Store
from vrecompute.stores.objects import (
    content_name,
    read_content,
    read_document,
    sha256_in,
    write_content,
    write_document,
)

__all__ = [
    "PART_FORMAT",
    "PartNode",
    "Piece",
    "impurity_of",
    "note_impurity",
    "read_part",
    "stored_parts",
    "stored_reads",
    "write_part",
]

#: Version of parts, in every work key, so that those of another version are never reused. Version 3 kept variances of
#: means, which do not add up.
PART_FORMAT = 4
_FORMAT = {"format": "vrecompute-part", "version": PART_FORMAT}
# More chunks than a source can have, in powers of two.
_MOST_LEVELS = 48


@dataclass(frozen=True)
class Piece:
    """The rows that events [start, stop) of a source gave to a skim table: a Parquet file that holds `summary`."""

    table: str
    start: int
    stop: int
    sha256: str
    summary: TableSummary

    def name(self, work: str, source_key: str) -> str:
        """The store's name of the Parquet file."""
        return f"work/{work}/tables/{source_key}/{self.table}/{self.start}-{self.stop}-{self.sha256}.parquet"


@dataclass(frozen=True)
class PartNode:
    """The Result of one node of one source's merge tree, and where the rows are that belong to it.

    `origin` is the file that it was read from, at that time. `reads` is what besides may be in it that no key holds.
    """

    source_key: str
    node: Node
    result: Result
    origin: str = ""
    pieces: tuple[Piece, ...] = ()
    reads: tuple[str, ...] = ()


def write_part(store: Store, work: str, nodes: Iterable[PartNode], run: str = "", reads: Sequence[str] = ()) -> str:
    """Make `nodes` durable as one object and give its name. Writing equal nodes again changes nothing.

    With `reads`, what no key holds, they are of that `run` alone.
    """
    members: dict[str, bytes] = {}
    index = []
    for number, part in enumerate(sorted(nodes, key=lambda p: (p.source_key, p.node))):
        prefix = f"n{number}/"
        pieces = [[p.table, p.start, p.stop, p.sha256, p.summary.to_data()] for p in part.pieces]
        index.append([part.source_key, *part.node, prefix, part.origin, part.result.data_digest, pieces])
        members |= result_members(part.result, prefix)
    head = {**_FORMAT, "work": work, "nodes": index} | ({"run": run, "reads": list(reads)} if reads else {})
    data = pack({"part.json": canonical_json(head), **members})
    name = content_name(_prefix_of(head), data, ".zip")
    write_content(store, name, data)
    return name


def read_part(store: Store, name: str) -> list[PartNode]:
    """The nodes of a part, verified against its name; StoreError where it is absent, DamagedObject where damaged."""
    members = unpack(read_content(store, name))
    try:
        head = json.loads(members["part.json"])
        known = {k: head[k] for k in _FORMAT}
        if known != _FORMAT or name.rpartition("/")[0] != _prefix_of(head):
            raise ValueError(f"it was written as {known['format']} {known['version']} of work {head['work']}")
        nodes = []
        reads = tuple(map(str, head.get("reads", ())))
        for key, level, position, prefix, origin, digest, pieces in head["nodes"]:
            result = replace(result_from_members(members, str(prefix)), data_digest=str(digest))
            own = tuple(_piece(*piece) for piece in pieces)
            nodes.append(PartNode(str(key), _node(level, position), result, str(origin), own, reads))
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedObject(f"{name}: not a readable part: {error}") from error
    return nodes


def stored_parts(store: Store, work: str, run: str) -> Iterator[str]:
    """Names of all parts of a work that the store lists and a run may take."""
    names = chain(store.names(_prefix(work)), store.names(_prefix(work, run)))
    return (name for name in names if name.endswith(".zip"))


def stored_reads(store: Store, work: str, run: str) -> list[str]:
    """What is in parts of a run alone that no key holds."""
    told: set[str] = set()
    for name in store.names(_prefix(work, run)):
        with contextlib.suppress(StoreError):  # a damaged part only tells less
            told.update(*(node.reads for node in read_part(store, name)))
    return sorted(told)


def note_impurity(store: Store, work: str, why: str) -> None:
    """Have no run take parts of this work: those of chunks before may be as wrong as what was found, `why`."""
    write_document(store, _impure(work), "impure", {"why": why})


def impurity_of(store: Store, work: str) -> str:
    """What was noted of a work, in words; empty where nothing was."""
    name = _impure(work)
    if not store.exists(name):
        return ""
    try:
        return read_document(store, name, "impure", lambda raw: str(raw["why"]))
    except StoreError:
        return "its Result of one chunk was seen to depend on others"


def _impure(work: str) -> str:
    return f"work/{work}/impure.json"


def _prefix(work: str, run: str = "") -> str:
    return f"work/{work}/runs/{run}" if run else f"work/{work}/parts"


def _prefix_of(head: Mapping[str, Any]) -> str:
    return _prefix(head["work"], str(head.get("run", "")))


def _node(level: int, position: int) -> Node:
    if not (type(level) is type(position) is int and 0 <= level <= _MOST_LEVELS and 0 <= position << level < 1 << 62):
        raise ValueError(f"node {position} of level {level} is outside the tree of chunks")
    return Node(level, position)


def _piece(table: str, start: int, stop: int, sha256: str, summary: Any) -> Piece:
    if not (TABLE_NAME.fullmatch(table) and type(start) is type(stop) is int and sha256_in(sha256) == sha256):
        raise ValueError(f"rows of table {table!r} from {start!r} to {stop!r} under {sha256!r} are not a range of rows")
    return Piece(table, start, stop, sha256, TableSummary.from_data(summary))
