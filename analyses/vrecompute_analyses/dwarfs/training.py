"""Background of a position: ln(counts) of void regions around it, by Gaussian-kernel regression."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import UsageError
from vrecompute.kernels.numerics.density import density
from vrecompute.kernels.numerics.neighbours import Metric
from vrecompute.kernels.numerics.regress import Regression, regress
from vrecompute.kernels.numerics.score import best_bandwidths, score_grid
from vrecompute_analyses.dwarfs.tables import Floats, Voids

__all__ = ["SCORE_BIN", "Bandwidths", "bandwidth_grid", "best", "ln_background_pdf", "predict", "score_rows"]

# Bandwidths are chosen on the first bin, which has the most counts, and used in all (Calore et al.).
SCORE_BIN = 0


@dataclass(frozen=True)
class Bandwidths:
    """Widths of the kernels: `s_deg` on the sky in degrees, `v` in ln(counts)."""

    s_deg: float
    v: float


def bandwidth_grid(metric: Metric) -> tuple[Floats, Floats]:
    """The s (degrees) and v whose scores are compared, 20 x 20 and logarithmic.

    For `planar` the published range. On the sphere a degree of longitude is shorter everywhere but on the
    equator, so neighbours are nearer, and the best s lies below that range: it begins at 1 degree.
    """
    return np.geomspace(1.5 if metric == "planar" else 1.0, 3.0, 20), np.geomspace(0.05, 0.5, 20)


def _scored(voids: Voids) -> tuple[Floats, Floats]:
    n = voids.counts[:, SCORE_BIN]
    return voids.positions_deg[n > 0], n[n > 0]


def score_rows(voids: Voids, metric: Metric, rows: NDArray[np.int64]) -> Floats:
    """Leave-one-out scores of some rows (one s, all v) of the bandwidth grid, shape (rows, 20)."""
    s_grid, v_grid = bandwidth_grid(metric)
    positions, n = _scored(voids)
    # A row at a time: its numbers must not depend on which rows are asked for together.
    return np.concatenate([score_grid(positions, n, s_grid[r : r + 1], v_grid, metric=metric) for r in rows])


def best(voids: Voids, metric: Metric, s_deg: float = 0.0, v: float = 0.0) -> Bandwidths:
    """The bandwidths, where a 0 stands for the best of the grid by leave-one-out score, given the other."""
    if s_deg > 0 and v > 0:
        return Bandwidths(s_deg, v)
    return _best(voids.positions_deg.tobytes(), voids.counts[:, SCORE_BIN].tobytes(), metric, s_deg, v)


@lru_cache(maxsize=8)
def _best(positions: bytes, counts: bytes, metric: Metric, s_deg: float, v: float) -> Bandwidths:
    where, n = np.frombuffer(positions).reshape(-1, 2), np.frombuffer(counts)
    s_grid, v_grid = bandwidth_grid(metric)
    s_grid = np.array([s_deg]) if s_deg > 0 else s_grid
    v_grid = np.array([v]) if v > 0 else v_grid
    scores = score_grid(where[n > 0], n[n > 0], s_grid, v_grid, metric=metric)
    try:
        return Bandwidths(*best_bandwidths(scores, s_grid, v_grid))
    except ValueError as error:
        raise UsageError(
            f"bandwidth_ln_counts cannot be chosen by score at bandwidth_deg={s_deg:g}: {error}"
        ) from error


def _ln_counts(voids: Voids) -> tuple[Floats, NDArray[np.bool_]]:
    """ln(counts), and where there are any: a void without counts in a bin is left out of that bin."""
    valid = voids.counts > 0
    return np.log(np.where(valid, voids.counts, 1.0)), valid


def predict(voids: Voids, positions_deg: Floats, widths: Bandwidths, metric: Metric) -> Regression:
    """ln(background counts) at positions (N, 2): mean and variance (N, 6), NaN where no void is near."""
    values, valid = _ln_counts(voids)
    return regress(
        voids.positions_deg,
        values,
        positions_deg,
        widths.s_deg,
        metric=metric,
        valid=valid,
        value_bandwidth=widths.v,
    )


def ln_background_pdf(
    voids: Voids, position_deg: tuple[float, float], widths: Bandwidths, metric: Metric, ln_counts: Floats, bin_: int
) -> Floats:
    """p(ln B | position) of one bin on the grid `ln_counts` (G,), joint with the position: not normalised over ln B."""
    values, valid = _ln_counts(voids)
    found = density(
        voids.positions_deg,
        values[:, bin_ : bin_ + 1],
        np.array([position_deg]),
        ln_counts,
        widths.s_deg,
        widths.v,
        metric=metric,
        valid=valid[:, bin_ : bin_ + 1],
    )
    return np.asarray(found[0, 0])
