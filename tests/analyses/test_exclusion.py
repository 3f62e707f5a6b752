"""Cross-section limits: scaling with luminosity, interpolation, and the published expected limits."""

from __future__ import annotations

import numpy as np
import pytest

from tests.analyses.dilepton_toys import EDGES, spectrum_counts
from vrecompute_analyses.dilepton.background import fit_background
from vrecompute_analyses.dilepton.exclusion import cross_section_limits
from vrecompute_analyses.dilepton.response import Acceptance
from vrecompute_analyses.dilepton.spectrum import Spectrum

FLAT = Acceptance({"ee": np.array([300.0, 5000.0])}, {"ee": np.array([0.5, 0.5])})


def limits(counts, acceptance=FLAT, luminosity_ifb=10.0, width=0.0):
    spectrum = Spectrum(EDGES, counts, counts)
    fit = fit_background("ee", spectrum)
    return cross_section_limits(spectrum, fit, acceptance, luminosity_ifb, width, (250, 6000), 0.95)


def test_limits_fall_as_the_luminosity_and_end_with_the_acceptance():
    counts = spectrum_counts(np.random.default_rng(1), 20_000)
    one, ten = limits(counts), limits(counts, luminosity_ifb=100.0)
    assert one.masses_gev[0] >= 300
    assert one.masses_gev[-1] <= 5000
    assert ten.observed_fb == pytest.approx(0.1 * one.observed_fb)
    middle = np.sqrt(one.masses_gev[3] * one.masses_gev[4])
    between = one.at(np.array([middle, 250.0]))
    assert between.observed_fb[0] == pytest.approx(np.sqrt(one.observed_fb[3] * one.observed_fb[4]))
    assert np.isnan(between.expected_fb[1]).all()


def test_limits_are_smooth_in_mass_and_grow_with_width():
    counts = spectrum_counts(np.random.default_rng(1), 20_000)
    narrow, wide = limits(counts), limits(counts, width=10.0)
    for curve in (narrow, wide):
        steps = np.diff(np.log(curve.expected_fb[:, 2]))
        assert np.max(np.abs(np.diff(steps))) < 0.05
    assert np.all(wide.expected_fb[:, 2] > narrow.expected_fb[:, 2])


@pytest.mark.data
@pytest.mark.parametrize(("width", "column", "tolerance"), [(0.0, 1, 0.08), (0.5, 2, 0.08), (1.2, 3, 0.10)])
def test_expected_ee_limits_are_the_published_ones(data_dir, width, column, tolerance):
    """The published ones contain systematic uncertainties, these do not: they are lower for wider resonances."""
    folder = data_dir / "atlas_dilepton139"
    counts = Spectrum.from_csv(folder / "spectrum_ee.csv").counts
    found = limits(counts, Acceptance.from_csv(folder / "acceff.csv"), 139.0, width)
    published = np.loadtxt(folder / "limits_exp_ee.csv", delimiter=",", skiprows=1)
    masses = np.array([300.0, 500.0, 1000.0, 3000.0, 5000.0])
    wanted = np.interp(masses, published[:, 0], published[:, column])
    assert found.at(masses).expected_fb[:, 2] == pytest.approx(wanted, rel=tolerance)
