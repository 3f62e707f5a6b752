"""`read`: one range of events of the declared columns, from a file that is verified to be the planned one."""

from __future__ import annotations

from collections.abc import Sequence

from vrecompute.datasets.columns import Column
from vrecompute.errors import ChangedFile, CorruptFile, UsageError
from vrecompute.reader import rntuple, ttree
from vrecompute.reader.baskets import BasketTable, tabulate_baskets
from vrecompute.reader.decode_baskets import baskets_of, read_baskets
from vrecompute.reader.decode_pages import pages_of, read_pages
from vrecompute.reader.facts import FileFacts, require_columns
from vrecompute.reader.flatten import share_offsets
from vrecompute.reader.handles import Handle, damage, forget, open_file
from vrecompute.reader.identity import Identity
from vrecompute.reader.pages import PageTable, tabulate_pages
from vrecompute.reader.rawfile import open_raw, opened_raw
from vrecompute.reader.retry import retried

__all__ = ["Table", "fetch_ahead", "read", "tabulate"]

Table = BasketTable | PageTable


@retried(forget)
def read(
    path: str,
    tree: str | None,
    columns: Sequence[str],
    start: int,
    stop: int,
    *,
    expect: Identity | FileFacts | None = None,
    table: Table | None = None,
) -> dict[str, Column]:
    """Events [start, stop) of `columns`, by name in the order asked for.

    Scalars keep their stored type in native byte order. Jagged columns, and fixed-size arrays per event
    as lists of equal length, have int64 offsets from 0; columns with equal offsets share one array. All
    columns of a chunk may share one allocation, which lives as long as any of them.

    With a `table` of these columns that `tabulate` made, the file's metadata are not parsed again; UUID,
    size and sampled content are verified nevertheless. Columns that the kernels cannot decode are read by uproot.

    Raises UnreadableFile, MissingTree, MissingColumn (with nearest names), ChangedFile where UUID, size,
    entries or sampled content differ from `expect` or `table`, CorruptFile naming the damaged column, and
    UsageError for a range outside the tree. Damage is seen by checksums where the format has them (RNTuple pages; ZLIB,
    LZ4 and LZMA baskets); in ZSTD and uncompressed baskets, where it breaks the stream or the lengths.
    """
    names = list(dict.fromkeys(columns))
    if table is not None and _covers(table, tree, names):
        file = open_raw(path)
        found, name = Identity(file.uuid, file.size, table.identity.entries, file.content), table.tree
        _verify(path, name, table.identity, found)
    else:
        handle = open_file(path)
        file, name = handle.raw, handle.resolve(tree)
        found = _identity(handle, name)
        require_columns(path, name, _known(handle, name), names)
        table = _table(handle, name, names)
    _verify(path, name, expect, found)
    if not 0 <= start <= stop <= found.entries:
        raise UsageError(f"{path}: events [{start}, {stop}) are outside tree {name!r} of {found.entries} entries")
    result: dict[str, Column] = {}
    if isinstance(table, BasketTable):
        result, names = read_baskets(file, table, names, start, stop)
    elif isinstance(table, PageTable):
        result, names = read_pages(file, table, names, start, stop)
    file.forget_ahead()
    if names:
        handle = open_file(path)
        _verify(path, name, found, _identity(handle, name))
        result |= (ttree if handle.tree(name)[0] == "ttree" else rntuple).read(handle, name, names, start, stop)
    for column, data in result.items():
        seen = len(data.values) if data.offsets is None else len(data.offsets) - 1
        if seen != stop - start:
            raise CorruptFile(path, f"column {column!r} has {seen} events where {stop - start} were asked for")
    return share_offsets({column: result[column] for column in columns})


def fetch_ahead(path: str, table: Table, columns: Sequence[str], start: int, stop: int) -> None:
    """Begin to fetch what `read` of the same range by this thread will need, where the bytes come over a network.

    Only of a file that is open, and never raises: what goes wrong is said when it is read.
    """
    file = opened_raw(path)
    if file is None or not hasattr(file.source, "begin_ranges"):
        return
    names = list(dict.fromkeys(columns))
    if isinstance(table, BasketTable):
        file.fetch_ahead(baskets_of(table, names, start, stop), table.embedded)
    else:
        file.fetch_ahead(pages_of(table, names, start, stop))


@retried(forget)
def tabulate(path: str, tree: str | None, columns: Sequence[str]) -> Table:
    """Where the baskets or pages of `columns` are in a file: for `read`, and as bytes for a sidecar.

    Raises what `inspect` raises, and MissingColumn.
    """
    handle = open_file(path)
    name = handle.resolve(tree)
    require_columns(path, name, _known(handle, name), columns)
    return _table(handle, name, list(dict.fromkeys(columns)))


def _table(handle: Handle, tree: str, columns: list[str]) -> Table:
    make = tabulate_baskets if handle.tree(tree)[0] == "ttree" else tabulate_pages
    return handle.keep(("table", tree, *columns), lambda: make(handle, tree, columns))


def _known(handle: Handle, tree: str) -> dict[str, object]:
    return (ttree.branches if handle.tree(tree)[0] == "ttree" else rntuple.fields)(handle, tree)


def _identity(handle: Handle, tree: str) -> Identity:
    _, opened = handle.tree(tree)
    with damage(handle.path, f"tree {tree!r}"):
        return Identity(handle.uuid, handle.size, int(opened.num_entries), handle.content)


def _covers(table: Table, tree: str | None, columns: Sequence[str]) -> bool:
    known = table.branches if isinstance(table, BasketTable) else table.fields
    return tree in (None, table.tree) and all(c in known or c in table.unsupported for c in columns)


def _verify(path: str, tree: str, expected: Identity | FileFacts | None, found: Identity) -> None:
    if expected is None:
        return
    for what, old, new in (
        ("UUID", expected.uuid, found.uuid),
        ("size in bytes", expected.size, found.size),
        (f"entries of tree {tree!r}", expected.entries, found.entries),
        ("sha256 of its sampled content", expected.content, found.content),
    ):
        if old != new and old != "":
            raise ChangedFile(
                path,
                f"is not the planned file: {what} was {old}, is now {new}; run the analysis again, which looks "
                "at the file anew",
            )
