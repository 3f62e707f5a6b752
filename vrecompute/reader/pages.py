"""`PageTable`: where the pages of an RNTuple's columns are, so that workers need not parse its metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute.reader import rntuple
from vrecompute.reader.baskets import ordered
from vrecompute.reader.handles import Handle, damage
from vrecompute.reader.identity import Identity
from vrecompute.reader.kernels import BYTES, COUNT, FIRST, SEEK

__all__ = ["CHECKSUM_BYTES", "FieldTable", "PageColumn", "PageTable", "check_pages", "tabulate_pages"]

CHECKSUM_BYTES = 8

# Column types of the RNTuple Binary Format Specification 1.0, "Column Description", that kernels decode
_DTYPES = {
    0x00: "|b1",
    0x01: "|u1",
    0x02: "|u1",
    0x03: "|i1",
    0x04: "|u1",
    0x05: "<i2",
    0x06: "<u2",
    0x07: "<i4",
    0x08: "<u4",
    0x09: "<i8",
    0x0A: "<u8",
    0x0C: "<f4",
    0x0D: "<f8",
    0x0E: "<u4",
    0x0F: "<u8",
    0x11: "<i2",
    0x12: "<u2",
    0x13: "<i4",
    0x14: "<u4",
    0x15: "<i8",
    0x16: "<u8",
    0x18: "<f4",
    0x19: "<f8",
    0x1A: "<u4",
    0x1B: "<u8",
}

# Bytes that no codec makes out of one; the most is 128 KiB out of a block of 4 bytes, by ZSTD.
_MOST_EXPANDED = 1 << 16


@dataclass(frozen=True)
class PageColumn:
    """One physical column: its encoding (the specification's column type) and its pages.

    `first` are the first elements of the pages and at last the number of elements; `sizes` are bytes on
    disk with the checksum of 8 where `checked` is 1; `clusters` are the first elements of the clusters
    and at last the number of elements.
    """

    encoding: int
    first: NDArray[np.int64]
    seeks: NDArray[np.int64]
    sizes: NDArray[np.int64]
    checked: NDArray[np.int64]
    clusters: NDArray[np.int64]

    @property
    def dtype(self) -> str:
        """The type of its elements in memory."""
        return _DTYPES[self.encoding]

    def pieces(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pages that hold any of the elements [start, stop), as the kernels take them, and whether they are checked."""
        low = int(np.searchsorted(self.first, start, side="right")) - 1
        high = int(np.searchsorted(self.first, stop, side="left")) if stop > start else low
        pieces = np.zeros((max(high - low, 0), 5), dtype=np.int64)
        pieces[:, BYTES] = self.sizes[low:high]
        pieces[:, FIRST] = self.first[low:high]
        pieces[:, COUNT] = np.diff(self.first[low : high + 1])
        pieces[:, SEEK] = self.seeks[low:high]
        return pieces, self.checked[low:high]


@dataclass(frozen=True)
class FieldTable:
    """The physical columns of one field, by number; see `rntuple.Leaf`."""

    values: int | None
    index: int | None
    repeat: int
    cardinality: str


@dataclass(frozen=True)
class PageTable:
    """Pages of some fields of one RNTuple; `clusters` are first entries, at last the number of entries.

    `unsupported` fields, with their reasons, are for uproot to read.
    """

    identity: Identity
    tree: str
    clusters: NDArray[np.int64]
    fields: Mapping[str, FieldTable]
    columns: Mapping[int, PageColumn]
    unsupported: Mapping[str, str]


def tabulate_pages(handle: Handle, tree: str, columns: Sequence[str]) -> PageTable:
    """The table of the fields `columns`, which exist."""
    _, ntuple = handle.tree(tree)
    found = rntuple.fields(handle, tree)
    fields: dict[str, FieldTable] = {}
    physical: dict[int, PageColumn | str] = {}
    unsupported: dict[str, str] = {}
    with handle.lock:
        summaries = rntuple.summaries(handle, tree)
        entries = int(ntuple.num_entries)
        clusters = np.array([*[s.num_first_entry for s in summaries], entries], dtype=np.int64)
        for name in dict.fromkeys(columns):
            with damage(handle.path, f"field {name!r}"):
                leaf = rntuple.leaf_of(ntuple, found[name].field_id)
                if leaf is None:
                    unsupported[name] = "neither a number nor a list of numbers"
                    continue
                numbers = [n for n in (leaf.values, leaf.index) if n is not None]
                for number in numbers:
                    per_entry = 1 if number == leaf.index else leaf.repeat if leaf.index is None else 0
                    if number not in physical:
                        physical[number] = _pages(ntuple, number, clusters, per_entry)
                reasons = [reason for n in numbers if isinstance(reason := physical[n], str)]
                if reasons:
                    unsupported[name] = reasons[0]
                else:
                    fields[name] = FieldTable(leaf.values, leaf.index, leaf.repeat, leaf.cardinality)
        kept = {n: column for n, column in physical.items() if not isinstance(column, str)}
    identity = Identity(handle.uuid, handle.size, entries, handle.content)
    table = PageTable(identity, tree, clusters, fields, kept, unsupported)
    with damage(handle.path, f"page lists of {tree!r}"):
        check_pages(table)
    return table


def check_pages(table: PageTable) -> None:
    """ValueError where a table says what `tabulate_pages` never does, and reading by it would go astray."""
    for number, column in table.columns.items():
        bytes_of_checksum = CHECKSUM_BYTES * column.checked
        if not (
            column.encoding in _DTYPES
            and ordered(column.first, int(column.clusters[-1]))
            and len(column.clusters) == len(table.clusters)
            and ordered(column.clusters, int(column.clusters[-1]))
            and len(column.first) - 1 == len(column.seeks) == len(column.sizes) == len(column.checked)
            and np.all((column.checked == 0) | (column.checked == 1))
            and np.all((column.seeks >= 0) & (column.sizes >= bytes_of_checksum) & (column.sizes < 1 << 48))
        ):
            raise ValueError(f"the pages of column {number} are out of order")
    for name, field in table.fields.items():
        index = None if field.index is None else table.columns[field.index].dtype
        known = index in (None, "<u4", "<u8") and field.cardinality in ("", "u4", "u8")
        if not known or field.repeat < 1 or (field.values is None) != bool(field.cardinality):
            raise ValueError(f"field {name!r} is none that can be read by its columns")
    if not ordered(table.clusters, table.identity.entries):
        raise ValueError("clusters are out of order")
    _check(table.fields, table.columns, table.clusters)


def _pages(ntuple: Any, number: int, clusters: NDArray[np.int64], per_entry: int) -> PageColumn | str:
    """Pages of one physical column, or the reason why the kernels cannot decode it.

    `per_entry` elements belong to each entry; 0 where their number varies.
    """
    record = ntuple.column_records[number]
    absent = int(record.first_element_index)
    if record.type not in _DTYPES:
        return f"column type 0x{record.type:02x}"
    if len(ntuple._column_records_dict[record.field_id]) != 1:
        return "several representations"
    if absent and not per_entry:
        return "added late, within a list"
    # a column added late is not stored for the first entries, for which it is 0: a page without bytes
    counts, seeks, sizes, checked, starts = ([0, absent], [0], [0], [0], []) if absent else ([0], [], [], [], [])
    for cluster in ntuple.page_link_list[: len(clusters) - 1]:
        starts.append(len(counts) - 1)
        if number >= len(cluster):
            continue
        if cluster[number].suppressed:
            return "suppressed in some clusters"
        for page in cluster[number].pages:
            counts.append(int(page.num_elements))
            seeks.append(int(page.locator.offset))
            checked.append(int(page.has_checksum))
            sizes.append(int(page.locator.num_bytes) + CHECKSUM_BYTES * checked[-1])
    first = np.cumsum(np.array(counts, dtype=np.int64))
    firsts = first[[*starts, len(counts) - 1]]
    if absent:
        firsts = clusters * per_entry
        if first[-1] != firsts[-1] or not np.isin(firsts[firsts >= absent], first).all():
            return "added late, and not stored by cluster"
    arrays = [np.array(values, dtype=np.int64) for values in (seeks, sizes, checked)]
    return PageColumn(int(record.type), first, arrays[0], arrays[1], arrays[2], firsts)


def _check(fields: Mapping[str, FieldTable], columns: Mapping[int, PageColumn], clusters: NDArray[np.int64]) -> None:
    """ValueError where the elements of columns cannot be those of the entries, or of the bytes of the pages."""
    if clusters[0] != 0 or np.any(np.diff(clusters) < 0):
        raise ValueError("clusters are out of order")
    for number, column in columns.items():
        bits = 1 if column.dtype == "|b1" else 8 * np.dtype(column.dtype).itemsize
        stored = column.sizes - CHECKSUM_BYTES * column.checked
        beyond = np.diff(column.first) * bits // (8 * _MOST_EXPANDED) > stored
        if np.any(beyond[1:]) or (len(beyond) and beyond[0] and stored[0]):  # the first may stand for a late beginning
            raise ValueError(f"a page of column {number} has more elements than its bytes can hold")
    lists: dict[int, NDArray[np.int64]] = {}
    for name, field in fields.items():
        per_entry = field.index if field.index is not None else field.values
        if per_entry is None:
            raise ValueError(f"field {name!r} has no columns")
        repeat = 1 if field.index is not None else field.repeat
        if not np.array_equal(columns[per_entry].clusters, clusters * repeat):
            raise ValueError(f"field {name!r} has another number of elements than its clusters have entries")
        if field.values is not None and np.any(columns[field.values].clusters % field.repeat):
            raise ValueError(f"field {name!r} has a broken array of {field.repeat}")
        if field.index is not None and field.values is not None:
            items = columns[field.values].clusters // field.repeat
            if not np.array_equal(lists.setdefault(field.index, items), items):
                raise ValueError(f"field {name!r} has another number of elements than other fields of its lists")
