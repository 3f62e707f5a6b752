"""TTree through uproot: what its branches are, and any range of them as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vrecompute.datasets.columns import Column
from vrecompute.errors import CorruptFile, MissingColumn
from vrecompute.reader.describe import DescribedColumn, Description
from vrecompute.reader.flatten import NotFlat, flatten
from vrecompute.reader.handles import Handle, damage
from vrecompute.reader.packed import packing_of

__all__ = ["branches", "describe", "not_flat", "read", "repeated"]


def branches(handle: Handle, tree: str) -> dict[str, Any]:
    """Every branch that holds data, by its own name, or by its full path where the name occurs twice.

    A name belongs to the branch at the top of the tree before any within another. Of several branches of one
    path the first is taken, as ROOT and uproot do; see `repeated`.
    """
    return handle.keep(("branches", tree), lambda: _find(handle, tree))[0]


def repeated(handle: Handle, tree: str) -> frozenset[str]:
    """Names in `branches` that further branches of the tree have too, which cannot be asked for by name."""
    return handle.keep(("branches", tree), lambda: _find(handle, tree))[1]


def _find(handle: Handle, tree: str) -> tuple[dict[str, Any], frozenset[str]]:
    _, ttree = handle.tree(tree)
    found: dict[str, Any] = {}
    again = set()
    with damage(handle.path, f"tree {tree!r}"):
        top = {branch.name for branch in ttree.branches if not len(branch.branches)}
        for path, branch in ttree.iteritems(recursive=True):
            if len(branch.branches):
                continue
            free = branch.name not in found and (branch.name not in top or path == branch.name)
            name = branch.name if free else path
            if name in found:
                again.add(name)
            else:
                found[name] = branch
    return found, frozenset(again)


def describe(handle: Handle, tree: str) -> Description:
    """Entries and columns of a TTree.

    A branch whose own metadata make no sense is described as unreadable: only reading it is an error.
    """
    _, ttree = handle.tree(tree)
    found = branches(handle, tree)
    with damage(handle.path, f"tree {tree!r}"):
        entries = int(ttree.num_entries)
    names = {id(branch): name for name, branch in found.items()}
    columns = {}
    for name, branch in found.items():
        try:
            with damage(handle.path, f"branch {name!r}"):
                count_branch, packing = branch.count_branch, packing_of(branch)
                columns[name] = DescribedColumn(
                    type=packing.type if packing else str(branch.typename or branch.title),
                    boundaries=tuple(sorted({0, *branch.entry_offsets, entries})),
                    uncompressed_bytes=int(branch.member("fTotBytes")),
                    compressed_bytes=int(branch.member("fZipBytes")),
                    counts="" if count_branch is None else names.get(id(count_branch), ""),
                )
        except CorruptFile as error:
            columns[name] = DescribedColumn(f"unreadable: {error.reason}", tuple(sorted({0, entries})), 0, 0)
    return Description(entries, columns)


def read(handle: Handle, tree: str, columns: Sequence[str], start: int, stop: int) -> dict[str, Column]:
    """Events [start, stop) of branches that are known to exist.

    Raises MissingColumn for a branch that holds no flat numbers, CorruptFile naming a damaged branch.
    """
    found = branches(handle, tree)
    result = {}
    for name in columns:
        branch = found[name]
        with damage(handle.path, f"branch {name!r}"):
            if getattr(branch, "_tree_iofeatures", 0) and branch.count_branch is not None:
                reason = "is a list stored with ROOT's experimental I/O features; write the tree again without them"
                raise MissingColumn(handle.path, f"column {name!r} {reason}")
            with handle.lock:
                packing = packing_of(branch)
                interpretation = packing.interpretation() if packing else branch.interpretation
            _require_flat(handle.path, name, interpretation)
            array = branch.array(interpretation, entry_start=start, entry_stop=stop, library="ak")
            try:
                column = flatten(array)
            except NotFlat as error:
                raise not_flat(handle.path, name, str(error)) from error
            result[name] = packing.column(column) if packing else column
    return result


def _require_flat(path: str, name: str, interpretation: Any) -> None:
    from uproot.interpretation.jagged import AsJagged
    from uproot.interpretation.numerical import Numerical
    from uproot.interpretation.objects import AsStridedObjects

    content = interpretation.content if isinstance(interpretation, AsJagged) else interpretation
    if not isinstance(content, Numerical) or isinstance(content, AsStridedObjects):
        raise not_flat(path, name, interpretation.typename or str(interpretation))


def not_flat(path: str, name: str, type_text: str) -> MissingColumn:
    """The error for a column that exists but is neither a number nor a list of numbers per event."""
    return MissingColumn(
        path, f"column {name!r} is of type {type_text}; only numbers and lists of numbers per event can be read"
    )
