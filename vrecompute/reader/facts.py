"""`FileFacts`: what a ROOT file holds, and what planning has to know about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import MissingColumn
from vrecompute.nearest import nearest_few
from vrecompute.reader import rntuple, ttree
from vrecompute.reader.handles import Kind, forget, listed, open_file
from vrecompute.reader.identity import Identity
from vrecompute.reader.retry import retried

__all__ = ["FileFacts", "StoredColumn", "inspect", "require_columns"]


@dataclass(frozen=True)
class StoredColumn:
    """How one column lies in the file.

    `boundaries` indexes `FileFacts.boundaries`; bytes are of all its baskets or pages, and of `counts`
    only once where several columns share it: the leaf-count branch without which it cannot be decoded.
    """

    boundaries: int
    uncompressed_bytes: int
    compressed_bytes: int
    counts: str = ""


@dataclass(frozen=True)
class FileFacts:
    """A ROOT file as planning sees it. `available` maps every column of the tree to its type as text.

    `boundaries` holds each distinct list of basket (TTree) or cluster (RNTuple) boundaries once, from 0
    to `entries`; `stored` says which of them a column has, and its size. `repeated` are names that several
    branches have, of which the first is read, as ROOT does. `others` are the other trees of the file, as text.
    """

    path: str
    kind: Kind
    tree: str
    uuid: str
    size: int
    entries: int
    available: Mapping[str, str]
    boundaries: tuple[tuple[int, ...], ...]
    stored: Mapping[str, StoredColumn]
    content: str = ""
    repeated: frozenset[str] = frozenset()
    others: str = ""

    @property
    def identity(self) -> Identity:
        """What `read` verifies before it decodes anything."""
        return Identity(self.uuid, self.size, self.entries, self.content)

    def missing(self, columns: Iterable[str]) -> list[str]:
        """Those of `columns` that the tree lacks."""
        return [name for name in columns if name not in self.available]

    def require(self, columns: Iterable[str]) -> None:
        """Raise MissingColumn, with the nearest names, unless the tree has all `columns`."""
        require_columns(self.path, self.tree, self.available, columns)

    def cluster_starts(self, columns: Iterable[str]) -> NDArray[np.int64]:
        """Entries where a basket or cluster of every one of `columns` starts, from 0 to `entries` inclusive."""
        chosen = {self.boundaries[self.stored[c].boundaries] for c in self._closure(columns)}
        if not chosen:
            return np.unique(np.array([0, self.entries], dtype=np.int64))
        arrays = [np.array(b, dtype=np.int64) for b in chosen]
        return reduce(lambda a, b: np.intersect1d(a, b, assume_unique=True), arrays)

    def bytes_of(self, columns: Iterable[str]) -> int:
        """Uncompressed bytes of `columns` and of the leaf counts that they need, over all entries."""
        return sum(self.stored[c].uncompressed_bytes for c in self._closure(columns))

    def compressed_bytes_of(self, columns: Iterable[str]) -> int:
        """Bytes to be read from the file for `columns` and the leaf counts that they need, over all entries."""
        return sum(self.stored[c].compressed_bytes for c in self._closure(columns))

    def only(self, columns: Iterable[str]) -> FileFacts:
        """The same facts about `columns` alone (and their leaf counts), for a plan to keep."""
        names = self._closure(columns)
        repeated = self.repeated & set(names)
        used = sorted({self.stored[c].boundaries for c in names})
        new_index = {old: new for new, old in enumerate(used)}
        return replace(
            self,
            repeated=repeated,
            available={c: self.available[c] for c in names},
            boundaries=tuple(self.boundaries[i] for i in used),
            stored={c: replace(self.stored[c], boundaries=new_index[self.stored[c].boundaries]) for c in names},
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `from_json` makes the same facts."""
        stored = {
            name: [s.boundaries, s.uncompressed_bytes, s.compressed_bytes, s.counts] for name, s in self.stored.items()
        }
        return {
            "path": self.path,
            "kind": self.kind,
            "tree": self.tree,
            "uuid": self.uuid,
            "size": self.size,
            "entries": self.entries,
            "available": dict(self.available),
            "boundaries": [list(b) for b in self.boundaries],
            "stored": stored,
            "content": self.content,
            "repeated": sorted(self.repeated),
            "others": self.others,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FileFacts:
        """The facts that `to_json` wrote down."""
        return cls(
            path=data["path"],
            kind=data["kind"],
            tree=data["tree"],
            uuid=data["uuid"],
            size=data["size"],
            entries=data["entries"],
            available=dict(data["available"]),
            boundaries=tuple(tuple(b) for b in data["boundaries"]),
            stored={name: StoredColumn(*s) for name, s in data["stored"].items()},
            content=data["content"],
            repeated=frozenset(data["repeated"]),
            others=data["others"],
        )

    def _closure(self, columns: Iterable[str]) -> list[str]:
        names = list(dict.fromkeys(columns))
        self.require(names)
        counts = [self.stored[c].counts for c in names if self.stored[c].counts]
        return list(dict.fromkeys([*names, *counts]))


def require_columns(path: str, tree: str, available: Iterable[str], columns: Iterable[str]) -> None:
    """Raise MissingColumn, naming each absent column and its nearest matches."""
    known = available if isinstance(available, (dict, set, frozenset)) else set(available)
    absent = [name for name in dict.fromkeys(columns) if name not in known]
    if not absent:
        return
    parts = []
    for name in absent[:20]:
        near = nearest_few(name, known, 3, cutoff=0.75)
        parts.append(f"{name!r}" + (f" (nearest: {', '.join(near)})" if near else ""))
    more = f" and {len(absent) - 20} more" if len(absent) > 20 else ""
    raise MissingColumn(path, f"tree {tree!r} lacks {', '.join(parts)}{more}")


@retried(forget)
def inspect(path: str, tree: str | None = None) -> FileFacts:
    """Facts about one tree of a ROOT file: `tree`, else the only one, else the first usual name that is there.

    Usual names are, in order: Events, CollectionTree, nominal, events, EventData. Raises UnreadableFile,
    CorruptFile, or MissingTree (listing the trees that are there).
    """
    handle = open_file(path)
    name = handle.resolve(tree)
    kind, _ = handle.tree(name)
    described = (ttree if kind == "ttree" else rntuple).describe(handle, name)
    boundaries: dict[tuple[int, ...], int] = {}
    stored = {
        column: StoredColumn(
            boundaries.setdefault(d.boundaries, len(boundaries)), d.uncompressed_bytes, d.compressed_bytes, d.counts
        )
        for column, d in described.columns.items()
    }
    return FileFacts(
        path=path,
        kind=kind,
        tree=name,
        uuid=handle.uuid,
        size=handle.size,
        entries=described.entries,
        available={column: d.type for column, d in described.columns.items()},
        boundaries=tuple(boundaries),
        stored=stored,
        content=handle.content,
        repeated=ttree.repeated(handle, name) if kind == "ttree" else frozenset(),
        others=listed(other for other in handle.kinds() if other != name),
    )
