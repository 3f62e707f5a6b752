"""Likelihood of one dwarf in the annihilation cross-section, its nuisances profiled by table.

Counts in bin k are Poisson about lambda_k = x a_k + B_k, where x = sv * 10^(log10 J - log10 J0) and a_k is
the expectation per unit of cross-section at the central J0:  a_k = 10^J0 N_k exposure_k / (8 pi m^2).
The J-factor and the cross-section enter through x alone. So the background is profiled once on a fine table
in log10 x, T(x) = min_B [-2 ln P(n | x, B) - 2 ln p(B)], and the J-factor after it,
-2 ln L(sv) = min_d [T(sv 10^d) - 2 ln p(d)], for all cross-sections by looking up one table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vrecompute_analyses.dwarfs.tables import EDGES_GEV, Dwarf, Floats, Spectra

__all__ = [
    "SV_GRID",
    "BackgroundModel",
    "JPrior",
    "fixed_background",
    "gaussian_j",
    "photons_per_annihilation",
    "profile",
    "sampled_j",
    "signal_per_cross_section",
]

# Cross-sections in cm3/s at which every likelihood is given: the published grid.
SV_GRID = np.logspace(-27, -22, 100)
# Steps of the table in log10 x for each step of SV_GRID, and how far the J-factor may move, in decades.
_FINE = 8
_STEP = 5.0 / 99 / _FINE


@dataclass(frozen=True)
class JPrior:
    """-2 ln p of the shift of log10 J from its central value, on the steps of the table; 0 at its best."""

    first_step: int
    minus_two_ln: Floats


@dataclass(frozen=True)
class BackgroundModel:
    """Background counts (6,) times exp(shift), for shifts (G,) with their -2 ln p, 0 at its best; G = 1 is fixed."""

    counts: Floats
    shifts: Floats
    minus_two_ln: Floats


def photons_per_annihilation(spectra: Spectra, mass_gev: float) -> Floats:
    """Photons per annihilation in each macro bin, shape (6,).

    The integral of dN/dlog10(x), linear between the points of the table; linear in ln(mass) between masses.
    Raises ValueError for a mass outside of the table.
    """
    masses = spectra.masses_gev
    if not masses[0] <= mass_gev <= masses[-1]:
        raise ValueError(f"mass {mass_gev:g} GeV is outside of the spectra, {masses[0]:g} to {masses[-1]:g} GeV")
    above = int(np.clip(np.searchsorted(masses, mass_gev), 1, len(masses) - 1))
    share = np.log(mass_gev / masses[above - 1]) / np.log(masses[above] / masses[above - 1])
    density = (1 - share) * spectra.density[above - 1] + share * spectra.density[above]
    x = spectra.log10_x
    steps = 0.5 * (density[1:] + density[:-1]) * np.diff(x)
    up_to = np.concatenate([[0.0], np.cumsum(steps)])
    edges = np.clip(np.log10(np.asarray(EDGES_GEV) / mass_gev), x[0], x[-1])
    # Inside one step of the table the integral is quadratic.
    k = np.clip(np.searchsorted(x, edges, side="right") - 1, 0, len(x) - 2)
    width, into = x[k + 1] - x[k], edges - x[k]
    slope = (density[k + 1] - density[k]) / width
    return np.asarray(np.diff(up_to[k] + into * (density[k] + 0.5 * slope * into)))


def signal_per_cross_section(dwarf: Dwarf, photons: Floats, mass_gev: float) -> Floats:
    """Expected signal counts (6,) for a cross-section of 1 cm3/s at the central J-factor."""
    return np.asarray(10**dwarf.log10_j * photons * dwarf.exposure_cm2_s / (8 * np.pi * mass_gev**2))


def gaussian_j(log10_error: float) -> JPrior:
    """A Gaussian in log10 J, out to six errors."""
    reach = max(1, int(np.ceil(6 * log10_error / _STEP)))
    shift = np.arange(-reach, reach + 1) * _STEP
    return JPrior(-reach, np.square(shift / log10_error))


def sampled_j(log10_samples: Floats, log10_central: float) -> JPrior:
    """The kernel density of samples of log10 J (Scott's bandwidth), out to three bandwidths beyond them."""
    width = float(np.std(log10_samples, ddof=1) * len(log10_samples) ** -0.2)
    low = int(np.floor((log10_samples.min() - 3 * width - log10_central) / _STEP))
    high = int(np.ceil((log10_samples.max() + 3 * width - log10_central) / _STEP))
    shift = log10_central + np.arange(low, high + 1) * _STEP
    p = np.exp(-0.5 * ((shift[:, None] - log10_samples[None, :]) / width) ** 2).sum(axis=1)
    return JPrior(low, -2 * np.log(p / p.max()))


def fixed_background(counts: Floats) -> BackgroundModel:
    """A background that is known."""
    return BackgroundModel(counts, np.zeros(1), np.zeros(1))


def profile(n: Floats, per_cross_section: Floats, background: BackgroundModel, prior: JPrior) -> Floats:
    """-2 ln L at cross-section 0 and at each of SV_GRID, shape (K, 101), every nuisance at its best.

    Counts `n` (K, 6) are K experiments with the same expectations. Constants of the data are left out, the
    same for every cross-section.
    """
    first = prior.first_step
    last = first + len(prior.minus_two_ln) - 1
    step = np.arange(first, (len(SV_GRID) - 1) * _FINE + last + 1)
    x = np.concatenate([[0.0], 10.0 ** (-27 + step * _STEP)])
    table = _profile_background(n, per_cross_section, background, x)
    found = np.empty((len(n), 1 + len(SV_GRID)))
    found[:, 0] = table[:, 0]
    for i, row in enumerate(table[:, 1:]):
        # Row k of the windows is the table at SV_GRID[k] 10^d for all shifts d.
        windows = np.lib.stride_tricks.sliding_window_view(row, last - first + 1)[::_FINE]
        found[i, 1:] = _minimum(windows + prior.minus_two_ln)
    return found


def _profile_background(n: Floats, per_cross_section: Floats, background: BackgroundModel, x: Floats) -> Floats:
    """T(x) of K experiments, shape (K, X)."""
    signal = x[:, None] * per_cross_section
    deviance = np.empty((len(n), len(x), len(background.shifts)))
    for g, shift in enumerate(background.shifts):
        expected = signal + background.counts * np.exp(shift)
        deviance[:, :, g] = 2 * (expected.sum(axis=1) - n @ np.log(expected).T) + background.minus_two_ln[g]
    return _minimum(deviance)


def _minimum(values: Floats) -> Floats:
    """The minimum along the last axis of a smooth function on even steps, by the parabola through the lowest three."""
    size = values.shape[-1]
    lowest = values.argmin(axis=-1)[..., None]
    here = np.take_along_axis(values, lowest, -1)[..., 0]
    if size < 3:
        return here
    left = np.take_along_axis(values, np.maximum(lowest - 1, 0), -1)[..., 0]
    right = np.take_along_axis(values, np.minimum(lowest + 1, size - 1), -1)[..., 0]
    curvature, slope = left - 2 * here + right, 0.5 * (right - left)
    bent = (lowest[..., 0] > 0) & (lowest[..., 0] < size - 1) & (curvature > 0)
    return np.asarray(here - np.where(bent, 0.5 * slope**2 / np.where(bent, curvature, 1.0), 0.0))
