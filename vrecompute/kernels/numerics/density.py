"""Kernel density of a background: p(y | x) for each output on a grid of y, around each position.

p_e(y | x) = sum_i exp(-d_i^2/2s^2) exp(-(y - y_ie)^2/2v^2) / ((2 pi)^(3/2) s^2 v N_e), over the N_e
training points where output e is valid (Calore et al., JCAP 10 (2018) 029, with y = ln counts).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vrecompute.kernels.cache import compiled
from vrecompute.kernels.numerics.gauss import LOG2_E, REORDER, exp2_minus, tile_exponents, tile_weights
from vrecompute.kernels.numerics.neighbours import Metric, as_points, box_gap2, build_tiles, make_kernel
from vrecompute.kernels.numerics.threads import run_in_threads

__all__ = ["density"]

_TILE = 64


def density(
    train: ArrayLike,
    values: ArrayLike,
    query: ArrayLike,
    grid: ArrayLike,
    s: float,
    v: float,
    *,
    metric: Metric = "sphere",
    valid: ArrayLike | None = None,
    cut_sigma: float = 8.0,
    threads: int = 1,
) -> NDArray[np.float64]:
    """p(y | x), shape (N, E, G), per square unit of `s` and unit of y, for `grid` (G,) of y.

    Shapes of `train`, `values`, `query`, `valid` and the metric as in `regress`. NaN where a position has
    no valid neighbour within the cut. It is a joint density: divide by its integral over y for a
    probability of y alone. Raises ValueError for shapes or numbers that make no sense.
    """
    y = np.asarray(values, dtype=np.float64)
    levels = np.ascontiguousarray(grid, dtype=np.float64)
    points, positions = as_points(train, metric, "train"), as_points(query, metric, "query")
    mask = np.ones(y.shape, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    if y.ndim != 2 or len(y) != len(points) or mask.shape != y.shape or positions.shape[1] != points.shape[1]:
        raise ValueError(f"train {points.shape}, values {y.shape} and query {positions.shape} do not fit together")
    if not (np.isfinite(v) and v > 0):
        raise ValueError(f"bandwidth in the values {v!r} must be a positive number")
    kernel = make_kernel(s, metric, cut_sigma)
    outputs = y.shape[1]
    columns = np.concatenate([np.where(mask, y, 0.0), mask], axis=1)
    found = np.zeros((len(positions), outputs, len(levels)))
    weight = np.zeros((len(positions), outputs))
    if len(points):
        tiles = build_tiles(points, columns, kernel, _TILE, "float64")
        scaled = positions * kernel.scale
        steepness = float(np.sqrt(0.5 * LOG2_E) / v)

        def part(start: int, stop: int) -> None:
            _densities(
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
                steepness,
                levels,
                weight[start:stop],
                found[start:stop],
            )

        run_in_threads(part, len(positions), threads, 1)
    norm = (2 * np.pi) ** 1.5 * s**2 * v * np.maximum(mask.sum(axis=0), 1)
    return np.where(weight[:, :, None] > 0, found / norm[:, None], np.nan)


@compiled(fastmath=REORDER, error_model="numpy")
def _spread(value: float, weight: float, steepness: float, levels: NDArray[Any], out: NDArray[Any]) -> None:
    """Add a Gaussian about `value`, of height `weight`, to `out` (G,)."""
    for g in range(levels.size):
        u = (levels[g] - value) * steepness
        t = u * u
        w = exp2_minus(t)
        out[g] += weight * w if t <= 1000.0 else 0.0


@compiled(error_model="numpy")
def _densities(
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
    steepness: float,
    levels: NDArray[np.float64],
    weight: NDArray[np.float64],
    found: NDArray[np.float64],
) -> None:
    """Add to `found` (N, E, G) the Gaussians of all points, and to `weight` (N, E) their weights."""
    tiles, features, size = points.shape
    outputs = weight.shape[1]
    exponents, weights, local = np.empty(size), np.empty(size), np.empty(features)
    for n in range(query.shape[0]):
        for k in range(tiles):
            if box_gap2(low[k], high[k], query[n], query[n]) > reach * reach:
                continue
            for f in range(features):
                local[f] = query[n, f] - centre[k, f]
            tile_exponents(points[k], local, kappa, narrow, wide, exponents)
            tile_weights(exponents, limit, weights)
            for e in range(outputs):
                for j in range(size):
                    w = weights[j] * columns[k, outputs + e, j]
                    if w > 0.0:
                        weight[n, e] += w
                        _spread(columns[k, e, j], w, steepness, levels, found[n, e])
