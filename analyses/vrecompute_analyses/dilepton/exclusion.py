"""Upper limits on the fiducial cross-section times branching ratio of a dilepton resonance, in fb.

Fiducial: two leptons of pT > 30 GeV and |eta| < 2.5, m_true > m_X - 2 Gamma_X (arXiv:1903.06248). The mass bins are
two to four times wider than the electron resolution, so that a resonance at a bin's border is shared by two bins
and its limit up to 30 % worse for no physical reason. Limits are therefore evaluated at bin centres and
interpolated between them, log against log. They contain no systematic uncertainties, which the published ones do.

On the published ee spectrum the expected limits for zero width agree with the published ones within 2 %. Two
effects of that size and more cancel there: without systematics, bins much finer than the resolution would give
limits 1 to 10 % below the published ones. For wider resonances they are lower: by up to 8 % at a width of 1.2 %
of the mass, and up to 20 % at 10 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vrecompute_analyses.dilepton.background import BackgroundFit
from vrecompute_analyses.dilepton.bumpscan import scan_masses
from vrecompute_analyses.dilepton.response import Acceptance, signal_templates
from vrecompute_analyses.dilepton.spectrum import Spectrum
from vrecompute_analyses.likelihood import Floats
from vrecompute_analyses.limits import upper_limits

__all__ = ["CrossSectionLimits", "cross_section_limits"]


@dataclass(frozen=True)
class CrossSectionLimits:
    """Limits in fb for one width: observed (T,), expected (T, 5) at -2 ... +2 sigma, against mass (T,)."""

    width_percent: float
    masses_gev: Floats
    observed_fb: Floats
    expected_fb: Floats

    def at(self, masses_gev: Floats) -> CrossSectionLimits:
        """The limits at other masses, by interpolation; NaN outside the evaluated range."""
        known, wanted = np.log(self.masses_gev), np.log(masses_gev)
        columns = np.log(np.column_stack([self.observed_fb, self.expected_fb])).T
        there = [np.exp(np.interp(wanted, known, column, left=np.nan, right=np.nan)) for column in columns]
        return CrossSectionLimits(self.width_percent, masses_gev, there[0], np.column_stack(there[1:]))


def cross_section_limits(
    spectrum: Spectrum,
    background: BackgroundFit,
    acceptance: Acceptance,
    luminosity_ifb: float,
    width_percent: float,
    mass_range_gev: tuple[float, float],
    cl: float,
) -> CrossSectionLimits:
    """Asymptotic CLs limits for resonances of this width at the bin centres within a mass range.

    Masses outside the acceptance table are left out: there is nothing to convert events into fb with.
    """
    masses = scan_masses(spectrum, *mass_range_gev, per_bin=1)
    efficiency = acceptance.at(background.channel, masses)
    masses, efficiency = masses[np.isfinite(efficiency)], efficiency[np.isfinite(efficiency)]
    templates = signal_templates(background.channel, masses, width_percent, spectrum.edges_gev)
    limits = upper_limits(
        background.profiled_model, spectrum.equivalent_counts, templates, background.profiled_theta, cl
    )
    # From equivalent events to events, and from events to a fiducial cross-section.
    to_fb = spectrum.scale / (luminosity_ifb * efficiency)
    return CrossSectionLimits(width_percent, masses, limits.observed * to_fb, limits.expected * to_fb[:, None])
