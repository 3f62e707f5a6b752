"""Scan of the mass spectrum for a resonance: local significance against mass, background profiled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from vrecompute_analyses.dilepton.background import BackgroundFit
from vrecompute_analyses.dilepton.response import signal_templates
from vrecompute_analyses.dilepton.spectrum import Spectrum
from vrecompute_analyses.likelihood import Floats, profile, signed_significance

__all__ = ["BumpScan", "scan_for_bump", "scan_masses"]

_MASSES_PER_BIN = 3


@dataclass(frozen=True)
class BumpScan:
    """Local significance and fitted signal (in equivalent selected events) against resonance mass, arrays (T,).

    `background` and `signal_shape` (bins,) are the fit at the maximum: expected background there, and expected signal.
    """

    masses_gev: Floats
    significance: Floats
    signal: Floats
    signal_error: Floats
    background: Floats
    signal_shape: Floats

    @property
    def best(self) -> int:
        """Index of the largest local significance."""
        return int(np.argmax(self.significance))

    @property
    def global_significance(self) -> float:
        """The maximum's significance after the trials factor (Gross and Vitells, arXiv:1005.1891, eq. 3).

        The mean number of upcrossings at level 0 is taken from this scan itself; negative where the global
        p-value exceeds one half.
        """
        z = float(self.significance[self.best])
        if z <= 0:
            return 0.0
        upcrossings = max(1, int(np.sum((self.significance[:-1] <= 0) & (self.significance[1:] > 0))))
        return float(norm.isf(min(norm.sf(z) + upcrossings * np.exp(-0.5 * z**2), 1 - 1e-9)))


def scan_masses(spectrum: Spectrum, low_gev: float, high_gev: float, per_bin: int = _MASSES_PER_BIN) -> Floats:
    """Masses inside the bins of a spectrum, `per_bin` to each, evenly in ln m, and within [low, high]."""
    edges = np.log(spectrum.edges_gev)
    shares = (np.arange(per_bin) + 0.5) / per_bin
    masses = np.exp(edges[:-1, None] + np.diff(edges)[:, None] * shares).ravel()
    return np.asarray(masses[(masses >= low_gev) & (masses <= high_gev)])


def scan_for_bump(spectrum: Spectrum, background: BackgroundFit, masses_gev: Floats, width_percent: float) -> BumpScan:
    """Fit signal plus background for every mass and compare with the background alone.

    The maximum is that of the masses given. With three to a bin, on the published spectra and widths of 0 to 10 %, it
    lies less than 0.02 standard deviations below that of 48 to a bin.
    """
    counts = spectrum.equivalent_counts
    templates = signal_templates(background.channel, masses_gev, width_percent, spectrum.edges_gev)
    # Without a signal inside the bins there is nothing to fit.
    inside = templates.sum(axis=1) > 0.05
    masses, templates = masses_gev[inside], templates[inside]
    model = background.profiled_model
    significance, fit = signed_significance(model, counts, templates, background.profiled_theta)
    best = int(np.argmax(significance))
    at_best = profile(model, counts, templates[best : best + 1], fit.theta[best])
    return BumpScan(
        masses_gev=masses,
        significance=significance,
        signal=fit.signal,
        signal_error=fit.signal_error,
        background=model.expected(at_best.theta[0]),
        signal_shape=at_best.signal[0] * templates[best],
    )
