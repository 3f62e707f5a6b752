"""What an event loop is given for one chunk, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Chunk", "Collection", "Filled", "FilledHistogram"]


@dataclass(frozen=True)
class Collection:
    """Objects of all events of a chunk: int64 `offsets` of shape (events + 1,), columns of shape (objects,)."""

    offsets: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class FilledHistogram:
    """Sums of weights and of their squares, shape (variations, bins + 2): underflow first, overflow last."""

    variations: tuple[str, ...]
    edges: NDArray[np.float64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]


@dataclass(frozen=True)
class Filled:
    """What a loop gives for a chunk. Cutflow and counters are of the nominal variation."""

    histograms: dict[str, FilledHistogram]
    cutflow: dict[str, dict[str, int]]
    counters: dict[str, float]


@dataclass(frozen=True)
class Chunk:
    """What one call of `run` was given."""

    events: int
    collections: dict[str, Collection]
    event: dict[str, NDArray[Any]]
    parameters: dict[str, float]
    variations: tuple[str, ...]
    weight_names: tuple[str, ...]
    factors: NDArray[Any]
