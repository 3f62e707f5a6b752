"""Tables of baskets or pages as bytes: data only, versioned, with a checksum.

A magic of 8 bytes with the version, the length of a JSON header (uint32), the header, the arrays that it
names with their lengths (int64), embedded payloads, and an XXH3 of all before; numbers are little-endian.
"""

from __future__ import annotations

import json
import struct
from dataclasses import astuple
from operator import index
from typing import Any

import numpy as np
import xxhash

from vrecompute.errors import StoreError
from vrecompute.reader.baskets import BasketTable, BranchTable, check_baskets
from vrecompute.reader.identity import Identity
from vrecompute.reader.pages import FieldTable, PageColumn, PageTable, check_pages

__all__ = ["table_from_bytes", "table_to_bytes"]

_MAGIC = b"VRECTAB\x02"
_LENGTH = struct.Struct("<I")
_CHECKSUM = struct.Struct("<Q")
# What data of another shape than was written lead to.
_GARBLED = (
    *(LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, StopIteration),
    struct.error,
)
_BRANCH_ARRAYS = ("first", "seeks", "sizes")
_PAGE_ARRAYS = ("first", "seeks", "sizes", "checked", "clusters")


def table_to_bytes(table: BasketTable | PageTable) -> bytes:
    """The table as bytes; equal tables give equal bytes."""
    arrays: list[Any] = []
    head: dict[str, Any] = {
        "identity": list(astuple(table.identity)),
        "tree": table.tree,
        "unsupported": dict(table.unsupported),
    }
    blob = b""
    if isinstance(table, BasketTable):
        head["kind"] = "baskets"
        head["branches"] = [[n, b.layout, b.dtype, b.items, b.counts] for n, b in table.branches.items()]
        arrays += [getattr(b, array) for b in table.branches.values() for array in _BRANCH_ARRAYS]
        blob = table.embedded
    else:
        head["kind"] = "pages"
        head["fields"] = [[n, f.values, f.index, f.repeat, f.cardinality] for n, f in table.fields.items()]
        head["columns"] = [[number, c.encoding] for number, c in table.columns.items()]
        arrays.append(table.clusters)
        arrays += [getattr(c, array) for c in table.columns.values() for array in _PAGE_ARRAYS]
    head["lengths"] = [len(a) for a in arrays]
    head["blob"] = len(blob)
    header = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    numbers = b"".join(np.ascontiguousarray(a, dtype="<i8").tobytes() for a in arrays)
    data = _MAGIC + _LENGTH.pack(len(header)) + header + numbers + blob
    return data + _CHECKSUM.pack(xxhash.xxh3_64_intdigest(data))


def table_from_bytes(data: bytes) -> BasketTable | PageTable:
    """The table that `table_to_bytes` wrote; StoreError where it is damaged, of another version, or nonsense."""
    body, trailer = data[: -_CHECKSUM.size], data[-_CHECKSUM.size :]
    if data[:8] != _MAGIC:
        raise StoreError("this is no table of baskets of version 2; make it again from the file")
    if len(trailer) < _CHECKSUM.size or _CHECKSUM.pack(xxhash.xxh3_64_intdigest(body)) != trailer:
        raise StoreError("a table of baskets is damaged (checksum); make it again from the file")
    try:
        return _table(body)
    except _GARBLED as error:
        raise StoreError(f"a table of baskets is garbled: {error}; make it again from the file") from error


def _table(body: bytes) -> BasketTable | PageTable:
    """ValueError, or whatever values of another kind lead to, where it is not one that was made from a file."""
    (length,) = _LENGTH.unpack_from(body, 8)
    at = 8 + _LENGTH.size
    head = json.loads(body[at : at + length])
    numbers = np.frombuffer(body, dtype="<i8", offset=at + length, count=sum(head["lengths"])).astype(np.int64)
    arrays = iter(np.split(numbers, np.cumsum(head["lengths"])[:-1]))
    uuid, size, entries, content = head["identity"]
    identity = Identity(str(uuid), index(size), index(entries), str(content))
    tree, unsupported = str(head["tree"]), {str(name): str(why) for name, why in head["unsupported"].items()}
    if head["kind"] == "baskets":
        branches = {
            str(name): BranchTable(layout, str(dtype), index(items), counts, *[next(arrays) for _ in _BRANCH_ARRAYS])
            for name, layout, dtype, items, counts in head["branches"]
        }
        baskets = BasketTable(identity, tree, branches, unsupported, body[len(body) - head["blob"] :])
        check_baskets(baskets)
        return baskets
    clusters = next(arrays)
    columns = {
        index(number): PageColumn(index(encoding), *[next(arrays) for _ in _PAGE_ARRAYS])
        for number, encoding in head["columns"]
    }
    fields = {str(name): FieldTable(*rest) for name, *rest in head["fields"]}
    pages = PageTable(identity, tree, clusters, fields, columns, unsupported)
    check_pages(pages)
    return pages
