"""Columns of a TTree straight from its baskets: one read of the file, one kernel call per column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vrecompute.datasets.columns import Column
from vrecompute.errors import CorruptFile
from vrecompute.reader import kernels
from vrecompute.reader.baskets import BasketTable, BranchTable
from vrecompute.reader.codecs import addresses
from vrecompute.reader.decode_errors import decode_error
from vrecompute.reader.handles import damage
from vrecompute.reader.inflate import payload
from vrecompute.reader.lists import accumulate
from vrecompute.reader.memory import buffer, slab
from vrecompute.reader.rawfile import RawFile

__all__ = ["NotDecodable", "baskets_of", "read_baskets"]

_NO_ITEMS = np.zeros(0, dtype=np.int64)


class NotDecodable(Exception):
    """Undamaged data in a form that the kernels do not know: for uproot to read."""


class _Lists(NamedTuple):
    """Items of a leaf-count collection: `bounds[e - low]` is the first item of entry e."""

    low: int
    bounds: NDArray[np.int64]
    offsets: NDArray[np.int64]


class _Chunk:
    """The baskets of one chunk in memory, and the decoding of one column of them at a time."""

    def __init__(self, file: RawFile, table: BasketTable, ranges: Mapping[str, tuple[int, int]]) -> None:
        self.path = file.path
        self.pieces = {name: table.branches[name].pieces(*span) for name, span in ranges.items()}
        for name, pieces in self.pieces.items():
            beyond = np.flatnonzero(pieces[:, kernels.SEEK] > file.size - pieces[:, kernels.BYTES])
            if len(beyond):
                entry = pieces[beyond[0], kernels.FIRST]
                raise CorruptFile(
                    file.path, f"column {name!r}: the basket of entry {entry} is beyond the end of the file"
                )
        together = np.concatenate([np.zeros((0, 5), np.int64), *self.pieces.values()])
        self.raw = file.gather(together, table.embedded)
        ends = np.cumsum([len(p) for p in self.pieces.values()], dtype=np.int64)
        self.pieces = dict(zip(self.pieces, np.split(together, ends[:-1]), strict=True)) if self.pieces else {}
        self.payload_bytes: dict[str, int] = {}
        self.scratch = buffer("scratch", max([0, *map(self._survey, self.pieces)]))
        # payloads of whole baskets, and offsets out of counts and vectors: never too small
        counts = {branch.counts for branch in table.branches.values()}
        lists = [n for n in self.pieces if n in counts or table.branches[n].layout == "vector"]
        entries = {n: int(self.pieces[n][:, kernels.COUNT].sum()) for n in lists}
        for name, count in entries.items():
            if count > self.payload_bytes[name]:  # each takes a byte at least: none more are allocated for
                raise decode_error(self.path, name, kernels.BAD_LENGTH, int(self.pieces[name][0, kernels.FIRST]), count)
        numbers = sum(entries.values()) + len(lists)
        self.slab = slab(sum(self.payload_bytes.values()) + 8 * numbers + 64 * (len(self.pieces) + len(lists)))

    def _survey(self, name: str) -> int:
        """Uncompressed bytes of the largest basket of a column, all of whose keys make sense."""
        status, about, largest, self.payload_bytes[name] = kernels.survey(self.raw, self.pieces[name])
        if status != kernels.OK:
            raise decode_error(self.path, name, status, *self.pieces[name][about, kernels.FIRST : kernels.COUNT + 1])
        return int(largest)

    def numbers(self, name: str, branch: BranchTable, lists: _Lists | None, start: int, stop: int) -> NDArray[np.uint8]:
        """The bytes of entries [start, stop) in native order."""
        width = np.dtype(branch.dtype).itemsize
        unit = width * branch.items
        low, items, length = 0, _NO_ITEMS, stop - start
        if lists is not None:
            low, items, length = lists.low, lists.bounds, int(lists.offsets[-1])
        if length * unit > self.payload_bytes[name]:
            raise decode_error(self.path, name, kernels.BAD_LENGTH, start, stop - start)
        out = self.slab.take(length * unit)
        span = np.array([start, stop], dtype=np.int64)
        self._decode(
            name,
            lambda raw, pieces: kernels.decode_baskets(
                addresses(), raw, pieces, self.scratch, items, low, span, unit, width, out
            ),
        )
        return out

    def vectors(self, name: str, branch: BranchTable) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Numbers of all entries of the chunk's baskets, as bytes in native order, and their offsets."""
        width = np.dtype(branch.dtype).itemsize
        entries = int(self.pieces[name][:, kernels.COUNT].sum())
        size = self.payload_bytes[name] - kernels.VECTOR_HEADER * entries
        if size < 0 or size % width:
            raise NotDecodable
        out, offsets = self.slab.take(size), self.slab.numbers(entries + 1)
        offsets[0] = 0
        self._decode(
            name,
            lambda raw, pieces: kernels.decode_vectors(addresses(), raw, pieces, self.scratch, width, out, offsets),
        )
        return out, offsets

    def _decode(self, name: str, kernel: Callable[[NDArray[np.uint8], NDArray[np.int64]], tuple[int, int]]) -> None:
        """Run a kernel over the baskets of a column, a second time where it lacks a codec."""
        pieces = self.pieces[name]
        status, about = kernel(self.raw, pieces)
        if status == kernels.NO_CODEC:
            status, about = kernel(*self._inflated(name))
        if status == kernels.NOT_VECTOR:
            raise NotDecodable
        if status != kernels.OK:
            raise decode_error(self.path, name, status, *pieces[about, kernels.FIRST : kernels.COUNT + 1])

    def _inflated(self, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The baskets of one column decompressed by Python's libraries, as bare payloads."""
        pieces = self.pieces[name].copy()
        with damage(self.path, f"column {name!r}"):
            payloads = [payload(self.raw, piece) for piece in pieces]
        sizes = np.array([len(p) for p in payloads], dtype=np.int64)
        pieces[:, kernels.AT] = np.cumsum(sizes) - sizes
        pieces[:, kernels.BYTES] = sizes
        pieces[:, kernels.SEEK] = -1
        return np.frombuffer(b"".join(payloads), dtype=np.uint8).copy(), pieces


def read_baskets(
    file: RawFile, table: BasketTable, columns: Sequence[str], start: int, stop: int
) -> tuple[dict[str, Column], list[str]]:
    """Entries [start, stop) of those `columns` that can be decoded here, and the names of the others.

    Raises CorruptFile naming the column and the entries whose basket is damaged.
    """
    ranges = _ranges(table, columns, start, stop)
    chosen = {name: table.branches[name] for name in columns if name in ranges}
    others = [name for name in columns if name not in chosen]
    chunk = _Chunk(file, table, ranges)
    collections: dict[str, _Lists] = {}
    counted: dict[str, NDArray[np.generic]] = {}
    for name in dict.fromkeys(b.counts for b in chosen.values() if b.counts):
        low, high = ranges[name]
        branch = table.branches[name]
        counts = chunk.numbers(name, branch, None, low, high).view(branch.dtype)
        collections[name] = _count(chunk, name, counts, low, start, stop)
        counted[name] = counts[start - low : stop - low]
    result: dict[str, Column] = {}
    for name, branch in chosen.items():
        if name in counted:
            result[name] = Column(counted[name])
            continue
        try:
            result[name] = _column(chunk, name, branch, collections.get(branch.counts), start, stop)
        except NotDecodable:
            others.append(name)
    return result, others


def baskets_of(table: BasketTable, columns: Sequence[str], start: int, stop: int) -> NDArray[np.int64]:
    """All baskets that `read_baskets` reads for the same."""
    ranges = _ranges(table, columns, start, stop)
    return np.concatenate([np.zeros((0, 5), np.int64), *[table.branches[n].pieces(*s) for n, s in ranges.items()]])


def _ranges(table: BasketTable, columns: Sequence[str], start: int, stop: int) -> dict[str, tuple[int, int]]:
    """Which entries of which branches are decoded for entries [start, stop) of columns."""
    ranges = {name: (start, stop) for name in columns if name in table.branches}
    for branch in [table.branches[name] for name in ranges]:
        if branch.counts:  # a basket's items start at its first entry, so that must be counted from there
            low, high = ranges.get(branch.counts, (start, stop))
            pieces = branch.pieces(start, stop)
            if len(pieces):
                low = min(low, int(pieces[0, kernels.FIRST]))
                high = max(high, int(pieces[-1, kernels.FIRST] + pieces[-1, kernels.COUNT]))
            ranges[branch.counts] = (low, high)
    return ranges


def _count(chunk: _Chunk, name: str, counts: NDArray[np.generic], low: int, start: int, stop: int) -> _Lists:
    bounds = chunk.slab.numbers(len(counts) + 1)
    if accumulate(counts, bounds) != kernels.OK:
        raise decode_error(chunk.path, name, kernels.BAD_COUNT, low, len(counts))
    if low == start and len(counts) == stop - start:
        return _Lists(low, bounds, bounds)
    offsets = bounds[start - low : stop - low + 1]
    return _Lists(low, bounds, offsets - offsets[0])


def _column(chunk: _Chunk, name: str, branch: BranchTable, lists: _Lists | None, start: int, stop: int) -> Column:
    if branch.layout == "vector":
        flat, offsets = chunk.vectors(name, branch)
        values = flat.view(branch.dtype)
        pieces = chunk.pieces[name]
        skipped = start - int(pieces[0, kernels.FIRST]) if len(pieces) else 0
        if skipped or len(offsets) - 1 != stop - start:
            offsets = offsets[skipped : skipped + stop - start + 1]
            values = values[offsets[0] : offsets[-1]].copy()
            offsets = offsets - offsets[0]
        return Column(values, offsets)
    values = chunk.numbers(name, branch, lists, start, stop).view(branch.dtype)
    if lists is not None:
        return Column(values, lists.offsets if branch.items == 1 else lists.offsets * branch.items)
    if branch.items > 1:
        return Column(values, np.arange(stop - start + 1, dtype=np.int64) * branch.items)
    return Column(values)
