"""The Z peak: mass, width and resolution from a binned Poisson fit.

Signal: a relativistic Breit-Wigner with mass-dependent width (PDG, review of resonances), convolved with the
response, which is a Gaussian or a Crystal Ball function (J. E. Gaiser, SLAC-R-255). Background: an exponential,
for the continuum. The Gaussian gives the position of the peak as it was measured. The Crystal Ball's low tail
takes up final-state radiation and bremsstrahlung as well, and the mass it gives is higher where there are any
(CMS 2011 dimuons, 81-101 GeV: 90.82 with the Gaussian, 90.99 GeV with the Crystal Ball).
The natural width and the resolution are almost degenerate, so the mass comes from a fit with the width at the
world average; a second fit then frees the width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from iminuit import Minuit
from scipy.signal import fftconvolve
from scipy.special import ndtr

from vrecompute_analyses.dilepton.spectrum import Spectrum
from vrecompute_analyses.likelihood import Floats, deviance

__all__ = ["Response", "ZPeakFit", "fit_z_peak", "peak_curves"]

Response = Literal["gauss", "crystal_ball"]

_Z_MASS_GEV, _Z_WIDTH_GEV = 91.1876, 2.4952
# Cells per bin in which the line shape is convolved: 0.0625 GeV for bins of 0.25 GeV.
_CELLS = 4
_REACH_GEV = 30.0  # of the response, and of the line shape beyond the window
_TAIL_POWER = 3.0  # n of the Crystal Ball; not determined by a few thousand events
_NO_TAIL = 30.0  # standard deviations: a Crystal Ball whose tail begins there is a Gaussian
_CHI2_MIN_PREDICTION = 5.0
_NO_BACKGROUND = 1e-4  # of the events: less is none
_ORDER = ("signal", "background", "mass_gev", "width_gev", "resolution_gev", "alpha", "slope_per_gev")


@dataclass(frozen=True)
class ZPeakFit:
    """Fitted values and uncertainties by parameter name, and how well they describe the spectrum.

    `values["width_gev"]` is the world average the main fit holds; `free_width_gev` is (value, uncertainty)
    of the fit that frees it, None where that fit does not converge.
    """

    response: Response
    values: dict[str, float]
    errors: dict[str, float]
    free_width_gev: tuple[float, float] | None
    chi2: float
    ndf: int
    valid: bool


def fit_z_peak(spectrum: Spectrum, response: Response = "gauss") -> ZPeakFit:
    """Fit the peak in a spectrum with uniform bins around it; contents are taken in equivalent unweighted events."""
    tail = response == "crystal_ball"
    counts = spectrum.equivalent_counts
    events = float(counts.sum())

    def cost(*values: float) -> float:
        return float(deviance(counts, _expected(spectrum.edges_gev, np.array(values))))

    minuit = Minuit(
        cost,
        0.92 * events,
        0.08 * events,
        _start_mass(spectrum),
        _Z_WIDTH_GEV,
        1.5,
        1.8 if tail else _NO_TAIL,
        -0.02,
        name=_ORDER,
    )
    minuit.errordef = Minuit.LEAST_SQUARES  # the cost is a deviance: one sigma raises it by 1
    minuit.limits["signal", "background"] = (0, 1.5 * events)
    minuit.limits["mass_gev"] = (80, 100)
    minuit.limits["width_gev"] = (0.5, 10)
    minuit.limits["resolution_gev"] = (0.1, 8)
    minuit.limits["alpha"] = (0.8, 4) if tail else None
    minuit.limits["slope_per_gev"] = (-0.3, 0.3)
    minuit.fixed["width_gev"] = True
    minuit.fixed["alpha"] = True
    minuit.migrad()
    if tail:
        minuit.fixed["alpha"] = False
        minuit.migrad(ncall=5000)
    if minuit.values["background"] < _NO_BACKGROUND * events:
        # At its bound a parameter spoils the second derivatives of all others.
        minuit.values["background"] = 0.0
        minuit.fixed["background", "slope_per_gev"] = True
        minuit.migrad()
    minuit.hesse()
    values, errors = minuit.values.to_dict(), minuit.errors.to_dict()
    errors |= {name: 0.0 for name in _ORDER if minuit.fixed[name]}
    valid = bool(minuit.valid)
    fitted = int(minuit.nfit)
    minuit.fixed["width_gev"] = False
    minuit.migrad(ncall=5000)
    minuit.hesse()
    freed = (minuit.values["width_gev"], minuit.errors["width_gev"]) if minuit.valid and minuit.accurate else None

    expected = _expected(spectrum.edges_gev, np.array([values[name] for name in _ORDER]))
    used = expected > _CHI2_MIN_PREDICTION
    chi2 = float(np.sum((counts[used] - expected[used]) ** 2 / expected[used]))
    return ZPeakFit(response, values, errors, freed, chi2, int(used.sum()) - fitted, valid)


def peak_curves(fit: ZPeakFit, edges_gev: Floats) -> tuple[Floats, Floats]:
    """Expected equivalent events per bin: signal plus background, and background alone."""
    values = np.array([fit.values[name] for name in _ORDER])
    background = values.copy()
    background[0] = 0.0
    return _expected(edges_gev, values), _expected(edges_gev, background)


def _start_mass(spectrum: Spectrum) -> float:
    """The mean mass within 5 GeV of the fullest 2 GeV."""
    bins = max(1, round(2.0 / float(spectrum.edges_gev[1] - spectrum.edges_gev[0])))
    smooth = np.convolve(spectrum.counts, np.ones(bins), mode="same")
    centres = 0.5 * (spectrum.edges_gev[1:] + spectrum.edges_gev[:-1])
    near = np.abs(centres - centres[int(np.argmax(smooth))]) < 5.0
    mass = float(np.average(centres[near], weights=np.maximum(spectrum.counts[near], 1e-9)))
    return float(np.clip(mass, 82.0, 98.0))


def _expected(edges_gev: Floats, values: Floats) -> Floats:
    signal, background, mass, width, sigma, alpha, slope = values
    peak = _convolved(edges_gev, mass, width, sigma, alpha)
    centre = 0.5 * (edges_gev[0] + edges_gev[-1])
    # expm1 over slope, so that a slope of zero is a flat background
    safe = slope if abs(slope) > 1e-9 else 1e-9
    smooth = np.diff(np.expm1(safe * (edges_gev - centre)) / safe)
    return np.asarray(signal * peak + background * smooth / smooth.sum())


def _convolved(edges_gev: Floats, mass: float, width: float, sigma: float, alpha: float) -> Floats:
    """Share of the peak in each bin, normalised to the window."""
    cell = (edges_gev[-1] - edges_gev[0]) / (len(edges_gev) - 1) / _CELLS
    reach = round(_REACH_GEV / cell)
    window = (len(edges_gev) - 1) * _CELLS
    true = edges_gev[0] + cell * (np.arange(-reach, window + reach) + 0.5)
    line = true**2 / ((true**2 - mass**2) ** 2 + true**4 * width**2 / mass**2)
    borders = cell * (np.arange(-reach, reach + 2) - 0.5)
    response = np.diff(_crystal_ball_cdf(borders / sigma, alpha))
    cells = fftconvolve(line, response, mode="same")[reach : reach + window]
    bins = np.maximum(cells.reshape(-1, _CELLS).sum(axis=1), 0.0)
    return np.asarray(bins / bins.sum())


def _crystal_ball_cdf(z: Floats, alpha: float) -> Floats:
    """Cumulative Crystal Ball with its power-law tail to the left of -alpha, up to normalisation."""
    n = _TAIL_POWER
    gauss_at_join = np.exp(-0.5 * alpha**2)
    tail_at_join = gauss_at_join * n / (alpha * (n - 1))
    stretched = np.maximum(1.0 + alpha / n * (-alpha - np.minimum(z, -alpha)), 1.0)
    tail = tail_at_join * stretched ** (1 - n)
    core = np.sqrt(2 * np.pi) * (ndtr(np.maximum(z, -alpha)) - ndtr(-alpha))
    return np.asarray(tail + core)
