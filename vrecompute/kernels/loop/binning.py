"""Exact bin search and filling: a lookup on the bits of x gives a bin at or below, a short walk ends it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from vrecompute.kernels.loop.inline import inline

__all__ = ["Axis", "fill", "fill_weights", "find_bin", "make_axis"]

# Cells of the lookup: at least 2^6 per octave, at most 2^14 in all (64 kB) unless that is more.
_MIN_BITS, _MAX_CELLS = 6, 2**14
# Cells are at most 1/4 of a bin, so that seven of eight guesses are the bin and the walk is well predicted.
_FINER_BITS = 2


class Axis(NamedTuple):
    """What a kernel needs of one axis: float64 edges, and the `guess` bin of each cell of a cheap key.

    The key of x is `(bits(x) >> shift) - first`, cut to the table, with the bits of the float64 read as a
    signed integer: monotone in x for x > 0, which is why the guess is never above the bin. `padded` are the
    edges and a NaN, which no x reaches and which ends the walk.
    """

    padded: NDArray[np.float64]
    guess: NDArray[np.int32]
    shift: int
    first: int

    @property
    def edges(self) -> NDArray[np.float64]:
        """The edges, shape (bins + 1,)."""
        return self.padded[:-1]


def _float_bits(typingctx: Any, x: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.int64))

    return types.int64(types.float64), codegen


# The bits of a float64 as int64, inside compiled functions.
float_bits: Any = intrinsic(_float_bits)


@inline
def find_bin(axis: Axis, x: float) -> int:
    """`numpy.searchsorted(edges, x, side="right")`: 0 is underflow, len(edges) overflow; NaN counts as overflow."""
    if x != x:
        return axis.padded.size - 1
    key = min(max((float_bits(np.float64(x)) >> axis.shift) - axis.first, 0), axis.guess.size - 1)
    index = int(axis.guess[np.uint64(key)])
    while x >= axis.padded[np.uint64(index)]:
        index += 1
    return index


@inline
def fill(axis: Axis, sums: NDArray[np.float64], row: int, x: float, weight: float) -> int:
    """Add `weight` and its square to the bin of x in `row` of `sums`, flat (rows, len(edges) + 1, 2); give the bin."""
    index = find_bin(axis, x)
    at = np.uint64(2 * (row * axis.padded.size + index))
    sums[at] += weight
    sums[at + np.uint64(1)] += weight * weight
    return index


@inline
def fill_weights(sums: NDArray[np.float64], index: int, weight: float, factors: NDArray[np.float64], at: int) -> None:
    """Add weight times each factor of the event to bin `index` of `sums`, (len(edges) + 1, 2, factors).

    The factors lie side by side so that the loop over them is one of vector instructions.
    """
    for k in range(sums.shape[2]):
        varied = weight * factors[at, k]
        sums[index, 0, k] += varied
        sums[index, 1, k] += varied * varied


def make_axis(edges: NDArray[np.float64]) -> Axis:
    """The lookup of strictly increasing finite `edges`; ValueError otherwise."""
    edges = np.ascontiguousarray(edges, dtype=np.float64)
    if edges.ndim != 1 or edges.size < 2 or not np.all(np.isfinite(edges)) or not np.all(np.diff(edges) > 0):
        raise ValueError("bin edges must be at least two, finite and strictly increasing")
    positive = edges[edges > 0]
    if positive.size == 0:
        return Axis(np.append(edges, np.nan), np.zeros(1, np.int32), 0, 0)
    with np.errstate(over="ignore"):  # beside a denormal edge any other is infinitely far
        narrowest = float(np.min(positive[1:] / positive[:-1], initial=2.0)) - 1.0
    octaves = 1.0 + float(np.log2(positive[-1]) - np.log2(positive[0]))
    most = max(int(np.log2(_MAX_CELLS / octaves)), _MIN_BITS)
    bits = int(np.clip(np.ceil(-np.log2(narrowest)) + _FINER_BITS, _MIN_BITS, most))
    keys = positive.view(np.int64) >> (52 - bits)
    # One cell below the first positive edge takes everything up to it, x <= 0 included: its guess must be 0.
    first = int(keys[0]) - 1
    cells = np.arange(first, int(keys[-1]) + 2)
    guess = edges.size - positive.size + np.searchsorted(keys, cells, side="left")
    guess[0] = 0
    return Axis(np.append(edges, np.nan), guess.astype(np.int32), 52 - bits, first)
