"""Parts: what a finished task leaves in the store, filed under the work that made it (law 3).

    work/<work>/parts/<sha256 of the object>.zip     nodes of the merge trees of some sources
    work/<work>/tables/<source key>/<table>/<start>-<stop>.parquet

`<work>` names the code, its parameters, resources and numerics; a source key names identity, columns
and cut. A node tells the file it was read from and a digest of what was read: see `stock`. So runs share
parts exactly where work and data are the same, and a part proves its own content.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from vrecompute.digest import canonical_json, sha256_of
from vrecompute.errors import StoreError
from vrecompute.results.file import pack, result_from_members, result_members, unpack
from vrecompute.results.result import Result
from vrecompute.results.tree import Node
from vrecompute.stores.base import Store

__all__ = ["PartNode", "read_part", "stored_parts", "table_name", "write_part"]

_FORMAT = {"format": "vrecompute-part", "version": 2}


@dataclass(frozen=True)
class PartNode:
    """The Result of one node of one source's merge tree. `origin` is the file that it was read from, at that time."""

    source_key: str
    node: Node
    result: Result
    origin: str = ""


def write_part(store: Store, work: str, nodes: Iterable[PartNode]) -> str:
    """Make `nodes` durable as one object and give its name. Writing equal nodes again changes nothing."""
    members: dict[str, bytes] = {}
    index = []
    for number, part in enumerate(sorted(nodes, key=lambda p: (p.source_key, p.node))):
        prefix = f"n{number}/"
        index.append([part.source_key, *part.node, prefix, part.origin, part.result.data_digest])
        members |= result_members(part.result, prefix)
    data = pack({"part.json": canonical_json({**_FORMAT, "work": work, "nodes": index}), **members})
    name = f"{_prefix(work)}/{sha256_of(data)}.zip"
    store.create(name, data)
    return name


def read_part(store: Store, name: str) -> list[PartNode]:
    """The nodes of a part, verified against its name; StoreError where it is absent or damaged."""
    digest = name.rsplit("/", 1)[-1].removesuffix(".zip")
    members = unpack(store.get(name, sha256=digest))
    try:
        head = json.loads(members["part.json"])
        if {k: head[k] for k in _FORMAT} != _FORMAT:
            raise StoreError(f"{name}: a part of another format: {head.get('format')!r} {head.get('version')!r}")
        nodes = []
        for key, level, position, prefix, origin, digest in head["nodes"]:
            result = replace(result_from_members(members, str(prefix)), data_digest=str(digest))
            nodes.append(PartNode(str(key), Node(int(level), int(position)), result, str(origin)))
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError(f"{name}: not a readable part: {error}") from error
    return nodes


def stored_parts(store: Store, work: str) -> Iterator[str]:
    """Names of all parts of a work that the store lists."""
    return (name for name in store.names(_prefix(work)) if name.endswith(".zip"))


def table_name(work: str, source_key: str, table: str, start: int, stop: int) -> str:
    """Where the rows of a skim table of one chunk are."""
    return f"work/{work}/tables/{source_key}/{table}/{start}-{stop}.parquet"


def _prefix(work: str) -> str:
    return f"work/{work}/parts"
