"""The background function: its integrals, its two parametrisations, its fit on toys and on the published spectra."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from tests.analyses.dilepton_toys import EDGES, shape
from vrecompute_analyses.dilepton.background import PUBLISHED, fit_background, model_for, published_fit
from vrecompute_analyses.dilepton.spectrum import Spectrum


def published_density(channel, m):
    """f(m) of arXiv:1903.06248 as it is printed, in ln x."""
    p, x = PUBLISHED[channel], m / 13000.0
    log = np.log(x)
    exponent = sum(coefficient * log**power for power, coefficient in enumerate(p.p))
    breit_wigner = 1 / ((m - 91.1876) ** 2 + 2.4952**2 / 4)
    return breit_wigner * (1 - x**p.c) ** p.b * x**exponent


@pytest.mark.parametrize("channel", ["ee", "mumu"])
def test_the_polynomial_in_u_is_the_published_function_integrated_exactly(channel):
    theta = PUBLISHED[channel].theta()
    expected = model_for(channel, EDGES).expected(theta)
    exact = [quad(lambda m: published_density(channel, m), a, b, epsrel=1e-12)[0] for a, b in pairwise(EDGES)]
    assert expected / expected.sum() == pytest.approx(np.array(exact) / np.sum(exact), rel=1e-8)


def test_the_fit_describes_a_toy_and_its_uncertainties_mean_something():
    rng = np.random.default_rng(5)
    counts = rng.poisson(50_000 * shape()).astype(float)
    fit = fit_background("ee", Spectrum(EDGES, counts, counts))
    assert fit.valid
    assert fit.ndf == fit.bins - 6
    assert 0.5 < fit.chi2 / fit.ndf < 1.6
    assert fit.expected.sum() == pytest.approx(counts.sum(), rel=1e-3)
    assert 0 < fit.errors[0] < 0.2


@pytest.mark.parametrize(("events", "free"), [(60, 2), (500, 3), (5000, 4), (12_000, 5), (40_000, 6)])
def test_small_samples_free_fewer_parameters(events, free):
    counts = np.random.default_rng(1).poisson(events * shape()).astype(float)
    assert fit_background("ee", Spectrum(EDGES, counts, counts)).free.sum() == free


def test_a_fit_of_weighted_events_is_that_of_their_equivalents():
    counts = np.random.default_rng(2).poisson(30_000 * shape()).astype(float)
    plain = fit_background("ee", Spectrum(EDGES, counts, counts))
    weighted = fit_background("ee", Spectrum(EDGES, 0.1 * counts, 0.01 * counts))
    # To the tolerance of the minimiser, which ends somewhere else in the flat valley of b.
    assert weighted.chi2 == pytest.approx(plain.chi2, abs=0.01)


@pytest.mark.data
@pytest.mark.parametrize(("channel", "chi2", "bins"), [("ee", 75.6, 66), ("mumu", 69.4, 62)])
def test_published_parameters_on_published_spectra(data_dir, channel, chi2, bins):
    spectrum = Spectrum.from_csv(data_dir / "atlas_dilepton139" / f"spectrum_{channel}.csv")
    fit = published_fit(channel, spectrum)
    assert fit.chi2 == pytest.approx(chi2, rel=0.01)
    assert fit.bins == bins


@pytest.mark.data
@pytest.mark.parametrize(("channel", "chi2", "bins"), [("ee", 75.1, 66), ("mumu", 68.8, 62)])
def test_own_fit_on_published_spectra(data_dir, channel, chi2, bins):
    spectrum = Spectrum.from_csv(data_dir / "atlas_dilepton139" / f"spectrum_{channel}.csv")
    fit = fit_background(channel, spectrum)
    assert fit.valid
    assert fit.free.all()
    assert fit.chi2 == pytest.approx(chi2, rel=0.01)
    assert fit.bins == bins
