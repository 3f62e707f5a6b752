"""`read`: one range of events of the declared columns, from a file that is verified to be the planned one."""

from __future__ import annotations

from collections.abc import Sequence

from vrecompute.columns import Column
from vrecompute.errors import ChangedFile, CorruptFile, UsageError
from vrecompute.reader import rntuple, ttree
from vrecompute.reader.facts import FileFacts, Identity, require_columns
from vrecompute.reader.flatten import share_offsets
from vrecompute.reader.handles import damage, open_file

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
    if expect is not None:
        _verify(path, "UUID", expect.uuid, handle.uuid)
        _verify(path, "size in bytes", expect.size, handle.size)
    name = handle.resolve(tree)
    kind, opened = handle.tree(name)
    with damage(path, f"tree {name!r}"):
        entries = int(opened.num_entries)
    if expect is not None:
        _verify(path, f"entries of tree {name!r}", expect.entries, entries)
    if not 0 <= start <= stop <= entries:
        raise UsageError(f"{path}: events [{start}, {stop}) are outside tree {name!r} of {entries} entries")
    source = ttree if kind == "ttree" else rntuple
    known = ttree.branches(handle, name) if kind == "ttree" else rntuple.fields(handle, name)
    require_columns(path, name, known, columns)
    result = source.read(handle, name, list(dict.fromkeys(columns)), start, stop)
    for column, data in result.items():
        seen = len(data.values) if data.offsets is None else len(data.offsets) - 1
        if seen != stop - start:
            raise CorruptFile(path, f"column {column!r} has {seen} events where {stop - start} were asked for")
    return share_offsets(result)


def _verify(path: str, what: str, expected: object, found: object) -> None:
    if expected != found:
        raise ChangedFile(path, f"is not the planned file: {what} was {expected}, is now {found}; plan the run again")
