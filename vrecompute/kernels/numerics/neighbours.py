"""Neighbour lists without lists: points sorted into tiles that are near in space, each with its bounding box.

A query whose box is farther than the reach from a tile's box skips the whole tile; what it does not
skip is a dense loop. Tiles depend on the training points alone, so which queries come together never
changes a bit of an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from vrecompute.kernels.cache import compiled
from vrecompute.kernels.numerics.gauss import LOG2_E, MAX_EXPONENT

__all__ = [
    "Kernel",
    "Metric",
    "Tiles",
    "as_points",
    "box_gap2",
    "build_tiles",
    "kd_order",
    "make_kernel",
    "unit_vectors",
]

Metric = Literal["sphere", "planar"]
_NARROW_RAD = np.pi / 3


@dataclass(frozen=True)
class Kernel:
    """A Gaussian of one width in one metric, in the units the compiled loops use.

    Coordinates are multiplied by `scale`; a weight is 2^-t with t = |x - q|^2 (planar) or
    `kappa` * angle^2 (sphere, by polynomial where `narrow`, by arc tangent where `wide`). Weights with
    t > `limit` are exactly zero; they lie beyond `reach` in scaled coordinates.
    """

    metric: Metric
    scale: float
    kappa: float
    limit: float
    reach: float
    narrow: bool
    wide: bool


def make_kernel(bandwidth: float, metric: Metric, cut_sigma: float, precision: str = "float64") -> Kernel:
    """The kernel exp(-d^2 / 2 bandwidth^2), zero beyond `cut_sigma` bandwidths.

    `bandwidth` is in degrees on the sphere, in the units of the coordinates otherwise. Raises ValueError
    for a bandwidth or a cut that is not positive, a cut the precision cannot hold (37 sigma in float64,
    12.8 in float32), an unknown metric, and for float32 where the cut reaches beyond 60 degrees.
    """
    if metric not in get_args(Metric):
        raise ValueError(f"metric {metric!r} is unknown: choose one of {', '.join(get_args(Metric))}")
    if not (np.isfinite(bandwidth) and bandwidth > 0):
        raise ValueError(f"bandwidth {bandwidth!r} must be a positive number")
    most = float(np.sqrt(2 * MAX_EXPONENT[precision] / LOG2_E))
    if not 0 < cut_sigma <= most:
        raise ValueError(f"cut_sigma {cut_sigma!r} must be above 0 and at most {most:.4g} in {precision}")
    limit = 0.5 * cut_sigma**2 * LOG2_E
    if metric == "planar":
        scale = float(np.sqrt(0.5 * LOG2_E) / bandwidth)
        return Kernel(metric, scale, 1.0, limit, float(np.sqrt(limit)), False, False)
    sigma = float(np.radians(bandwidth))
    angle = min(np.pi, cut_sigma * sigma)
    narrow = bool(angle <= _NARROW_RAD)
    if precision == "float32" and not narrow:
        raise ValueError(
            f"float32 on the sphere needs cut_sigma * bandwidth <= 60 degrees, not {np.degrees(angle):.4g}: use float64"
        )
    return Kernel(metric, 1.0, 0.5 * LOG2_E / sigma**2, limit, float(2 * np.sin(angle / 2)), narrow, not narrow)


def unit_vectors(lon_lat_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors, shape (N, 3), of longitudes and latitudes in degrees, shape (N, 2)."""
    lon, lat = np.radians(lon_lat_deg).T
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


def as_points(positions: ArrayLike, metric: Metric, what: str) -> NDArray[np.float64]:
    """Float64 coordinates, shape (N, F), that the compiled loops take: unit vectors for the sphere.

    Raises ValueError where `positions` is not (N, F) or not finite, and on the sphere where F is not 2
    or a latitude is beyond the poles.
    """
    points = np.ascontiguousarray(positions, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] == 0:
        raise ValueError(f"{what} must have shape (points, features), not {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError(f"{what} holds values that are not finite")
    if metric == "planar":
        return points
    if points.shape[1] != 2:
        raise ValueError(f"{what} on the sphere must be longitude and latitude, not {points.shape[1]} columns")
    if (np.abs(points[:, 1]) > 90).any():
        raise ValueError(f"{what} holds latitudes beyond 90 degrees")
    return unit_vectors(points)


@compiled()
def kd_order(points: NDArray[np.float64], leaf: int) -> NDArray[np.int64]:
    """A permutation of `points` (N, F) in which each run of `leaf` of them is close together.

    The widest axis is split, at a multiple of `leaf`, until `leaf` points are left; ties keep their order.
    """
    count, features = points.shape
    order = np.arange(count)
    keys, moved = np.empty(count), np.empty(count, np.int64)
    stack = [(0, count)]
    while len(stack) > 0:
        low, high = stack.pop()
        leaves = (high - low + leaf - 1) // leaf
        if leaves <= 1:
            continue
        axis, widest = 0, -1.0
        for f in range(features):
            smallest = points[order[low], f]
            largest = smallest
            for i in range(low + 1, high):
                value = points[order[i], f]
                smallest = min(smallest, value)
                largest = max(largest, value)
            if largest - smallest > widest:
                axis, widest = f, largest - smallest
        for i in range(low, high):
            keys[i] = points[order[i], axis]
        left = leaf * (leaves // 2)
        pivot = np.partition(keys[low:high], left)[left]
        smaller = 0
        for i in range(low, high):
            smaller += keys[i] < pivot
        # Those equal to the pivot fill the left half, the first of them first.
        here, there, equal = low, low + left, left - smaller
        for i in range(low, high):
            goes_left = keys[i] < pivot
            if keys[i] == pivot and equal > 0:
                goes_left = True
                equal -= 1
            if goes_left:
                moved[here] = order[i]
                here += 1
            else:
                moved[there] = order[i]
                there += 1
        order[low:high] = moved[low:high]
        middle = low + left
        stack.append((low, middle))
        stack.append((middle, high))
    return order


@dataclass(frozen=True)
class Tiles:
    """Points and their columns in K tiles of T, in one precision, padded with points of zero columns.

    `order` (K * T,) is the index of each point, -1 for padding. `points` (K, F, T) are scaled
    coordinates less `centre` (K, F); `columns` (K, P, T). `low` and `high` (K, F) are the box of a tile
    in scaled coordinates, float64, widened by what rounding to `points` may move a point.
    """

    order: NDArray[np.int64]
    points: NDArray[Any]
    columns: NDArray[Any]
    centre: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def build_tiles(
    points: NDArray[np.float64], columns: NDArray[np.float64], kernel: Kernel, size: int, dtype: DTypeLike
) -> Tiles:
    """Tiles of `size` from `points` (M, F) and `columns` (M, P), M at least 1."""
    count, features = points.shape
    tiles = -(-count // size)
    order = np.full(tiles * size, -1, dtype=np.int64)
    order[:count] = kd_order(points, size)
    padding = order < 0
    filled = np.where(padding, order[count - 1], order)
    scaled = (points * kernel.scale)[filled].reshape(tiles, size, features)
    low, high = scaled.min(axis=1), scaled.max(axis=1)
    # Float32 is exact enough only about a near origin; the wide form needs |a + b| and so the true vectors.
    centre = np.zeros_like(low) if kernel.wide else 0.5 * (low + high)
    local = (scaled - centre[:, None, :]).transpose(0, 2, 1)
    held = columns[filled]
    held[padding] = 0.0
    blank = 4 * np.finfo(cast(Any, dtype)).eps * ((high - low) + np.maximum(np.abs(low), np.abs(high)) * 1e-7)
    return Tiles(
        order,
        np.ascontiguousarray(local, dtype=dtype),
        np.ascontiguousarray(held.reshape(tiles, size, -1).transpose(0, 2, 1), dtype=dtype),
        centre,
        low - blank,
        high + blank,
    )


@compiled(error_model="numpy")
def box_gap2(
    low: NDArray[np.float64], high: NDArray[np.float64], other_low: NDArray[np.float64], other_high: NDArray[np.float64]
) -> float:
    """Squared distance between two boxes, each (F,) low and high; 0 where they touch."""
    gap2 = 0.0
    for f in range(low.size):
        gap = max(low[f] - other_high[f], other_low[f] - high[f])
        if gap > 0.0:
            gap2 += gap * gap
    return gap2
