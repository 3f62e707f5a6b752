"""What a prediction of counts is worth: held-out score, and intervals that cover what they say.

Voids are held out in blocks of sky, so that a neighbour never tells the answer. A prediction (mean and
variance of ln counts) becomes a distribution of integer counts: negative binomial, i.e. Poisson about a
Gamma-distributed background, with a shift and a scale of the variance fitted for each bin; and its
probability integral transform (PIT), randomised within the step of an integer (Czado, Gneiting and Held,
Biometrics 65 (2009) 1254), is made uniform by the distribution that it has on out-of-fold training voids
(Kuleshov, Fenner and Ermon, ICML 2018). Nothing of the held-out voids enters any of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import betainc, gammaln

from vrecompute_analyses.dwarfs.estimators import Estimator
from vrecompute_analyses.dwarfs.tables import BINS, Floats, Voids

__all__ = ["FOLDS", "LEVELS", "SPLITS", "Calibration", "HeldOut", "calibrate", "coverage", "held_out", "sky_blocks"]

SPLITS = 5
# Folds of the training voids for calibration.
FOLDS = 10
LEVELS = (0.68, 0.95)


@dataclass(frozen=True)
class Calibration:
    """How to read a prediction as counts: `shift` and ln `scale` by bin (6,), and sorted PIT values (6, K)."""

    shift: Floats
    log_scale: Floats
    pits: Floats

    def log_probability(self, mean: Floats, variance: Floats, counts: Floats) -> Floats:
        """ln P of counts (N, 6) before the PIT is made uniform."""
        return np.asarray(_log_pmf(*self._parameters(mean, variance), counts))

    def pit(self, mean: Floats, variance: Floats, counts: Floats, rng: np.random.Generator) -> Floats:
        """Calibrated randomised PIT of counts (N, 6): uniform on (0, 1) where the prediction is right."""
        raw = _pit(*self._parameters(mean, variance), counts, rng)
        levels = (np.arange(self.pits.shape[1]) + 0.5) / self.pits.shape[1]
        return np.stack([np.interp(raw[:, k], self.pits[k], levels) for k in range(raw.shape[1])], axis=1)

    def _parameters(self, mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
        return _parameters(mean, variance, self.shift, self.log_scale)


@dataclass(frozen=True)
class HeldOut:
    """One split: which voids were held out, their calibrated PIT (N, 6), and ln probabilities (N, 6)."""

    voids: NDArray[np.int64]
    pit: Floats
    log_probability: Floats


def sky_blocks(positions_deg: Floats, splits: int = SPLITS, seed: int = 1) -> NDArray[np.int64]:
    """The split, 0 up to `splits`, of each position: 48 x 24 blocks of equal area, shuffled among the splits."""
    across, up = 48, 24
    lon = np.clip(np.mod(positions_deg[:, 0], 360.0) / 360.0 * across, 0, across - 1).astype(np.int64)
    lat = np.clip((np.sin(np.radians(positions_deg[:, 1])) + 1) / 2 * up, 0, up - 1).astype(np.int64)
    of_block = np.random.default_rng(seed).permutation(np.arange(across * up) % splits)
    return np.asarray(of_block[lon * up + lat])


def held_out(voids: Voids, split: int, new: Callable[[], Estimator], seed: int = 1) -> HeldOut:
    """Train and calibrate without the blocks of `split`, and predict them."""
    block = sky_blocks(voids.positions_deg, SPLITS, seed)
    out, rest = np.flatnonzero(block == split), np.flatnonzero(block != split)
    # Out-of-fold predictions miss the held-out blocks besides their own fold. Many small folds keep the gaps around
    # a void as they are in the end; with five, errors would be taken for larger than they are.
    fold = sky_blocks(voids.positions_deg[rest], FOLDS, seed + 1)
    mean, variance = np.empty((len(rest), BINS)), np.empty((len(rest), BINS))
    for inner in range(FOLDS):
        here = fold == inner
        mean[here], variance[here] = _fit_predict(new(), voids, rest[~here], rest[here])
    rng = np.random.default_rng([seed, split])
    calibration = calibrate(mean, variance, voids.counts[rest], rng)
    mean, variance = _fit_predict(new(), voids, rest, out)
    n = voids.counts[out]
    return HeldOut(out, calibration.pit(mean, variance, n, rng), calibration.log_probability(mean, variance, n))


def calibrate(mean: Floats, variance: Floats, counts: Floats, rng: np.random.Generator) -> Calibration:
    """The calibration that suits out-of-fold predictions (N, 6) of these counts best."""
    shift, log_scale = np.empty(BINS), np.empty(BINS)
    for k in range(BINS):
        column = (mean[:, k : k + 1], variance[:, k : k + 1])
        n = counts[:, k : k + 1]

        def loss(x: Floats, column: tuple[Floats, Floats] = column, n: Floats = n) -> float:
            return -float(_log_pmf(*_parameters(*column, x[:1], x[1:]), n).sum())

        shift[k], log_scale[k] = minimize(loss, (0.0, 0.0), method="Nelder-Mead", options={"xatol": 1e-3}).x
    raw = _pit(*_parameters(mean, variance, shift, log_scale), counts, rng)
    return Calibration(shift, log_scale, np.sort(raw.T, axis=1))


def coverage(pit: Floats, level: float) -> Floats:
    """Share of the last-but-one axis whose PIT lies in the central interval of `level`."""
    return np.asarray(np.mean(np.abs(pit - 0.5) < 0.5 * level, axis=-2))


def _fit_predict(
    estimator: Estimator, voids: Voids, train: NDArray[np.int64], at: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    estimator.fit(Voids(voids.positions_deg[train], voids.counts[train]))
    return estimator.predict(voids.positions_deg[at])


def _parameters(mean: Floats, variance: Floats, shift: Floats, log_scale: Floats) -> tuple[Floats, Floats]:
    """Mean counts, and the number r of the negative binomial: relative variance of the background 1/r."""
    expected = np.exp(mean + shift)
    # The variance of ln counts holds their own Poisson fluctuation, about 1 / counts; the rest is the background's.
    beyond = np.maximum(variance - 1.0 / np.maximum(expected, 1.0), 0.002)
    return expected, np.exp(-log_scale) / beyond


def _log_pmf(expected: Floats, r: Floats, n: Floats) -> Floats:
    share = expected / (expected + r)
    log_ways = gammaln(n + r) - gammaln(r) - gammaln(n + 1)
    return np.asarray(log_ways + r * np.log1p(-share) + n * np.log(share))


def _pit(expected: Floats, r: Floats, n: Floats, rng: np.random.Generator) -> Floats:
    share = r / (expected + r)
    # The distribution function of the negative binomial; 0 below no counts.
    upper = betainc(r, n + 1.0, share)
    lower = np.where(n > 0, betainc(r, np.maximum(n, 1.0), share), 0.0)
    return np.asarray(lower + rng.random(n.shape) * (upper - lower))
