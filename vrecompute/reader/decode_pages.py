"""Columns of an RNTuple straight from its pages: one read of the file, one kernel call per column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from vrecompute.datasets.columns import Column
from vrecompute.errors import CorruptFile
from vrecompute.reader import kernels
from vrecompute.reader.codecs import addresses
from vrecompute.reader.decode_errors import decode_error
from vrecompute.reader.handles import damage
from vrecompute.reader.inflate import inflate
from vrecompute.reader.lists import link
from vrecompute.reader.memory import Slab, buffer, slab
from vrecompute.reader.pages import CHECKSUM_BYTES, FieldTable, PageColumn, PageTable
from vrecompute.reader.rawfile import RawFile

__all__ = ["pages_of", "read_pages"]

_SPLIT, _ZIGZAG, _DELTA = range(0x11, 0x1C), (0x11, 0x13, 0x15), (0x1A, 0x1B)
_NO_BASES = np.zeros(0, dtype=np.int64)


class _Wanted(NamedTuple):
    """Elements [first, stop) of a physical column, for the sake of a field."""

    field: str
    first: int
    stop: int


class _Lists(NamedTuple):
    """The first item of the range in its column, and offsets from 0."""

    first: int
    offsets: NDArray[np.int64]


def read_pages(
    file: RawFile, table: PageTable, columns: Sequence[str], start: int, stop: int
) -> tuple[dict[str, Column], list[str]]:
    """Entries [start, stop) of those `columns` that can be decoded here, and the names of the others.

    Raises CorruptFile naming the field and the elements whose page is damaged.
    """
    if not addresses()[kernels.XXH3]:  # pages could not be verified
        return {}, list(columns)
    chosen = {name: table.fields[name] for name in columns if name in table.fields}
    low = max(int(np.searchsorted(table.clusters, start, side="right")) - 1, 0)
    high = int(np.searchsorted(table.clusters, stop, side="left"))
    memory = slab(_bytes_at_most(table, chosen, low, max(low, high), stop - start))
    lists = _read_lists(file, table, chosen, int(table.clusters[low]), start, stop, memory)
    wanted: dict[int, _Wanted] = {}
    for name, field in chosen.items():
        if field.values is not None:
            first, last = start, stop
            if field.index is not None:
                first = lists[field.index].first
                last = first + int(lists[field.index].offsets[-1])
            wanted[field.values] = _Wanted(name, first * field.repeat, last * field.repeat)
    values = _elements(file, table, wanted, memory)
    result = {}
    for name, field in chosen.items():
        offsets = None if field.index is None else lists[field.index].offsets
        if offsets is not None and field.values is None:
            result[name] = Column(np.diff(offsets).astype(field.cardinality))
            continue
        if field.repeat > 1:
            offsets = (np.arange(stop - start + 1, dtype=np.int64) if offsets is None else offsets) * field.repeat
        result[name] = Column(_native(values, table, field), offsets)
    return result, [name for name in columns if name not in chosen]


def pages_of(table: PageTable, columns: Sequence[str], start: int, stop: int) -> NDArray[np.int64]:
    """All pages that `read_pages` reads for the same, of a range of whole clusters; none of another range.

    Within a cluster only the offsets tell which items an entry has.
    """
    low, high = (int(np.searchsorted(table.clusters, at)) for at in (start, stop))
    whole = (start, stop) == (table.clusters[low], table.clusters[min(high, len(table.clusters) - 1)])
    chosen = [table.fields[name] for name in columns if whole and name in table.fields]
    numbers = {n for field in chosen for n in (field.values, field.index) if n is not None}
    ranges = [(c, int(c.clusters[low]), int(c.clusters[high])) for c in map(table.columns.__getitem__, numbers)]
    return np.concatenate([np.zeros((0, 5), np.int64), *[c.pieces(first, last)[0] for c, first, last in ranges]])


def _native(values: Mapping[int, NDArray[np.uint8]], table: PageTable, field: FieldTable) -> NDArray[Any]:
    assert field.values is not None
    return values[field.values].view(table.columns[field.values].dtype)


def _bytes_at_most(table: PageTable, chosen: Mapping[str, FieldTable], low: int, high: int, entries: int) -> int:
    numbers = {f.values for f in chosen.values() if f.values is not None}
    columns = [table.columns[n] for n in numbers]
    values = sum(int(c.clusters[high] - c.clusters[low]) * np.dtype(c.dtype).itemsize for c in columns)
    indices = len({f.index for f in chosen.values()})
    # of each collection the ends as stored and the offsets, of each array up to a cache line of padding
    return values + 16 * (entries + 1) * indices + 64 * (len(columns) + 2 * indices)


def _read_lists(
    file: RawFile,
    table: PageTable,
    chosen: Mapping[str, FieldTable],
    origin: int,
    start: int,
    stop: int,
    memory: Slab,
) -> dict[int, _Lists]:
    """Offsets of every collection; `origin` is the first entry of the cluster of entry `start`."""
    lead = 1 if start > origin else 0  # the list of `start` begins where that of the entry before ends
    users = {field.index: (name, field) for name, field in chosen.items() if field.index is not None}
    # a field with values can tell whether its lists use them up, so it goes before a cardinality
    users |= {f.index: (n, f) for n, f in chosen.items() if f.index is not None and f.values is not None}
    wanted = {index: _Wanted(name, start - lead, stop) for index, (name, _) in users.items()}
    ends_of = _elements(file, table, wanted, memory)
    lists = {}
    for index, (name, field) in users.items():
        ends = ends_of[index].view(table.columns[index].dtype)
        bases = _NO_BASES if field.values is None else table.columns[field.values].clusters // field.repeat
        offsets = memory.numbers(stop - start + 1)
        if link(ends, lead, start, table.clusters, bases, offsets) != kernels.OK:
            raise decode_error(file.path, name, kernels.BAD_COUNT, start, stop - start)
        first = int(ends[0]) if lead and len(ends) else 0
        if len(bases):
            cluster = max(int(np.searchsorted(table.clusters, start, side="right")) - 1, 0)
            first += int(bases[cluster])
            if first + offsets[-1] > bases[-1]:
                raise decode_error(file.path, name, kernels.BAD_COUNT, start, stop - start)
        lists[index] = _Lists(first, offsets)
    return lists


def _elements(
    file: RawFile, table: PageTable, wanted: Mapping[int, _Wanted], memory: Slab
) -> dict[int, NDArray[np.uint8]]:
    """The wanted elements of physical columns, as bytes."""
    pages = {n: table.columns[n].pieces(w.first, w.stop) for n, w in wanted.items()}
    together = np.concatenate([np.zeros((0, 5), np.int64), *[pieces for pieces, _ in pages.values()]])
    for number, (pieces, _) in pages.items():
        if np.any(pieces[:, kernels.SEEK] > file.size - pieces[:, kernels.BYTES]):
            raise CorruptFile(file.path, f"column {wanted[number].field!r}: a page is beyond the end of the file")
    raw = file.gather(together)
    result, at = {}, 0
    for number, (pieces, checked) in pages.items():
        mine = together[at : at + len(pieces)]
        at += len(pieces)
        result[number] = _decode(file.path, table.columns[number], wanted[number], raw, mine, checked, memory)
    return result


def _decode(
    path: str,
    column: PageColumn,
    wanted: _Wanted,
    raw: NDArray[np.uint8],
    pieces: NDArray[np.int64],
    checked: NDArray[np.int64],
    memory: Slab,
) -> NDArray[np.uint8]:
    itemsize = np.dtype(column.dtype).itemsize
    width = 0 if column.dtype == "|b1" else itemsize
    most = int(pieces[:, kernels.COUNT].max(initial=0)) * itemsize
    out = memory.take((wanted.stop - wanted.first) * itemsize)
    span = np.array([wanted.first, wanted.stop], dtype=np.int64)
    kind = np.array([column.encoding in codes for codes in (_SPLIT, _ZIGZAG, _DELTA)], dtype=np.int64)
    scratch = buffer("scratch", 2 * most)
    for _ in range(2):
        status, about = kernels.decode_pages(addresses(), raw, pieces, checked, scratch, span, width, kind, out)
        if status != kernels.NO_CODEC:
            break
        raw, pieces, checked = _inflated(path, wanted.field, raw, pieces, checked, width)
    if status != kernels.OK:
        first, count = pieces[about, kernels.FIRST : kernels.COUNT + 1]
        raise decode_error(path, wanted.field, status, first, count, "elements")
    return out


def _inflated(
    path: str,
    field: str,
    raw: NDArray[np.uint8],
    pieces: NDArray[np.int64],
    checked: NDArray[np.int64],
    width: int,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Pages decompressed by Python's libraries, for codecs without a native function; checksums are verified before."""
    pages = []
    for piece, check in zip(pieces, checked, strict=True):
        data = raw[piece[kernels.AT] : piece[kernels.AT] + piece[kernels.BYTES] - CHECKSUM_BYTES * check].tobytes()
        size = int(piece[kernels.COUNT]) * width if width else (int(piece[kernels.COUNT]) + 7) // 8
        with damage(path, f"field {field!r}"):
            if check and xxhash.xxh3_64_intdigest(data) != int.from_bytes(_trailer(raw, piece), "little"):
                first, count = piece[kernels.FIRST : kernels.COUNT + 1]
                raise decode_error(path, field, kernels.BAD_CHECKSUM, first, count, "elements")
            stored = len(data) == size or not len(data)
            pages.append(data.ljust(size, b"\0") if stored else inflate(data, size))
    sizes = np.array([len(p) for p in pages], dtype=np.int64)
    moved = pieces.copy()
    moved[:, kernels.AT] = np.cumsum(sizes) - sizes
    moved[:, kernels.BYTES] = sizes
    return np.frombuffer(b"".join(pages), dtype=np.uint8).copy(), moved, np.zeros_like(checked)


def _trailer(raw: NDArray[np.uint8], piece: NDArray[np.int64]) -> bytes:
    stop = piece[kernels.AT] + piece[kernels.BYTES]
    return raw[stop - CHECKSUM_BYTES : stop].tobytes()
