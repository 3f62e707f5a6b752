"""`BasketTable`: where the baskets of a TTree's columns are, so that workers need not parse its metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vrecompute.reader import ttree
from vrecompute.reader.handles import Handle, damage
from vrecompute.reader.identity import Identity
from vrecompute.reader.kernels import BYTES, COUNT, FIRST, SEEK
from vrecompute.reader.packed import packing_of

__all__ = ["BasketTable", "BranchTable", "check_baskets", "ordered", "tabulate_baskets"]

Layout = Literal["fixed", "counted", "vector"]
_DTYPES = frozenset(np.dtype(t).str for t in ("?", *(f"{k}{n}" for k in "iu" for n in (1, 2, 4, 8)), "f2", "f4", "f8"))
# Of positions, bytes and numbers: none that is true is as large, and sums of a few fit in 64 bits.
_MOST = 1 << 48


@dataclass(frozen=True)
class BranchTable:
    """One branch: how its numbers are laid out, and its baskets.

    `fixed`: `items` numbers per entry. `counted`: as many times `items` numbers as the branch `counts`
    says. `vector`: a std::vector of numbers, each with a 10-byte header. `dtype` is the native one.
    `first` are the first entries of the baskets and at last the number of entries; `seeks` are their
    positions in the file, or -1 - n for a payload at byte n of the table's `embedded`; `sizes` in bytes.
    """

    layout: Layout
    dtype: str
    items: int
    counts: str
    first: NDArray[np.int64]
    seeks: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def pieces(self, start: int, stop: int) -> NDArray[np.int64]:
        """The baskets that hold any of the entries [start, stop), as the kernels take them."""
        low = int(np.searchsorted(self.first, start, side="right")) - 1
        high = int(np.searchsorted(self.first, stop, side="left")) if stop > start else low
        pieces = np.zeros((max(high - low, 0), 5), dtype=np.int64)
        pieces[:, BYTES] = self.sizes[low:high]
        pieces[:, FIRST] = self.first[low:high]
        pieces[:, COUNT] = np.diff(self.first[low : high + 1])
        pieces[:, SEEK] = self.seeks[low:high]
        return pieces


@dataclass(frozen=True)
class BasketTable:
    """Baskets of some columns of one TTree. `unsupported` columns, with their reasons, are for uproot to read."""

    identity: Identity
    tree: str
    branches: Mapping[str, BranchTable]
    unsupported: Mapping[str, str]
    embedded: bytes = b""


def tabulate_baskets(handle: Handle, tree: str, columns: Sequence[str]) -> BasketTable:
    """The table of `columns`, which exist, and of the leaf counts that they need."""
    _, opened = handle.tree(tree)
    found = ttree.branches(handle, tree)
    names = {id(branch): name for name, branch in found.items()}
    branches: dict[str, BranchTable] = {}
    unsupported: dict[str, str] = {}
    embedded = bytearray()
    wanted = list(dict.fromkeys(columns))
    for name in wanted:  # grows by the counts that turn out to be needed
        with damage(handle.path, f"branch {name!r}"), handle.lock:
            branch = found[name]
            shape = _shape(branch)
            if isinstance(shape, str):
                unsupported[name] = shape
                continue
            layout, dtype, items = shape
            counts = names.get(id(branch.count_branch), "") if layout == "counted" else ""
            if layout == "counted" and not counts:
                unsupported[name] = "its counts are a later branch of a name that occurs twice"
                continue
            if counts and counts not in wanted:
                wanted.append(counts)
            first, seeks, sizes = _baskets(branch, embedded)
            if first[-1] != opened.num_entries:
                raise ValueError(f"it has {first[-1]} entries, its tree {opened.num_entries}")
            branches[name] = BranchTable(layout, dtype, items, counts, first, seeks, sizes)
    for name, table in list(branches.items()):
        if table.counts in unsupported or (table.counts and branches[table.counts].layout != "fixed"):
            unsupported[name] = f"its counts {table.counts!r} are no plain numbers"
            del branches[name]
    identity = Identity(handle.uuid, handle.size, int(opened.num_entries), handle.content)
    return BasketTable(identity, tree, branches, unsupported, bytes(embedded))


def check_baskets(table: BasketTable) -> None:
    """ValueError where a table says what `tabulate_baskets` never does, and reading by it would go astray."""
    for name, branch in table.branches.items():
        counter = table.branches.get(branch.counts)
        bare = branch.seeks < 0
        if not (
            branch.layout in get_args(Layout)
            and branch.dtype in _DTYPES
            and 1 <= branch.items < _MOST
            and (branch.layout != "vector" or branch.items == 1)
            and (counter is not None and counter.layout == "fixed" if branch.layout == "counted" else not branch.counts)
            and ordered(branch.first, table.identity.entries)
            and len(branch.first) - 1 == len(branch.seeks) == len(branch.sizes)
            and np.all((branch.sizes >= 0) & (branch.sizes < _MOST) & (branch.seeks < _MOST))
            and np.all(branch.sizes[bare] <= len(table.embedded) + 1 + branch.seeks[bare])
        ):
            raise ValueError(f"the baskets of {name!r} are out of order")


def ordered(first: NDArray[np.int64], count: int) -> bool:
    """Whether these are first numbers of pieces that hold `count`: from 0 to it, and never less than before."""
    return bool(len(first) and first[0] == 0 and first[-1] == count < _MOST and np.all(np.diff(first) >= 0))


def _shape(branch: Any) -> tuple[Layout, str, int] | str:
    """Layout, dtype and items of a branch, or the reason why the kernels cannot decode it."""
    from uproot.interpretation.jagged import AsJagged
    from uproot.interpretation.numerical import AsDtype

    if packing := packing_of(branch):
        return f"packed numbers: {packing.type}"
    interpretation = branch.interpretation
    if getattr(branch, "_tree_iofeatures", 0):
        return "its tree has I/O features"
    layout: Layout = "fixed"
    content = interpretation
    if type(interpretation) is AsJagged:
        content = interpretation.content
        if interpretation.header_bytes == 0 and branch.count_branch is not None:
            layout = "counted"
        elif interpretation.header_bytes == 10 and branch.count_branch is None:
            layout = "vector"
        else:
            return f"an unusual list: {interpretation!r}"
    elif branch.count_branch is not None:
        return f"counts without lists: {interpretation!r}"
    if type(content) is not AsDtype:
        return f"not plain numbers: {interpretation!r}"
    stored, native = content.from_dtype, content.to_dtype
    if stored.base.kind not in "biuf" or stored.base.itemsize not in (1, 2, 4, 8) or stored.base.byteorder == "<":
        return f"not plain big-endian numbers: {stored}"
    if native.base != stored.base.newbyteorder("=") or native.shape != stored.shape:
        return f"converted from {stored} to {native}"
    items = int(np.prod(stored.shape, dtype=np.int64))
    return (layout, native.base.str, items) if items and (layout != "vector" or items == 1) else "an unusual vector"


def _baskets(branch: Any, embedded: bytearray) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """First entries, positions and sizes of all baskets; payloads kept inside the metadata go to `embedded`."""
    first = np.array(branch.entry_offsets, dtype=np.int64)
    normal = len(first) - 1 - len(branch.embedded_baskets)
    seeks = np.zeros(len(first) - 1, dtype=np.int64)
    sizes = np.zeros(len(first) - 1, dtype=np.int64)
    seeks[:normal] = branch.member("fBasketSeek")[:normal]
    sizes[:normal] = branch.member("fBasketBytes")[:normal]
    for number, basket in enumerate(branch.embedded_baskets, start=normal):
        data = np.asarray(basket.data, dtype=np.uint8).tobytes()
        seeks[number], sizes[number] = -1 - len(embedded), len(data)
        embedded += data
    if np.any(np.diff(first) < 0) or np.any(sizes < 0) or np.any(seeks[:normal] <= 0):
        raise ValueError("its basket table is out of order")
    return first, seeks, sizes
