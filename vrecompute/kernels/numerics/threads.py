"""One kernel over a range, cut among threads: the kernels release the lock and never share what they write."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["run_in_threads"]


def run_in_threads(part: Callable[[int, int], None], count: int, threads: int, step: int) -> None:
    """Call `part(start, stop)` over [0, count), cut at multiples of `step`, in up to `threads` threads."""
    if threads <= 1:
        part(0, count)
        return
    # A few pieces for each thread even out what the sky does not spread evenly.
    size = step * max(1, -(-count // (8 * threads * step)))
    edges = [*range(0, count, size), count]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, edges[:-1], edges[1:]))
