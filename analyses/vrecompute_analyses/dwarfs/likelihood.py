"""Likelihood of one dwarf in the annihilation cross-section sv, its nuisances profiled.

Counts in bin k are Poisson about lambda_k = x a_k + B_k, where x = sv * 10^(log10 J - log10 J0) and a_k is
the expectation per unit of cross-section at the central J0:  a_k = 10^J0 N_k exposure_k / (8 pi m^2).
The J-factor and the cross-section enter through x alone. So the background is profiled first,
T(x) = min_B [-2 ln P(n | x, B) - 2 ln p(B)], and the J-factor after it,
-2 ln L(sv) = min_d [T(sv 10^d) - 2 ln p(d)].

The result is a table in ln(sv) for a cubic spline, from an sv that is as good as 0 to one that no experiment
allows: so its knots lie where the likelihood bends, for any dwarf, channel and mass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from vrecompute_analyses.dwarfs.tables import EDGES_GEV, Dwarf, Floats, Spectra

__all__ = [
    "SCALINGS",
    "BackgroundModel",
    "JPrior",
    "Likelihood",
    "fixed_background",
    "gaussian_j",
    "photons_per_annihilation",
    "profile",
    "sampled_j",
    "signal_per_cross_section",
]

# How a profiled background moves: all B_k by one factor, or all ln B_k by one, ln B_k = ln B_0 (ln Bhat_k / ln Bhat_0)
# about the predicted Bhat, as published (Calore et al.). The prior is that of ln B_0 in both.
SCALINGS = ("factor", "published")
_KNOTS = 192
# Of T(x), which is looked up in steps of ln(x) that resolve a likelihood of ten thousand counts.
_KNOTS_OF_X, _STEP = 256, 0.01


@dataclass(frozen=True)
class JPrior:
    """-2 ln p of shifts (D,) of log10 J from its central value, in even steps; 0 at its best."""

    shifts: Floats
    minus_two_ln: Floats


@dataclass(frozen=True)
class BackgroundModel:
    """ln B_k = ln counts_k + shift * per_bin_k, for shifts (G,) in even steps with their -2 ln p, 0 at its best.

    `counts` and `per_bin` are (6,). G = 1 is a background that is known.
    """

    counts: Floats
    shifts: Floats
    minus_two_ln: Floats
    per_bin: Floats

    @property
    def levels(self) -> Floats:
        """Background counts (G, 6)."""
        return np.asarray(self.counts * np.exp(self.shifts[:, None] * self.per_bin))


@dataclass(frozen=True)
class Likelihood:
    """-2 ln L (K, S) of K experiments at cross-sections `first` * exp(`step` * i), i = 0 ... S-1, in cm3/s.

    A cubic spline in i joins them, and that of `first` holds down to 0. `first` is infinite where no signal is
    expected of any cross-section.
    """

    first: float
    step: float
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
    errors = np.linspace(-6, 6, 25)
    return JPrior(errors * log10_error, np.square(errors))


def sampled_j(log10_samples: Floats, log10_central: float) -> JPrior:
    """The kernel density of samples of log10 J (Scott's bandwidth), out to three bandwidths beyond them."""
    width = float(np.std(log10_samples, ddof=1) * len(log10_samples) ** -0.2)
    low, high = log10_samples.min() - 3 * width, log10_samples.max() + 3 * width
    values = np.linspace(low, high, int(np.ceil(8 * (high - low) / width)) + 1)
    p = np.exp(-0.5 * ((values[:, None] - log10_samples) / width) ** 2).sum(axis=1)
    return JPrior(values - log10_central, -2 * np.log(p / p.max()))


def fixed_background(counts: Floats) -> BackgroundModel:
    """A background that is known."""
    return BackgroundModel(counts, np.zeros(1), np.zeros(1), np.ones_like(counts))


def profile(n: Floats, per_cross_section: Floats, background: BackgroundModel, prior: JPrior) -> Likelihood:
    """The likelihood in the cross-section with every nuisance at its best.

    Counts `n` (K, 6) are K experiments with the same expectations. Constants of the data are left out, the
    same for every cross-section.
    """
    level = background.levels.sum(axis=1).max()
    # No experiment of the model has more: the table does not depend on which experiments are profiled together.
    events = max(n.sum(axis=1).max(), level + 10 * np.sqrt(level))
    total = per_cross_section.sum()
    if not total > 0:
        values = _profile_background(n, per_cross_section, background, np.zeros(1))
        return Likelihood(np.inf, 1.0, values.repeat(_KNOTS, axis=1))
    # What is seen at one standard deviation; and with so much more than the events, none is a fluctuation.
    one_sigma, top = 1 / np.sqrt(np.sum(per_cross_section**2 / (background.counts + 1))), (4 * events + 60) / total
    first, scale = 3e-5 * one_sigma, 0.3 * one_sigma
    low, high = prior.shifts[[0, -1]] * np.log(10)
    step = (np.log(top / first) - low) / (_KNOTS - 1)
    stride = int(np.ceil(step / _STEP))
    fine = step / stride
    # T on even steps of ln(x): index 0 is at `first` with the J-factor at its lowest.
    x = first * np.exp(low + fine * np.arange((_KNOTS - 1) * stride + int((high - low) / fine) + 1))
    knots = np.linspace(0, np.log1p(top / scale), _KNOTS_OF_X)
    of_x = CubicSpline(knots, _profile_background(n, per_cross_section, background, scale * np.expm1(knots)), axis=1)
    table = np.where(x <= top * (1 + 1e-9), of_x(np.log1p(np.minimum(x, top) / scale)), np.inf)
    shift = np.arange(int((high - low) / fine) + 1) * fine / np.log(10) + prior.shifts[0]
    penalty = CubicSpline(prior.shifts, prior.minus_two_ln)(shift)
    # Row i of the windows is the table at the cross-section of knot i, times 10^d for all shifts d.
    windows = (np.lib.stride_tricks.sliding_window_view(row, len(penalty))[::stride] for row in table)
    return Likelihood(float(first), float(step), np.array([_minimum(rows + penalty) for rows in windows]))


def _profile_background(n: Floats, per_cross_section: Floats, background: BackgroundModel, x: Floats) -> Floats:
    """T(x) of K experiments, shape (K, X)."""
    signal = x[:, None] * per_cross_section
    deviance = np.empty((len(n), len(x), len(background.shifts)))
    for g, level in enumerate(background.levels):
        expected = signal + level
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
    bent = (lowest[..., 0] > 0) & (lowest[..., 0] < size - 1) & (curvature > 0) & np.isfinite(curvature)
    return np.asarray(here - np.where(bent, 0.5 * slope**2 / np.where(bent, curvature, 1.0), 0.0))
