"""RNTuple through uproot: its fields by path, and any range of them as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from vrecompute.datasets.columns import Column
from vrecompute.errors import CorruptFile
from vrecompute.reader.describe import DescribedColumn, Description
from vrecompute.reader.flatten import native
from vrecompute.reader.handles import Handle, damage
from vrecompute.reader.ttree import not_flat

__all__ = ["Leaf", "describe", "fields", "leaf_of", "read", "summaries"]

_LEAF, _COLLECTION, _RECORD = 0, 1, 2


@dataclass(frozen=True)
class Leaf:
    """Where the numbers of one field are: column numbers within the RNTuple.

    `index` is the column of collection offsets, None for one item per event; `repeat` is the length of
    a fixed-size array. A cardinality has no column of values: it is the differences of `index`.
    """

    values: int | None
    index: int | None
    repeat: int = 1
    cardinality: str = ""


def fields(handle: Handle, tree: str) -> dict[str, Any]:
    """Every named field by its path; subfields of a collection or record are `collection.field`."""

    def find() -> dict[str, Any]:
        _, ntuple = handle.tree(tree)
        with damage(handle.path, f"fields of {tree!r}"):
            return {f.path: f for f in ntuple.all_fields if not f.is_anonymous and not f.in_variant}

    return handle.keep(("fields", tree), find)


def summaries(handle: Handle, tree: str) -> list[Any]:
    """The clusters of the RNTuple; its page lists, which uproot does not verify, are verified first."""

    def verified() -> list[Any]:
        _, ntuple = handle.tree(tree)
        with damage(handle.path, f"page lists of {tree!r}"):
            for group in ntuple.footer.cluster_group_records:
                link = group.page_list_link
                chunk, _ = ntuple.read_locator(link.locator, link.env_uncomp_size)
                envelope = chunk.raw_data.tobytes()[: link.env_uncomp_size]
                if xxhash.xxh3_64_intdigest(envelope[:-8]) != int.from_bytes(envelope[-8:], "little"):
                    raise CorruptFile(handle.path, f"the page lists of {tree!r} differ from their checksum")
            len(ntuple.page_link_list)  # filled on first use, so here under the lock
            return list(ntuple.cluster_summaries)

    return handle.keep(("summaries", tree), verified)


def leaf_of(ntuple: Any, field_id: int) -> Leaf | None:
    """The columns of a field that holds one number or one list of numbers per event; None for any other."""
    records = ntuple.field_records
    index, parent = None, field_id
    while records[parent].parent_field_id != parent:  # ancestors: at most one collection among records
        parent = records[parent].parent_field_id
        if records[parent].struct_role == _COLLECTION:
            if index is not None:
                return None
            index = _column(ntuple, parent)
        elif records[parent].struct_role != _RECORD:
            return None
    repeat, current = 1, field_id
    while True:
        record = records[current]
        children = ntuple._related_ids.get(current, [])
        if record.type_name.startswith("std::optional"):
            return None
        if record.struct_role == _COLLECTION and index is None and repeat == 1 and len(children) == 1:
            index, current = _column(ntuple, current), children[0]
        elif record.struct_role == _LEAF and "RNTupleCardinality" in record.type_name and index is None:
            return Leaf(None, _column(ntuple, current), 1, "u8" if "64" in record.type_name else "u4")
        elif record.struct_role == _LEAF and record.repetition > 0 and len(children) == 1:
            repeat, current = repeat * record.repetition, children[0]
        elif record.struct_role == _LEAF and record.repetition == 0 and not children:
            values = _column(ntuple, current)
            return None if values is None else Leaf(values, index, repeat)
        else:
            return None


def _column(ntuple: Any, field_id: int) -> int | None:
    """Number of the only column (first representation) of a field or of what it projects; None for strings."""
    source = ntuple.field_records[field_id].source_field_id
    mine = ntuple._column_records_dict.get(field_id if source is None else source, [])
    mine = [c for c in mine if c.repr_idx == 0]
    return mine[0].idx if len(mine) == 1 else None


def describe(handle: Handle, tree: str) -> Description:
    """Entries and columns of an RNTuple."""
    found = fields(handle, tree)
    with handle.lock:
        _, ntuple = handle.tree(tree)
        with damage(handle.path, f"page lists of {tree!r}"):
            entries = int(ntuple.num_entries)
            starts = {int(s.num_first_entry) for s in summaries(handle, tree)}
            boundaries = tuple(sorted({0, *starts, entries}))
            if not 0 <= boundaries[-1] < 1 << 48:
                raise ValueError(f"{boundaries[-1]} entries are more than any file has")
            sizes = _column_bytes(ntuple)
            columns = {}
            for name, field in found.items():
                leaf = leaf_of(ntuple, field.field_id)
                numbers = [] if leaf is None else [c for c in (leaf.values, leaf.index) if c is not None]
                columns[name] = DescribedColumn(
                    type=str(field.typename) or "record",
                    boundaries=boundaries,
                    uncompressed_bytes=sum(sizes[c][0] for c in numbers),
                    compressed_bytes=sum(sizes[c][1] for c in numbers),
                )
    return Description(entries, columns)


def _column_bytes(ntuple: Any) -> dict[int, tuple[int, int]]:
    """Uncompressed and compressed bytes of each physical column over all clusters."""
    totals = {c.idx: (0, 0) for c in ntuple.column_records}
    nbits = {c.idx: int(c.nbits) for c in ntuple.column_records}
    for cluster in ntuple.page_link_list:
        for number, link in enumerate(cluster):
            raw, packed = totals[number]
            raw += sum((int(p.num_elements) * nbits[number] + 7) // 8 for p in link.pages)
            packed += sum(int(p.locator.num_bytes) for p in link.pages)
            totals[number] = (raw, packed)
    return totals


def read(handle: Handle, tree: str, columns: Sequence[str], start: int, stop: int) -> dict[str, Column]:
    """Events [start, stop) of fields that are known to exist.

    Raises MissingColumn for a field that holds no flat numbers, CorruptFile naming a damaged field.
    """
    found = fields(handle, tree)
    _, ntuple = handle.tree(tree)
    starts = np.array([c.num_first_entry for c in summaries(handle, tree)], dtype=np.int64)
    first = max(int(np.searchsorted(starts, start, side="right")) - 1, 0)
    last = min(max(int(np.searchsorted(starts, stop, side="left")), first + 1), len(starts))
    result = {}
    for name in columns:
        with damage(handle.path, f"field {name!r}"):
            leaf = leaf_of(ntuple, found[name].field_id)
            if leaf is None:
                raise not_flat(handle.path, name, str(found[name].typename) or "record")
            result[name] = _decode(ntuple, leaf, range(first, last), starts, start, stop)
    return result


def _decode(ntuple: Any, leaf: Leaf, clusters: range, starts: NDArray[np.int64], start: int, stop: int) -> Column:
    origin = int(starts[clusters.start]) if len(clusters) else start
    offsets = None
    low, high = start - origin, stop - origin
    if leaf.index is not None:
        ends = _elements(ntuple, leaf.index, clusters, origin)
        if len(ends) <= high:
            raise ValueError(f"{len(ends) - 1} events in its pages where {high} are needed")
        offsets = ends[low : high + 1].astype(np.int64)
        if leaf.cardinality:
            return Column(np.diff(offsets).astype(np.dtype(leaf.cardinality)))
        low, high = int(offsets[0]), int(offsets[-1])
        offsets = (offsets - low) * leaf.repeat
    elif leaf.repeat > 1:
        offsets = np.arange(stop - start + 1, dtype=np.int64) * leaf.repeat
    values = _elements(ntuple, leaf.values, clusters, None if leaf.index is not None else origin * leaf.repeat)
    if not 0 <= low <= high or high * leaf.repeat > len(values):
        raise ValueError(f"{len(values)} values in its pages where {high * leaf.repeat} are needed")
    return Column(native(values[low * leaf.repeat : high * leaf.repeat]), offsets)


def _elements(ntuple: Any, number: int | None, clusters: range, origin: int | None) -> NDArray[Any]:
    """One physical column over whole clusters; offsets are made continuous and start with a 0.

    `origin` is its first element there, None for items of lists, of which none can be absent.
    """
    # a field added late has no pages in the first clusters: its elements there are zero
    absent = int(ntuple.column_records[number].first_element_index)
    if origin is None and absent:
        raise ValueError("its items were added late, within lists")
    missing = max(absent - (origin or 0), 0)
    if not len(clusters):
        return np.zeros(1, dtype=ntuple.get_field_metadata(number).dtype_result)
    elements: NDArray[Any] = ntuple.read_cluster_range(
        number, clusters.start, clusters.stop, missing_element_padding=missing
    )
    return elements
