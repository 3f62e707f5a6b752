"""Leave-one-out likelihood of the kernel bandwidths, and its best point on a grid.

L(s, v) = sum_i ln[ sum_{j != i} exp(-d_ij^2/2s^2 - (ln n_i - ln n_j)^2/2v^2) / n_i / ((2 pi)^(3/2) s^2 v (N-1)) ]:
the probability density, in position and counts, that all other points predict for each point (Calore et
al., JCAP 10 (2018) 029). Neighbours beyond `cut_sigma` s are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vrecompute.kernels.cache import compiled
from vrecompute.kernels.numerics.gauss import LOG2_E, REORDER, dot_block, exp2_minus, tile_exponents, tile_weights
from vrecompute.kernels.numerics.neighbours import Kernel, Metric, Tiles, as_points, box_gap2, build_tiles, make_kernel
from vrecompute.kernels.numerics.threads import run_in_threads

__all__ = ["Score", "best_bandwidths", "score", "score_grid", "score_truncation"]

_TILE = 64
# An exponent beyond every limit, for the point that is left out.
_FAR = 1e300


@dataclass(frozen=True)
class Score:
    """L of one pair of bandwidths, NaN where `empty` > 0 points have no neighbour within the cut.

    `sums` (N,) is the sum over the other points of their Gaussian factors, for each point.
    """

    value: float
    empty: int
    sums: NDArray[np.float64]


def score_truncation(found: Score, counts: ArrayLike, v: float, cut_sigma: float) -> float:
    """How much larger L(s, v) may be without the cut at `cut_sigma`, by Score `found` of the same points.

    A neighbour that is cut weighs at most exp(-cut_sigma^2 / 2) times its factor in counts.
    """
    values, which, multiplicity = np.unique(np.log(np.asarray(counts, float)), return_inverse=True, return_counts=True)
    alike = np.array([multiplicity @ np.exp(-0.5 * ((values - value) / v) ** 2) for value in values])
    missing = np.exp(-0.5 * cut_sigma**2) * alike[which]
    return float(np.sum(np.log1p(missing / found.sums)))


def score(
    positions: ArrayLike,
    counts: ArrayLike,
    s: float,
    v: float,
    *,
    metric: Metric = "sphere",
    cut_sigma: float = 8.0,
    threads: int = 1,
) -> Score:
    """L(s, v) of N points: `positions` (N, 2) in degrees (planar: any features), positive `counts` (N,).

    Float64; 1e-9 relative to the plain double loop and its bytes do not depend on `threads`.
    """
    points, n, log_n = _checked(positions, counts, metric, v)
    kernel = make_kernel(s, metric, cut_sigma)
    tiles = build_tiles(points, log_n[:, None], kernel, _TILE, "float64")
    sums = np.zeros(len(tiles.order))
    steepness = float(np.sqrt(0.5 * LOG2_E) / v)

    def part(start: int, stop: int) -> None:
        arguments = (*_shared(tiles, kernel, len(n)), steepness, start, stop, sums)
        _pair_sums(*arguments)

    run_in_threads(part, len(tiles.points), threads, 1)
    real = tiles.order >= 0
    by_point = np.empty(len(n))
    by_point[tiles.order[real]] = sums[real]
    return _total(by_point, n, s, v)


def score_grid(
    positions: ArrayLike,
    counts: ArrayLike,
    s_grid: ArrayLike,
    v_grid: ArrayLike,
    *,
    metric: Metric = "sphere",
    cut_sigma: float = 8.0,
    threads: int = 1,
) -> NDArray[np.float64]:
    """L on a grid, shape (len(s_grid), len(v_grid)); NaN where a point has no neighbour within the cut.

    The Gaussian factors of a pair of points are taken once per s and once per v, and their products
    summed as a small matrix product, so a 20 x 20 grid costs a few scores and not 400.
    """
    s_values, v_values = np.atleast_1d(np.asarray(s_grid, float)), np.atleast_1d(np.asarray(v_grid, float))
    points, n, log_n = _checked(positions, counts, metric, float(v_values.min()))
    # Tiles and reach are those of the widest kernel; each s has its own cut in the sum.
    widest = make_kernel(float(s_values.max()), metric, cut_sigma)
    tiles = build_tiles(points, log_n[:, None], widest, _TILE, "float64")
    relative = (s_values.max() / s_values) ** 2
    steepness = 0.5 * LOG2_E / v_values**2
    sums = np.zeros((len(tiles.order), len(s_values), len(v_values)))

    def part(start: int, stop: int) -> None:
        arguments = (*_shared(tiles, widest, len(n)), relative, steepness, start, stop, sums)
        _grid_sums(*arguments)

    run_in_threads(part, len(tiles.points), threads, 1)
    real = tiles.order >= 0
    by_point = np.empty((len(n), len(s_values), len(v_values)))
    by_point[tiles.order[real]] = sums[real]
    values = np.empty((len(s_values), len(v_values)))
    for i, s in enumerate(s_values):
        for k, v in enumerate(v_values):
            values[i, k] = _total(by_point[:, i, k], n, float(s), float(v)).value
    return values


def best_bandwidths(values: NDArray[np.float64], s_grid: ArrayLike, v_grid: ArrayLike) -> tuple[float, float]:
    """The (s, v) of the largest finite score on a grid. Raises ValueError where no score is finite."""
    if not np.isfinite(values).any():
        raise ValueError("no pair of bandwidths has a finite score: every kernel is narrower than the gaps in the data")
    i, k = np.unravel_index(np.nanargmax(values), values.shape)
    return float(np.asarray(s_grid)[i]), float(np.asarray(v_grid)[k])


def _checked(
    positions: ArrayLike, counts: ArrayLike, metric: Metric, v: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    points = as_points(positions, metric, "positions")
    n = np.asarray(counts, dtype=np.float64)
    if n.shape != (len(points),):
        raise ValueError(f"counts must have shape ({len(points)},), not {n.shape}")
    if len(n) < 2 or not (np.isfinite(n).all() and (n > 0).all()):
        raise ValueError("a leave-one-out score needs at least two points, all with positive counts")
    if not (np.isfinite(v) and v > 0):
        raise ValueError(f"bandwidth in ln(counts) {v!r} must be a positive number")
    return points, n, np.log(n)


def _shared(tiles: Tiles, kernel: Kernel, count: int) -> tuple[Any, ...]:
    """The arguments that both compiled loops begin with."""
    log_n = np.ascontiguousarray(tiles.columns[:, 0, :])
    reach = kernel.reach * (1.0 + 1e-5)
    shape = (reach, kernel.kappa, kernel.limit, kernel.narrow, kernel.wide)
    return (tiles.points, log_n, tiles.centre, tiles.low, tiles.high, *shape, count)


def _total(sums: NDArray[np.float64], n: NDArray[np.float64], s: float, v: float) -> Score:
    empty = int(np.count_nonzero(sums == 0.0))
    if empty:
        return Score(float("nan"), empty, sums)
    norm = (2 * np.pi) ** 1.5 * s**2 * v * (len(n) - 1)
    value = float(np.sum(np.log(sums) - np.log(n)) - len(n) * np.log(norm))
    return Score(value, 0, sums)


@compiled(error_model="numpy")
def _gather(
    q: int,
    points: NDArray[Any],
    values: NDArray[Any],
    centre: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    reach: float,
    count: int,
    near: NDArray[np.float64],
    near_values: NDArray[np.float64],
) -> tuple[int, int]:
    """Copy the points of all tiles within reach of tile `q`, about the centre of `q`, to `near` (F, M).

    Returns how many there are, and where among them those of `q` itself begin.
    """
    tiles, features, size = points.shape
    found, own = 0, 0
    for k in range(tiles):
        if box_gap2(low[k], high[k], low[q], high[q]) > reach * reach:
            continue
        if k == q:
            own = found
        real = min(size, count - k * size)
        for f in range(features):
            shift = centre[k, f] - centre[q, f]
            for j in range(real):
                near[f, found + j] = points[k, f, j] + shift
        for j in range(real):
            near_values[found + j] = values[k, j]
        found += real
    return found, own


@compiled(fastmath=REORDER, error_model="numpy")
def _pair_sum(exponents: NDArray[Any], values: NDArray[Any], value: float, steepness: float, limit: float) -> float:
    """Sum of 2^-(exponents + (steepness (values - value))^2), where the first term is within `limit`."""
    total = 0.0
    for j in range(values.size):
        u = (values[j] - value) * steepness
        t = exponents[j] + u * u
        w = exp2_minus(t)
        # A pair so far apart in counts that its weight underflows adds nothing.
        total += w if (exponents[j] <= limit and t <= 1000.0) else 0.0
    return total


@compiled(error_model="numpy")
def _pair_sums(
    points: NDArray[Any],
    values: NDArray[Any],
    centre: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    reach: float,
    kappa: float,
    limit: float,
    narrow: bool,
    wide: bool,
    count: int,
    steepness: float,
    start: int,
    stop: int,
    sums: NDArray[np.float64],
) -> None:
    """`sums[i]` over all other points, for the points of tiles [start, stop)."""
    tiles, features, size = points.shape
    near, near_values = np.empty((features, tiles * size)), np.empty(tiles * size)
    exponents, local = np.empty(tiles * size), np.empty(features)
    for q in range(start, stop):
        found, own = _gather(q, points, values, centre, low, high, reach, count, near, near_values)
        for i in range(min(size, count - q * size)):
            for f in range(features):
                local[f] = points[q, f, i]
            tile_exponents(near, local, kappa, narrow, wide, exponents[:found])
            exponents[own + i] = _FAR
            sums[q * size + i] = _pair_sum(exponents[:found], near_values[:found], values[q, i], steepness, limit)


@compiled(error_model="numpy")
def _grid_sums(
    points: NDArray[Any],
    values: NDArray[Any],
    centre: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    reach: float,
    kappa: float,
    limit: float,
    narrow: bool,
    wide: bool,
    count: int,
    relative: NDArray[np.float64],
    steepness: NDArray[np.float64],
    start: int,
    stop: int,
    sums: NDArray[np.float64],
) -> None:
    """`sums[i]` (S, V) over all other points: factors in space for each s times factors in counts for each v."""
    tiles, features, size = points.shape
    spaces, spreads = relative.size, steepness.size
    rows, columns = -(-spaces // 4) * 4, -(-spreads // 2) * 2
    near, near_values = np.empty((features, tiles * size)), np.empty(tiles * size)
    exponents, scaled, local = np.empty(tiles * size), np.empty(tiles * size), np.empty(features)
    in_space, in_counts = np.zeros((rows, tiles * size)), np.zeros((columns, tiles * size))
    total = np.empty((rows, columns))
    for q in range(start, stop):
        found, own = _gather(q, points, values, centre, low, high, reach, count, near, near_values)
        for i in range(min(size, count - q * size)):
            for f in range(features):
                local[f] = points[q, f, i]
            tile_exponents(near, local, kappa, narrow, wide, exponents[:found])
            exponents[own + i] = _FAR
            for r in range(spaces):
                for j in range(found):
                    scaled[j] = exponents[j] * relative[r]
                tile_weights(scaled[:found], limit, in_space[r])
            for c in range(spreads):
                for j in range(found):
                    u = near_values[j] - values[q, i]
                    scaled[j] = u * u * steepness[c]
                tile_weights(scaled[:found], 1000.0, in_counts[c])
            total[:] = 0.0
            for r in range(0, rows, 4):
                for c in range(0, columns, 2):
                    dot_block(in_space[r : r + 4], in_counts[c, :found], in_counts[c + 1, :found], total, r, c)
            for r in range(spaces):
                for c in range(spreads):
                    sums[q * size + i, r, c] = total[r, c]
