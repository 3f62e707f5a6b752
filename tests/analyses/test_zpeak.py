"""The Z-peak fit: unbiased with honest uncertainties on toys, and its mass on real CMS dimuons."""

from __future__ import annotations

import numpy as np
import pytest

from tests.analyses.dilepton_toys import z_masses
from vrecompute_analyses.dilepton.spectrum import Spectrum
from vrecompute_analyses.dilepton.zpeak import fit_z_peak, peak_curves

BINS = np.linspace(60, 120, 241)


def window(masses, low=81.0, high=101.0):
    counts = np.histogram(masses, BINS)[0].astype(float)
    return Spectrum(BINS, counts, counts).window(low, high)


@pytest.mark.parametrize(("events", "tolerance"), [(2000, 0.3), (30_000, 0.1)])
@pytest.mark.parametrize("response", ["gauss", "crystal_ball"])
def test_the_mass_is_that_of_the_toy(events, tolerance, response):
    fit = fit_z_peak(window(z_masses(np.random.default_rng(11), events)), response)
    assert fit.valid
    assert fit.values["mass_gev"] == pytest.approx(91.19, abs=tolerance)
    assert fit.values["resolution_gev"] == pytest.approx(1.28, abs=0.35)
    assert fit.errors["width_gev"] == 0


def test_uncertainties_cover_the_truth_as_often_as_they_should():
    # The falling weight under the line moves the toy's peak from 91.19 to 91.15 GeV.
    pulls = []
    for seed in range(16):
        fit = fit_z_peak(window(z_masses(np.random.default_rng(seed), 3000)))
        pulls.append((fit.values["mass_gev"] - 91.15) / fit.errors["mass_gev"])
    assert abs(np.mean(pulls)) < 0.75
    assert 0.6 < np.std(pulls) < 1.5


def test_a_peak_without_background_keeps_its_uncertainty():
    rng = np.random.default_rng(7)
    mass = 91.1876 + 0.5 * 2.4952 * np.tan(np.pi * (rng.random(30_000) - 0.5)) + 0.9 * rng.normal(size=30_000)
    fit = fit_z_peak(window(mass[np.abs(mass - 91.2) < 20]))
    assert 0.008 < fit.errors["mass_gev"] < 0.02


def test_the_width_is_found_where_it_is_free():
    fit = fit_z_peak(window(z_masses(np.random.default_rng(4), 30_000)))
    assert fit.free_width_gev is not None
    width, error = fit.free_width_gev
    assert width == pytest.approx(2.4952, abs=4 * error)


def test_curves_add_up_to_the_spectrum():
    spectrum = window(z_masses(np.random.default_rng(1), 5000))
    total, background = peak_curves(fit_z_peak(spectrum), spectrum.edges_gev)
    assert total.sum() == pytest.approx(spectrum.total, rel=0.01)
    assert np.all(background <= total)


@pytest.mark.data
def test_real_cms_dimuons(data_dir):
    import awkward as ak
    import uproot

    with uproot.open(data_dir / "hep_root" / "cms2011A_Zmumu.root") as file:
        muons = file["Events"].arrays(["Muon_pt", "Muon_eta", "Muon_phi", "Muon_charge"])
    muons = muons[(ak.num(muons["Muon_charge"]) == 2) & (ak.sum(muons["Muon_charge"], axis=1) == 0)]
    pt, eta, phi = (ak.to_numpy(muons[f"Muon_{name}"]).astype(float) for name in ("pt", "eta", "phi"))
    mass = np.sqrt(2 * pt[:, 0] * pt[:, 1] * (np.cosh(eta[:, 0] - eta[:, 1]) - np.cos(phi[:, 0] - phi[:, 1])))
    fit = fit_z_peak(window(mass))
    assert fit.valid
    assert fit.values["mass_gev"] == pytest.approx(90.8, abs=0.15)
    assert fit.chi2 / fit.ndf < 1.3
