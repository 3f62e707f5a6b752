"""The bump scan: an injected resonance is found where it is, and nothing is found where nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from tests.analyses.dilepton_toys import EDGES, spectrum_counts
from vrecompute_analyses.dilepton.background import fit_background
from vrecompute_analyses.dilepton.bumpscan import scan_for_bump, scan_masses
from vrecompute_analyses.dilepton.spectrum import Spectrum


def scan(counts):
    spectrum = Spectrum(EDGES, counts, counts)
    return scan_for_bump(spectrum, fit_background("ee", spectrum), scan_masses(spectrum, 250, 6000), 0.0)


@pytest.mark.parametrize("mass", [500.0, 1200.0, 2000.0])
def test_an_injected_resonance_is_found_within_one_bin(mass):
    found = scan(spectrum_counts(np.random.default_rng(3), 40_000, 150, mass))
    bins = np.searchsorted(EDGES, [mass, found.masses_gev[found.best]])
    assert abs(int(bins[1]) - int(bins[0])) <= 1
    assert found.significance[found.best] > 5
    assert found.signal[found.best] == pytest.approx(150, abs=4 * found.signal_error[found.best])
    assert found.signal_shape.sum() == pytest.approx(found.signal[found.best], rel=0.05)


def test_a_background_alone_makes_no_discovery_and_its_significances_are_standard_normal():
    values = []
    for seed in range(12):
        found = scan(spectrum_counts(np.random.default_rng(seed), 40_000))
        assert found.global_significance < found.significance[found.best] < 5
        values.append(found.significance[found.masses_gev < 1500][::3])
    assert np.mean(values) == pytest.approx(0, abs=0.15)
    assert np.std(values) == pytest.approx(1, abs=0.15)


def test_scan_masses_lie_inside_bins_and_range():
    spectrum = Spectrum(EDGES, np.ones(99), np.ones(99))
    masses = scan_masses(spectrum, 250, 6000)
    assert masses[0] >= 250
    assert masses[-1] < EDGES[-1]
    assert len(scan_masses(spectrum, 7000, 8000)) == 0


@pytest.mark.data
def test_the_largest_excess_of_the_published_ee_spectrum(data_dir):
    spectrum = Spectrum.from_csv(data_dir / "atlas_dilepton139" / "spectrum_ee.csv")
    found = scan(spectrum.counts)
    bins = np.searchsorted(spectrum.edges_gev, [771.0, found.masses_gev[found.best]])
    assert abs(int(bins[1]) - int(bins[0])) <= 1
    assert found.significance[found.best] == pytest.approx(3.03, abs=0.4)
