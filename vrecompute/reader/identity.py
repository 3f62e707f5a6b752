"""`Identity`: what a planned file is recognised by when it is opened again; `stamp_of`: whether it may have changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vrecompute.reader.retry import retried, unreadable

__all__ = ["Identity", "origin_of", "sampled_content", "stamp_of"]

# A file of up to SAMPLES * SAMPLE_BYTES is read whole, in one read; of a larger one as many pieces, evenly spread.
SAMPLES, SAMPLE_BYTES = 8, 32 * 1024


@dataclass(frozen=True)
class Identity:
    """UUID of the file, its size in bytes, the entries of its tree, and `sampled_content` ("" where unknown).

    A UUID alone tells nothing: writers may be made to give every file the same one, and a file that is updated
    in place keeps its own.
    """

    uuid: str
    size: int
    entries: int
    content: str = ""


def sampled_content(read: Callable[[int, int], bytes], size: int) -> str:
    """Hexadecimal sha256 over samples of a file of `size` bytes; `read` gives the bytes [start, stop).

    The first sample holds the file's header, the last its list of keys and, as a rule, the metadata of its trees.
    Bytes between the samples are not seen: to be certain, compare the data themselves.
    """
    if size <= SAMPLES * SAMPLE_BYTES:
        return hashlib.sha256(read(0, size)).hexdigest()
    digest = hashlib.sha256()
    for number in range(SAMPLES):
        start = (size - SAMPLE_BYTES) * number // (SAMPLES - 1)
        digest.update(read(start, start + SAMPLE_BYTES))
    return digest.hexdigest()


def stamp_of(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a local file does: size, inode, times of modification and of change in ns.

    A program can put the time of modification back; none can put back the time of change.
    """
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


@retried(lambda path: None)
def origin_of(path: str) -> str:
    """Names a local file at its address as it is now, by its stamp. Raises UnreadableFile."""
    try:
        stamp = stamp_of(os.stat(path))
    except OSError as error:
        raise unreadable(path, "cannot be opened", error) from error
    return hashlib.sha256(f"{Path(path).absolute()} {stamp}".encode()).hexdigest()[:40]
