"""`Identity`: what a planned file is recognised by when it is opened again."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Identity"]


@dataclass(frozen=True)
class Identity:
    """UUID of the file, its size in bytes, and the entries of its tree."""

    uuid: str
    size: int
    entries: int
