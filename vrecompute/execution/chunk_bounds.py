"""Where a source is cut into chunks: a pure function of its metadata, the declared columns and `chunk_bytes`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

__all__ = ["DEFAULT_CHUNK_BYTES", "split"]

DEFAULT_CHUNK_BYTES = 32 << 20


def split(entries: int, clusters: Sequence[int], data_bytes: int, chunk_bytes: int) -> tuple[int, ...]:
    """Chunk boundaries 0 .. entries: whole clusters up to `chunk_bytes` of uncompressed declared columns each.

    A cluster larger than that is cut evenly. `clusters` are boundaries including 0 and `entries`. The cut
    depends on nothing else, so it is the same on every site and for every number of workers.

    >>> split(100, [0, 30, 60, 100], data_bytes=1000, chunk_bytes=600)
    (0, 60, 100)
    >>> split(0, [0, 0], data_bytes=0, chunk_bytes=600)
    (0,)
    """
    if entries == 0:
        return (0,)
    per_chunk = max(1, entries if data_bytes <= 0 else int(chunk_bytes * entries // data_bytes))
    bounds = [0]
    for start, stop in pairwise(clusters):
        if stop - bounds[-1] > per_chunk and start > bounds[-1]:
            bounds.append(start)
        pieces = -(-(stop - bounds[-1]) // per_chunk)
        if pieces > 1:
            base, length = bounds[-1], stop - bounds[-1]
            bounds += [base + length * i // pieces for i in range(1, pieces + 1)]
    if bounds[-1] != entries:
        bounds.append(entries)
    return tuple(int(b) for b in bounds)
