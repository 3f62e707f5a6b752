"""Limits by brute force: no table, no spline; every nuisance at each point of a dense grid, at every cross-section."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq, minimize_scalar


def minus_two_ln_l(sv, n, signal, counts, per_bin, prior_j, prior_background, points=301):
    """-2 ln L of one dwarf at one cross-section, at the best of the shifts of log10 J and of the background.

    `signal` are counts per cm3/s; the background is ln B_k = ln counts_k + shift * per_bin_k. A prior is (lowest
    shift, highest shift, -2 ln p as a function of the shift). The grid of `points` each way is laid again, twice,
    about the best point of the one before.
    """
    low, high = np.array([prior_j[:2], prior_background[:2]]).T
    for _ in range(3):
        d, b = (np.linspace(*ends, points if ends[0] < ends[1] else 1) for ends in zip(low, high, strict=True))
        total = prior_j[2](d)[:, None] + prior_background[2](b)
        for k in range(len(n)):
            expected = sv * signal[k] * 10 ** d[:, None] + counts[k] * np.exp(b * per_bin[k])
            total = total + 2 * (expected - n[k] * np.log(expected))
        best = np.unravel_index(total.argmin(), total.shape)
        at, near = np.array([d[best[0]], b[best[1]]]), 3 * (high - low) / points
        low, high = np.maximum(low, at - near), np.minimum(high, at + near)
    return total.min()


def gaussian(sigma):
    """A prior of six errors."""
    return -6 * sigma, 6 * sigma, lambda x: (x / sigma) ** 2 if sigma else 0 * x


def upper_limit(function, low, high, rise=3.84):
    """(first cross-section past the minimum where `function` has risen, its minimum over 0 and up to `high`).

    The minimum is looked for at 0 and at 160 cross-sections from `low` on, then beside the lowest of them.
    """
    tried = np.concatenate([[0.0], np.geomspace(low, high, 160)])
    values = np.array([function(sv) for sv in tried])
    i = values.argmin()
    best, minimum = tried[i], values[i]
    if 0 < i < len(tried) - 1:
        # In units of the bracket: scipy's tolerances are absolute, and far above any cross-section.
        unit = tried[i + 1]
        near = minimize_scalar(lambda t: function(t * unit), bounds=(tried[i - 1] / unit, 1.0), method="bounded")
        if near.fun < minimum:
            best, minimum = near.x * unit, near.fun
    above = [sv for sv, value in zip(tried, values, strict=True) if sv > best and value > minimum + rise]
    if not above:
        return np.nan, minimum
    unit = above[0]
    below = max(best, max(sv for sv in tried if sv < unit))
    return unit * brentq(lambda t: function(t * unit) - minimum - rise, below / unit, 1.0), minimum
