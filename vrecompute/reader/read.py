"""`read`: one range of events of the declared columns, from a file that is verified to be the planned one."""

from __future__ import annotations

from collections.abc import Sequence

from vrecompute.columns import Column
from vrecompute.errors import ChangedFile, CorruptFile, UsageError
from vrecompute.reader import rntuple, ttree
from vrecompute.reader.baskets import tabulate
from vrecompute.reader.decode import read_baskets
from vrecompute.reader.facts import FileFacts, require_columns
from vrecompute.reader.flatten import share_offsets
from vrecompute.reader.handles import damage, open_file
from vrecompute.reader.identity import Identity
from vrecompute.reader.rawfile import is_local, open_raw

__all__ = ["READER_VERSION", "read"]

READER_VERSION = 1
"""Part of the key of every partial result: raised when the same file would be decoded to other arrays."""


def read(
    path: str,
    tree: str | None,
    columns: Sequence[str],
    start: int,
    stop: int,
    *,
    expect: Identity | FileFacts | None = None,
) -> dict[str, Column]:
    """Events [start, stop) of `columns`, by name in the order asked for.

    Scalars keep their stored type in native byte order. Jagged columns, and fixed-size arrays per event
    as lists of equal length, have int64 offsets from 0; columns with equal offsets share one array.
    Raises UnreadableFile, MissingTree, MissingColumn (with nearest names), ChangedFile where UUID, size
    or entries differ from `expect`, CorruptFile naming the damaged column, and UsageError for a range
    outside the tree.
    """
    handle = open_file(path)
    name = handle.resolve(tree)
    kind, opened = handle.tree(name)
    with damage(path, f"tree {name!r}"):
        found = Identity(handle.uuid, handle.size, int(opened.num_entries))
    _verify(path, name, expect, found)
    if not 0 <= start <= stop <= found.entries:
        raise UsageError(f"{path}: events [{start}, {stop}) are outside tree {name!r} of {found.entries} entries")
    known = ttree.branches(handle, name) if kind == "ttree" else rntuple.fields(handle, name)
    require_columns(path, name, known, columns)
    names = list(dict.fromkeys(columns))
    result: dict[str, Column] = {}
    if kind == "ttree" and is_local(path):
        table = handle.keep((name, tuple(names)), lambda: tabulate(handle, name, names))
        result, names = read_baskets(open_raw(path), table, names, start, stop)
    result |= (ttree if kind == "ttree" else rntuple).read(handle, name, names, start, stop)
    for column, data in result.items():
        seen = len(data.values) if data.offsets is None else len(data.offsets) - 1
        if seen != stop - start:
            raise CorruptFile(path, f"column {column!r} has {seen} events where {stop - start} were asked for")
    return share_offsets({column: result[column] for column in columns})


def _verify(path: str, tree: str, expected: Identity | FileFacts | None, found: Identity) -> None:
    if expected is None:
        return
    for what, old, new in (
        ("UUID", expected.uuid, found.uuid),
        ("size in bytes", expected.size, found.size),
        (f"entries of tree {tree!r}", expected.entries, found.entries),
    ):
        if old != new:
            raise ChangedFile(path, f"is not the planned file: {what} was {old}, is now {new}; plan the run again")
