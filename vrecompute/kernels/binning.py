"""Exact bin search without searching: a lookup on the bits of x gives a bin at or below, a short walk ends it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

__all__ = ["Axis", "find_bin", "make_axis"]

_CELLS_PER_OCTAVE_BITS = 6


class Axis(NamedTuple):
    """What a kernel needs of one axis: float64 `edges`, and the `guess` bin of each cell of a cheap key.

    The key of x is `(bits(x) >> shift) - first`, cut to the table, with the bits of the float64 read as a
    signed integer: monotone in x for x > 0, which is what makes the guess never exceed the bin.
    """

    edges: NDArray[np.float64]
    guess: NDArray[np.int32]
    shift: int
    first: int


@intrinsic  # type: ignore[untyped-decorator]
def _bits(typingctx: Any, x: Any) -> Any:
    """The bits of a float64 as int64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.int64))

    return types.int64(types.float64), codegen


@njit(cache=True, nogil=True, error_model="numpy")
def find_bin(x: float, edges: NDArray[np.float64], guess: NDArray[np.int32], shift: int, first: int) -> int:
    """`numpy.searchsorted(edges, x, side="right")`: 0 is underflow, len(edges) overflow; NaN counts as overflow."""
    key = (_bits(x) >> shift) - first
    key = min(max(key, 0), guess.size - 1)
    index = np.int64(guess[np.uint64(key)])
    if x != x:
        return edges.size
    while index < edges.size and x >= edges[np.uint64(index)]:
        index += 1
    return index


def make_axis(edges: NDArray[np.float64]) -> Axis:
    """The lookup of strictly increasing finite `edges`; ValueError otherwise."""
    edges = np.ascontiguousarray(edges, dtype=np.float64)
    if edges.ndim != 1 or edges.size < 2 or not np.all(np.isfinite(edges)) or not np.all(np.diff(edges) > 0):
        raise ValueError("bin edges must be finite, strictly increasing and at least two")
    positive = edges[edges > 0]
    if positive.size == 0:
        return Axis(edges, np.zeros(1, np.int32), 0, 0)
    ratio = np.min(positive[1:] / positive[:-1]) if positive.size > 1 else 2.0
    # Cells at most as wide as the narrowest bin, so that the walk is one or two steps; at most 2^14 cells an octave.
    bits = int(np.clip(np.ceil(-np.log2(ratio - 1.0)), _CELLS_PER_OCTAVE_BITS, 14))
    shift = 52 - bits
    keys = edges.view(np.int64) >> shift
    first = int(positive[0].view(np.int64) >> shift) - 1
    last = int(keys[-1])
    cells = np.arange(first, last + 2)
    # The guess of a cell counts the edges whose key is smaller: by monotony each is below any x of the cell.
    # Edges at or below zero are below every positive x, and x <= 0 falls in the first cell, where the guess is 0.
    negative = np.count_nonzero(edges <= 0)
    ordered = keys[negative:]
    guess = negative + np.searchsorted(ordered, cells, side="left")
    guess[0] = 0
    return Axis(edges, guess.astype(np.int32), shift, first)
