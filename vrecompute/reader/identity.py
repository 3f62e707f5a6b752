"""`Identity`: what a planned file is recognised by when it is opened again; `origin_of`: if it may have changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vrecompute.reader.bytesource import ByteSource, Stamp, look_at, scheme_of
from vrecompute.reader.retry import retried

__all__ = ["Identity", "origin_at", "origin_of", "sampled_content"]

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


def sampled_content(source: ByteSource) -> str:
    """Hexadecimal sha256 over samples of a source. Raises UnreadableFile.

    The first sample holds the file's header, the last its list of keys and, as a rule, the metadata of its trees.
    Bytes between the samples are not seen: to be certain, compare the data themselves.
    """
    pieces = np.array([[0, source.size]], dtype=np.int64)
    if source.size > SAMPLES * SAMPLE_BYTES:
        starts = (source.size - SAMPLE_BYTES) * np.arange(SAMPLES, dtype=np.int64) // (SAMPLES - 1)
        pieces = np.stack([starts, starts + SAMPLE_BYTES], axis=1)
    samples = np.empty(int(np.sum(pieces[:, 1] - pieces[:, 0])), dtype=np.uint8)
    source.read_ranges(pieces, samples)
    return hashlib.sha256(samples.data).hexdigest()


@retried(lambda path: None)
def origin_of(address: str) -> str:
    """Names a source at its address as it is now, by its stamp. Raises UnreadableFile."""
    return origin_at(address, look_at(address).stamp)


def origin_at(address: str, stamp: Stamp) -> str:
    """The same for a source that was looked at."""
    place = address if scheme_of(address) else Path(address).absolute()
    return hashlib.sha256(f"{place} {stamp}".encode()).hexdigest()[:40]
