"""Offsets of lists, out of counts (TTree) or of ends that start anew in each cluster (RNTuple)."""

from __future__ import annotations

from typing import Any

import numpy as np

from vrecompute.kernels.cache import compiled
from vrecompute.reader.kernels import BAD_COUNT, OK

__all__ = ["accumulate", "link"]


@compiled()
def accumulate(counts: Any, offsets: Any) -> int:
    """Running sum of `counts` from 0 into `offsets`; BAD_COUNT where one is negative or the sum beyond 2^48."""
    total = np.int64(0)
    offsets[0] = 0
    for i in range(len(counts)):
        n = np.int64(counts[i])
        total += n
        if n < 0 or total > 1 << 48:
            return BAD_COUNT
        offsets[i + 1] = total
    return OK


@compiled()
def link(ends: Any, lead: int, first: int, clusters: Any, bases: Any, offsets: Any) -> int:
    """Offsets from 0 out of ends of lists that count from each cluster's start; BAD_COUNT where they decrease.

    `ends[lead + i]` ends the list of entry `first + i`; `ends[0]` is the entry before where `lead` is 1.
    `clusters` are the first entries of the clusters, `bases` their first items (empty where there are none).
    """
    cluster = np.searchsorted(clusters, first, side="right") - 1
    offsets[0] = 0
    previous = np.int64(ends[0]) if lead else np.int64(0)
    for i in range(len(offsets) - 1):
        end = np.int64(ends[lead + i])
        if end < previous:
            return BAD_COUNT
        offsets[i + 1] = offsets[i] + end - previous
        previous = end
        while cluster + 1 < len(clusters) and first + i + 1 >= clusters[cluster + 1]:
            if len(bases) and previous != bases[cluster + 1] - bases[cluster]:
                return BAD_COUNT
            cluster, previous = cluster + 1, np.int64(0)
    return OK
