"""The same sums as `regress` and `score`, written as plainly as possible: every pair, float64, no cut.

What the fast kernels are measured against, for exactness in tests and for speed in benchmarks.
"""

from __future__ import annotations

from math import atan2, exp, log, pi, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vrecompute.kernels.cache import compiled
from vrecompute.kernels.numerics.neighbours import Metric, as_points
from vrecompute.kernels.numerics.regress import Regression

__all__ = ["regress_brute", "score_brute"]


def regress_brute(
    train: ArrayLike,
    values: ArrayLike,
    query: ArrayLike,
    bandwidth: float,
    *,
    metric: Metric = "sphere",
    valid: ArrayLike | None = None,
    value_bandwidth: ArrayLike = 0.0,
) -> Regression:
    """As `regress`, over all pairs. Where every weight underflows there is no answer: NaN."""
    y = np.asarray(values, dtype=np.float64)
    mask = np.ones(y.shape, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    points, positions = as_points(train, metric, "train"), as_points(query, metric, "query")
    weight, mean, variance = _regress(points, np.where(mask, y, 0.0), mask, positions, bandwidth, metric == "sphere")
    return Regression(mean, variance + np.asarray(value_bandwidth, dtype=np.float64) ** 2, weight)


def score_brute(positions: ArrayLike, counts: ArrayLike, s: float, v: float, *, metric: Metric = "sphere") -> float:
    """As `score`, over all pairs."""
    n = np.asarray(counts, dtype=np.float64)
    return float(_score(as_points(positions, metric, "positions"), n, s, v, metric == "sphere"))


@compiled(error_model="numpy")
def _distance2(a: NDArray[np.float64], b: NDArray[np.float64], sphere: bool) -> float:
    minus, plus = 0.0, 0.0
    for f in range(a.size):
        minus += (a[f] - b[f]) ** 2
        plus += (a[f] + b[f]) ** 2
    if not sphere:
        return minus
    # For unit vectors tan(angle / 2) = |a - b| / |a + b|, well conditioned at every angle.
    degrees = 360.0 / pi * atan2(sqrt(minus), sqrt(plus))
    return degrees * degrees


@compiled(error_model="numpy")
def _regress(
    points: NDArray[np.float64],
    y: NDArray[np.float64],
    mask: NDArray[np.bool_],
    positions: NDArray[np.float64],
    s: float,
    sphere: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    shape = (positions.shape[0], y.shape[1])
    weight, first, second = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for n in range(shape[0]):
        for i in range(points.shape[0]):
            w = exp(-0.5 * _distance2(points[i], positions[n], sphere) / (s * s))
            for e in range(shape[1]):
                if mask[i, e]:
                    weight[n, e] += w
                    first[n, e] += w * y[i, e]
                    second[n, e] += w * y[i, e] * y[i, e]
    mean = first / weight
    return weight, mean, second / weight - mean * mean


@compiled(error_model="numpy")
def _score(points: NDArray[np.float64], n: NDArray[np.float64], s: float, v: float, sphere: bool) -> float:
    count = points.shape[0]
    log_n = np.log(n)
    norm = (2.0 * pi) ** 1.5 * s * s * v * (count - 1)
    total = 0.0
    for i in range(count):
        inner = 0.0
        for j in range(count):
            if j != i:
                in_counts = (log_n[i] - log_n[j]) / v
                inner += exp(-0.5 * (_distance2(points[i], points[j], sphere) / (s * s) + in_counts * in_counts))
        total += log(inner / n[i] / norm) if inner > 0.0 else -np.inf
    return total
