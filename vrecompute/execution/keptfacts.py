"""`facts_of`: the `FileFacts` that a store keeps, with the type and the range of each value checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from vrecompute.records import from_data

if TYPE_CHECKING:
    from vrecompute.reader import FileFacts

__all__ = ["check_layout", "differ", "facts_of"]

# What is said of a file whatever its columns are.
_OF_THE_FILE = ("kind", "tree", "uuid", "size", "entries", "content", "others")


def facts_of(raw: Mapping[str, Any]) -> FileFacts:
    """The facts whose `to_json` is `raw`. Raises ValueError, TypeError or LookupError for any other data."""
    from vrecompute.reader.facts import (
        FileFacts,
        StoredColumn,
    )  # with what decodes files: only where something is known

    names = [field.name for field in fields(StoredColumn)]
    stored = {name: dict(zip(names, values, strict=True)) for name, values in raw["stored"].items()}
    found = from_data(FileFacts, {**raw, "stored": stored})
    if min(found.size, found.entries) < 0:
        raise ValueError("a number of bytes or of events is below 0")
    return found


def check_layout(found: FileFacts) -> None:
    """ValueError unless every column lies in the file, from the first event to the last."""
    for starts in found.boundaries:
        whole = not found.entries or (len(starts) > 1 and (starts[0], starts[-1]) == (0, found.entries))
        if not whole or any(b < a for a, b in pairwise(starts)):
            raise ValueError("the boundaries of a column do not go from the first event to the last")
    if found.stored.keys() != found.available.keys():
        raise ValueError("columns have no types, or types no columns")
    for name, column in found.stored.items():
        if not 0 <= column.boundaries < len(found.boundaries):
            raise ValueError(f"column {name!r} has no boundaries")
        if min(column.uncompressed_bytes, column.compressed_bytes) < 0:
            raise ValueError(f"column {name!r} has fewer than 0 bytes")
        if column.counts and column.counts not in found.stored:
            raise ValueError(f"column {name!r} is counted by {column.counts!r}, which is not there")


def differ(facts: FileFacts, layout: FileFacts) -> str:
    """What two memories of one file say differently; empty where they agree."""
    said = [name for name in _OF_THE_FILE if getattr(facts, name) != getattr(layout, name)]
    if any(facts.available.get(name) != kind for name, kind in layout.available.items()):
        said.append("types of columns")
    return ", ".join(said)
