"""Gaussian-kernel (Nadaraya-Watson) regression: weighted mean and variance of several outputs at many positions.

mean_e(x) = sum_i w_i y_ie / sum_i w_i and variance_e(x) = v_e^2 + <y_e^2>_w - <y_e>_w^2, with
w_i = exp(-d(x, x_i)^2 / 2 s^2) and the sums over the training points where output e is valid
(Calore et al., JCAP 10 (2018) 029, with y = ln counts). Weights beyond `cut_sigma` s are exactly zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vrecompute.kernels.cache import compiled
from vrecompute.kernels.numerics.gauss import dot_block, tile_exponents, tile_weights
from vrecompute.kernels.numerics.neighbours import Metric, as_points, box_gap2, build_tiles, kd_order, make_kernel
from vrecompute.kernels.numerics.threads import run_in_threads

__all__ = ["Precision", "Regression", "regress", "truncation_bound"]

Precision = Literal["float64", "float32"]
# Points per tile: small tiles follow a narrow kernel closely, large ones keep the dense loops long.
_TILE = {"float64": 64, "float32": 512}
# Queries per register block, and per trip through the tiles.
_ROWS = 4
_GROUP = 128


@dataclass(frozen=True)
class Regression:
    """Predictions at N positions of E outputs, each of shape (N, E), float64.

    `weight` is the sum of the kernel weights over the valid points within the cut. Where there is none
    `mean` and `variance` are NaN and `weight` is 0.
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    weight: NDArray[np.float64]

    @property
    def empty(self) -> NDArray[np.int64]:
        """How many of the N predictions have no neighbour, for each output, shape (E,)."""
        return np.asarray(np.count_nonzero(self.weight == 0.0, axis=0))


def truncation_bound(
    weight: ArrayLike, points: ArrayLike, spread: ArrayLike, cut_sigma: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far the mean and the variance may be from those of the uncut kernel.

    `weight` is that of the Regression, `points` how many training points the output has, `spread` the
    largest less the smallest of its values. What is cut weighs at most points * exp(-cut_sigma^2 / 2),
    so it is at most a fraction f = that / (that + weight) of everything, and f of the values can move the
    mean by f * spread and the variance by 1.25 f spread^2. Infinite where `weight` is 0.
    """
    missing = np.asarray(points, dtype=np.float64) * np.exp(-0.5 * cut_sigma**2)
    kept = np.asarray(weight, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = np.where(kept > 0, missing / (missing + kept), np.inf)
        reach = np.asarray(spread, dtype=np.float64)
        return fraction * reach, 1.25 * fraction * reach**2


def regress(
    train: ArrayLike,
    values: ArrayLike,
    query: ArrayLike,
    bandwidth: float,
    *,
    metric: Metric = "sphere",
    valid: ArrayLike | None = None,
    value_bandwidth: ArrayLike = 0.0,
    cut_sigma: float = 8.0,
    precision: Precision = "float64",
    tile: int | None = None,
    threads: int = 1,
) -> Regression:
    """Predict E outputs at N positions from M training points.

    `train` (M, F) and `query` (N, F) are longitude and latitude in degrees on the `sphere` (great-circle
    distance), and any features, taken as they are, in the `planar` metric (published gamma-ray code:
    degrees without cos b and without wrap). `values` (M, E) count where `valid` (M, E) is true; what they
    hold elsewhere is not read. `bandwidth` is s, in degrees on the sphere; `value_bandwidth` is v, one
    number or (E,). `cut_sigma` is the truncation; `truncation_bound` says what it may change.

    float64 agrees with the uncut sum to 1e-12 within that bound. A float32 weight 2^-t is good to about
    1e-7 (3 + t + D sqrt t) relative, for tiles D bandwidths across, and totals are float64: about 1e-6 of the
    spread of values on the mean, and up to 1e-5 where a tile is hundreds of bandwidths across. The answer for a
    position has the same bytes whatever other positions are asked for with it and for any number of `threads`.
    Raises ValueError for what makes no sense.
    """
    y = np.asarray(values, dtype=np.float64)
    if y.ndim != 2:
        raise ValueError(f"values must have shape (points, outputs), not {y.shape}")
    points, positions = as_points(train, metric, "train"), as_points(query, metric, "query")
    if len(y) != len(points) or positions.shape[1] != points.shape[1]:
        raise ValueError(f"train {points.shape}, values {y.shape} and query {positions.shape} do not fit together")
    mask = np.ones(y.shape, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    if mask.shape != y.shape:
        raise ValueError(f"valid must have the shape of values, {y.shape}, not {mask.shape}")
    if not np.isfinite(y[mask]).all():
        raise ValueError("values holds valid entries that are not finite")
    kernel = make_kernel(bandwidth, metric, cut_sigma, precision)
    columns, origin = _columns(y, mask)
    order = kd_order(positions, _ROWS)
    padded = np.concatenate([order, np.repeat(order[-1:], -len(order) % _ROWS)])
    totals = np.zeros((len(padded), columns.shape[1]))
    if len(points):
        tiles = build_tiles(points, columns, kernel, tile or _TILE[precision], precision)
        scaled = positions[padded] * kernel.scale

        def part(start: int, stop: int) -> None:
            _sums(
                tiles.points,
                tiles.columns,
                tiles.centre,
                tiles.low,
                tiles.high,
                scaled[start:stop],
                kernel.reach * (1.0 + 1e-5),
                kernel.kappa,
                kernel.limit,
                kernel.narrow,
                kernel.wide,
                totals[start:stop],
            )

        run_in_threads(part, len(padded), threads, _GROUP)
    sums = np.empty((len(positions), totals.shape[1]))
    sums[order] = totals[: len(order)]
    return _moments(sums, origin, mask, np.asarray(value_bandwidth, dtype=np.float64))


def _columns(y: NDArray[np.float64], mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is summed: validity (one column where everything is valid), y and y^2 about `origin`; an even number."""
    filled = np.where(mask, y, 0.0)
    origin = filled.sum(axis=0) / np.maximum(mask.sum(axis=0), 1)
    # About the mean, <y^2> - <y>^2 loses no digits.
    centred = np.where(mask, filled - origin, 0.0)
    counted = np.ones((len(y), 1)) if mask.all() else mask.astype(np.float64)
    columns = np.concatenate([counted, centred, centred**2], axis=1)
    return np.pad(columns, ((0, 0), (0, columns.shape[1] % 2))), origin


def _moments(
    sums: NDArray[np.float64], origin: NDArray[np.float64], mask: NDArray[np.bool_], v: NDArray[np.float64]
) -> Regression:
    outputs = mask.shape[1]
    counted = 1 if mask.all() else outputs
    weight = np.broadcast_to(sums[:, :counted], (len(sums), outputs)).copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        first = sums[:, counted : counted + outputs] / weight
        second = sums[:, counted + outputs : counted + 2 * outputs] / weight
    # Rounding may leave a tiny negative number where all neighbours agree; a NaN stays one.
    spread = np.maximum(second - first**2, 0.0)
    return Regression(first + origin, v**2 + spread, weight)


@compiled(error_model="numpy")
def _sums(
    points: NDArray[Any],
    columns: NDArray[Any],
    centre: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    query: NDArray[np.float64],
    reach: float,
    kappa: float,
    limit: float,
    narrow: bool,
    wide: bool,
    totals: NDArray[np.float64],
) -> None:
    """Add to `totals` (N, P) the weighted sums of `columns`, for queries (N, F) with N a multiple of 4.

    Queries come in groups that share each tile while it is in the cache, and in blocks of four that share
    registers. A tile is skipped where the box of a group or of a block is out of reach: each of its weights
    is exactly zero then, so skipping changes no bit and the grouping of queries does not matter.
    """
    tiles, features, size = points.shape
    exponents = np.empty(size, points.dtype)
    weights = np.empty((4, size), points.dtype)
    local = np.empty(features, points.dtype)
    box_low, box_high = np.empty((_GROUP // 4 + 1, features)), np.empty((_GROUP // 4 + 1, features))
    for g in range(0, query.shape[0], _GROUP):
        blocks = min(_GROUP, query.shape[0] - g) // 4
        for b in range(blocks):
            _bound(query[g + 4 * b : g + 4 * b + 4], box_low[b], box_high[b])
        # The last row is the box of the group.
        _bound(query[g : g + 4 * blocks], box_low[-1], box_high[-1])
        for k in range(tiles):
            if box_gap2(low[k], high[k], box_low[-1], box_high[-1]) > reach * reach:
                continue
            for b in range(blocks):
                if box_gap2(low[k], high[k], box_low[b], box_high[b]) > reach * reach:
                    continue
                n = g + 4 * b
                for r in range(4):
                    for f in range(features):
                        local[f] = query[n + r, f] - centre[k, f]
                    tile_exponents(points[k], local, kappa, narrow, wide, exponents)
                    tile_weights(exponents, limit, weights[r])
                for c in range(0, columns.shape[1], 2):
                    dot_block(weights, columns[k, c], columns[k, c + 1], totals, n, c)


@compiled(error_model="numpy")
def _bound(points: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
    """The box of `points` (N, F)."""
    for f in range(low.size):
        low[f] = high[f] = points[0, f]
        for n in range(1, points.shape[0]):
            low[f] = min(low[f], points[n, f])
            high[f] = max(high[f], points[n, f])
