"""`Description`: the columns of one tree, whichever format it is stored in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["DescribedColumn", "Description"]


@dataclass(frozen=True)
class DescribedColumn:
    """Type as text, basket or cluster boundaries (0 to entries), bytes, and the leaf-count column it needs."""

    type: str
    boundaries: tuple[int, ...]
    uncompressed_bytes: int
    compressed_bytes: int
    counts: str = ""


@dataclass(frozen=True)
class Description:
    """Entries of a tree and its columns by name, in the order of the file."""

    entries: int
    columns: Mapping[str, DescribedColumn]
