"""`Identity`: what a planned file is recognised by when it is opened again; `stamp_of`: whether it may have changed."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["Identity", "stamp_of"]


@dataclass(frozen=True)
class Identity:
    """UUID of the file, its size in bytes, and the entries of its tree."""

    uuid: str
    size: int
    entries: int


def stamp_of(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a local file does: size, inode, times of modification and of change in ns.

    A program can put the time of modification back; none can put back the time of change.
    """
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
