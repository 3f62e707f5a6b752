"""Limits on the cross-section from profiled likelihoods, of one dwarf and of several stacked.

The upper limit is where -2 ln L first passes its minimum over all cross-sections from 0 on by the quantile of chi2
with one degree of freedom, above that minimum, as published (3.84 for 95 %). Minimum and limit are those of the
splines through the profiled likelihoods, which are right to 0.001 in -2 ln L.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.stats import chi2

from vrecompute_analyses.dwarfs.tables import Floats

__all__ = ["CL", "QUANTILES", "RISE", "Curve", "Scan", "limit_curve", "stack", "targets", "upper_limits"]

CL = 0.95
# The published rise for 95 %.
RISE = round(float(chi2.ppf(CL, 1)), 2)
# Of the expected limits: the median, and 68 % and 95 % of the pseudo-experiments.
QUANTILES = (0.025, 0.16, 0.5, 0.84, 0.975)

_HALVINGS = 40


@dataclass(frozen=True)
class Scan:
    """Likelihoods of one target and channel at masses (M,), with `first` and `step` (M,) of their knots.

    `observed` (M, S) is -2 ln L, `expected` (M, K, S) that of pseudo-experiments, relative to their lowest knots.
    Knots are as in `Likelihood`.
    """

    masses_gev: Floats
    first: Floats
    step: Floats
    observed: Floats
    expected: Floats


@dataclass(frozen=True)
class Curve:
    """Limits of one target and channel in cm3/s: (M,), NaN where there is none; `expected` (5, M) by QUANTILES.

    `ts` (M,) is how far -2 ln L at cross-section 0 lies above its minimum.
    """

    masses_gev: Floats
    observed: Floats
    expected: Floats
    ts: Floats


def upper_limits(minus_two_ln_l: Floats, first: Floats, step: Floats) -> tuple[Floats, Floats]:
    """Upper limits, NaN where the likelihood never rises enough, and minima, each (N,), of N likelihoods (N, S).

    `first` and `step` (N,) say at which cross-sections the knots of each lie.
    """
    size = minus_two_ln_l.shape[-1]
    curve = CubicSpline(np.arange(size), minus_two_ln_l, axis=-1)
    slope = curve.derivative()
    lowest = minus_two_ln_l.argmin(axis=-1)
    # The slope changes its sign beside the lowest knot; at the first one, which stands for 0, it may be rising already.
    place = _crossing(lambda x: _at(slope.c, x), np.maximum(lowest - 1, 0), np.minimum(lowest + 1, size - 1))
    minimum = _at(curve.c, place)
    passed = (minus_two_ln_l > minimum[:, None] + RISE) & (np.arange(size) > place[:, None])
    beyond = passed.argmax(axis=-1)
    found = _crossing(lambda x: _at(curve.c, x) - minimum - RISE, np.maximum(beyond - 1, place), beyond)
    return np.where(passed.any(axis=-1), first * np.exp(step * found), np.nan), minimum


def _at(coefficients: Floats, x: Floats) -> Floats:
    """N piecewise polynomials (degree + 1, S - 1, N), a piece from each of S knots to the next, at one x (N,) each."""
    knot = np.minimum(x.astype(np.int64), coefficients.shape[1] - 1)
    value = np.zeros_like(x)
    for c in coefficients:
        value = value * (x - knot) + c[knot, np.arange(len(x))]
    return value


def _crossing(rising: Callable[[Floats], Floats], low: Floats, high: Floats) -> Floats:
    """Where `rising` becomes positive between `low` and `high`, by halving; `low` where it is positive all along."""
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        below = rising(middle) < 0
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return low


def stack(scans: Sequence[Scan]) -> Scan:
    """Independent dwarfs together, at the masses that all of them have: their -2 ln L add."""
    if len(scans) == 1:
        return scans[0]
    masses = reduce(np.intersect1d, [scan.masses_gev for scan in scans])
    rows = [np.searchsorted(scan.masses_gev, masses).astype(np.int64) for scan in scans]
    size = 2 * scans[0].observed.shape[-1]
    ends = np.array([_ends(scan, row) for scan, row in zip(scans, rows, strict=True)])
    # From the dwarf that sees the most to the one that sees the least, with twice the knots; of 1 where none does.
    first = np.minimum(ends[:, 0].min(axis=0), 1.0)
    last = np.where(np.isfinite(ends[:, 1]), ends[:, 1], 0.0).max(axis=0)
    last[last == 0] = 1.0
    step = np.log(last / first) / (size - 1)
    at = first[:, None] * np.exp(step[:, None] * np.arange(size))
    observed, expected = (
        np.sum([_resampled(scan, name, row, at) for scan, row in zip(scans, rows, strict=True)], axis=0)
        for name in ("observed", "expected")
    )
    return Scan(masses, first, step, observed, expected)


def _ends(scan: Scan, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Cross-sections of the first and last knots of some masses."""
    first = scan.first[rows]
    return first, first * np.exp(scan.step[rows] * (scan.observed.shape[-1] - 1))


def _resampled(scan: Scan, name: str, rows: NDArray[np.int64], at: Floats) -> Floats:
    """Likelihoods of some masses at other cross-sections (M, G), beyond their last knots with their last slope."""
    found = []
    for row, first, last, cross_sections in zip(rows, *_ends(scan, rows), at, strict=True):
        values, step = getattr(scan, name)[row], scan.step[row]
        curve = CubicSpline(np.arange(values.shape[-1]), values, axis=-1)
        within = np.clip(cross_sections, first, last)
        beyond = np.maximum(cross_sections / last - 1, 0) / step
        index = np.log(within / first) / step if np.isfinite(first) else np.zeros(len(within))
        found.append(curve(index) + curve(values.shape[-1] - 1, 1)[..., None] * beyond)
    return np.array(found)


def limit_curve(scan: Scan) -> Curve:
    """Observed limits, the quantiles of expected ones (NaN without pseudo-experiments), and TS."""
    observed, lowest = upper_limits(scan.observed, scan.first, scan.step)
    masses, experiments, size = scan.expected.shape
    expected = np.full((len(QUANTILES), masses), np.nan)
    if experiments:
        knots = (scan.first.repeat(experiments), scan.step.repeat(experiments))
        limits = upper_limits(scan.expected.reshape(-1, size), *knots)[0].reshape(masses, experiments)
        # Where there is no limit it is above every other, not missing.
        ordered = np.where(np.isnan(limits), np.inf, limits)
        expected = np.quantile(ordered, QUANTILES, axis=1, method="inverted_cdf")
        expected[np.isinf(expected)] = np.nan
    return Curve(scan.masses_gev, observed, expected, scan.observed[:, 0] - lowest)


def targets(names: Sequence[str], stacked: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """What limits are given of: each dwarf, the chosen stack, and all of them, by the name in tables."""
    found: dict[str, tuple[str, ...]] = {name: (name,) for name in names}
    chosen = tuple(name for name in stacked if name in names)
    if len(chosen) > 1:
        found["+".join(chosen)] = chosen
    if len(names) > 1:
        found["all"] = tuple(names)
    return found
