"""Limits on the cross-section from profiled likelihoods, of one dwarf and of several stacked.

The upper limit is where -2 ln L first passes its minimum by the quantile of chi2 with one degree of freedom,
above the minimum, as published (3.84 for 95 %); interpolated in the logarithm of the cross-section.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from vrecompute_analyses.dwarfs.likelihood import SV_GRID
from vrecompute_analyses.dwarfs.tables import Floats

__all__ = ["CL", "QUANTILES", "RISE", "Curve", "Scan", "limit_curve", "stack", "targets", "upper_limits"]

CL = 0.95
# The published rise for 95 %.
RISE = round(float(chi2.ppf(CL, 1)), 2)
# Of the expected limits: the median, and 68 % and 95 % of the pseudo-experiments.
QUANTILES = (0.025, 0.16, 0.5, 0.84, 0.975)


@dataclass(frozen=True)
class Scan:
    """Likelihoods of one target and channel: `masses_gev` (M,), `observed` (M, 101), `expected` (M, K, 100).

    Column 0 of `observed` is cross-section 0, the others are SV_GRID; `expected` are pseudo-experiments, on
    SV_GRID, each relative to its lowest.
    """

    masses_gev: Floats
    observed: Floats
    expected: Floats


@dataclass(frozen=True)
class Curve:
    """Limits of one target and channel in cm3/s: (M,), NaN where beyond the grid; `expected` (5, M) by QUANTILES.

    `ts` (M,) is how far -2 ln L at cross-section 0 lies above its minimum.
    """

    masses_gev: Floats
    observed: Floats
    expected: Floats
    ts: Floats


def upper_limits(minus_two_ln_l: Floats) -> Floats:
    """Upper limits of scans (..., 100) over SV_GRID; NaN where the likelihood never rises enough within it."""
    size = len(SV_GRID)
    index = np.arange(size)
    lowest = minus_two_ln_l.argmin(axis=-1)[..., None]
    rise = minus_two_ln_l - np.take_along_axis(minus_two_ln_l, lowest, -1)
    passed = (rise > RISE) & (index > lowest)
    first = passed.argmax(axis=-1)[..., None]
    before = np.maximum(first - 1, 0)
    low, high = np.take_along_axis(rise, before, -1), np.take_along_axis(rise, first, -1)
    share = (RISE - low) / np.where(high > low, high - low, 1.0)
    decades = np.log10(SV_GRID)
    found = 10 ** (decades[before] + share * (decades[first] - decades[before]))
    return np.asarray(np.where(passed.any(axis=-1), found[..., 0], np.nan))


def stack(scans: Sequence[Scan]) -> Scan:
    """Independent dwarfs together, at the masses that all of them have: their -2 ln L add."""
    masses = scans[0].masses_gev
    for scan in scans[1:]:
        masses = np.intersect1d(masses, scan.masses_gev)
    rows = [np.searchsorted(scan.masses_gev, masses) for scan in scans]
    observed = np.sum([scan.observed[r] for scan, r in zip(scans, rows, strict=True)], axis=0)
    expected = np.sum([scan.expected[r] for scan, r in zip(scans, rows, strict=True)], axis=0)
    return Scan(masses, observed, expected)


def limit_curve(scan: Scan) -> Curve:
    """Observed limits, the quantiles of expected ones (NaN without pseudo-experiments), and TS."""
    observed = upper_limits(scan.observed[:, 1:])
    if scan.expected.shape[1]:
        limits = upper_limits(scan.expected)
        # A limit beyond the grid is above every one within it, not missing.
        ordered = np.where(np.isnan(limits), np.inf, limits)
        expected = np.quantile(ordered, QUANTILES, axis=1, method="inverted_cdf")
        expected[np.isinf(expected)] = np.nan
    else:
        expected = np.full((len(QUANTILES), len(observed)), np.nan)
    ts = scan.observed[:, 0] - scan.observed.min(axis=1)
    return Curve(scan.masses_gev, observed, expected, ts)


def targets(names: Sequence[str], stacked: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """What limits are given of: each dwarf, the chosen stack, and all of them, by the name in tables."""
    found: dict[str, tuple[str, ...]] = {name: (name,) for name in names}
    chosen = tuple(name for name in stacked if name in names)
    if len(chosen) > 1:
        found["+".join(chosen)] = chosen
    if len(names) > 1:
        found["all"] = tuple(names)
    return found
