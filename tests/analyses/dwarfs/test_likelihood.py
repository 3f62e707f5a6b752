"""Profiled likelihoods against direct minimisation, injected signals, and the coverage of limits."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vrecompute_analyses.dwarfs.likelihood import (
    SV_GRID,
    BackgroundModel,
    fixed_background,
    gaussian_j,
    photons_per_annihilation,
    profile,
    sampled_j,
)
from vrecompute_analyses.dwarfs.limits import Scan, limit_curve, stack, upper_limits
from vrecompute_analyses.dwarfs.tables import Spectra

BACKGROUND = np.array([60.0, 45.0, 40.0, 25.0, 35.0, 30.0])
# Counts for 1e-25 cm3/s of a typical dwarf at some mass.
SIGNAL = np.array([2.0, 3.0, 4.0, 5.0, 9.0, 12.0]) / 1e-25


def direct(n, sv, sigma_j, width=0.0):
    """-2 ln L at one cross-section, by looking everywhere: a dense grid in log10 J and the background's shift."""
    d = np.linspace(-6 * sigma_j, 6 * sigma_j, 1201)
    b = np.linspace(-6 * width, 6 * width, 1201) if width else np.zeros(1)
    total = (d[:, None] / sigma_j) ** 2 + (b / width if width else b) ** 2
    for counts, signal, level in zip(n, sv * SIGNAL, BACKGROUND, strict=True):
        expected = 10 ** d[:, None] * signal + level * np.exp(b)
        total += 2 * (expected - counts * np.log(expected))
    # At six errors, where the J-factor stops, what counts is where exactly it stops.
    assume(5 < total.min(axis=1).argmin() < 1195)
    return total.min()


@given(seed=st.integers(0, 1000), sigma_j=st.floats(0.04, 0.6), index=st.integers(0, 99))
def test_profile_is_the_minimum_over_j(seed, sigma_j, index):
    n = np.random.default_rng(seed).poisson(BACKGROUND).astype(float)
    found = profile(n[None], SIGNAL, fixed_background(BACKGROUND), gaussian_j(sigma_j))[0]
    assert found[1 + index] == pytest.approx(direct(n, SV_GRID[index], sigma_j), abs=0.005)
    assert found[0] == pytest.approx(2 * np.sum(BACKGROUND - n * np.log(BACKGROUND)), abs=1e-9)


@given(seed=st.integers(0, 1000), width=st.floats(0.05, 0.4), index=st.integers(0, 99))
def test_profile_is_the_minimum_over_j_and_background(seed, width, index):
    n = np.random.default_rng(seed).poisson(BACKGROUND).astype(float)
    shifts = np.linspace(-6 * width, 6 * width, 61)
    model = BackgroundModel(BACKGROUND, shifts, (shifts / width) ** 2)
    found = profile(n[None], SIGNAL, model, gaussian_j(0.2))[0]
    assert found[1 + index] == pytest.approx(direct(n, SV_GRID[index], 0.2, width=width), abs=0.02)


def test_experiments_together_are_experiments_alone():
    n = np.random.default_rng(3).poisson(BACKGROUND, (5, 6)).astype(float)
    prior = gaussian_j(0.3)
    together = profile(n, SIGNAL, fixed_background(BACKGROUND), prior)
    alone = [profile(row[None], SIGNAL, fixed_background(BACKGROUND), prior)[0] for row in n]
    assert np.allclose(together, alone, rtol=1e-13, atol=0)


def test_j_from_samples_of_a_gaussian_is_close_to_the_gaussian():
    samples = np.random.default_rng(5).normal(18.5, 0.15, 5000)
    n = BACKGROUND.copy()
    limits = [
        upper_limits(profile(n[None], SIGNAL, fixed_background(BACKGROUND), prior)[0, 1:])
        for prior in (gaussian_j(0.15), sampled_j(samples, 18.5))
    ]
    assert limits[1] == pytest.approx(limits[0], rel=0.05)


def limits_of(sv_true, experiments, seed, background, sigma_j=0.15):
    """Observed limits and best cross-sections of experiments with a signal, J and background thrown as modelled."""
    rng = np.random.default_rng(seed)
    weight = np.exp(-0.5 * background.minus_two_ln)
    shift = rng.choice(background.shifts, experiments, p=weight / weight.sum())
    j = rng.normal(0, sigma_j, experiments)
    expected = sv_true * 10 ** j[:, None] * SIGNAL + background.counts * np.exp(shift[:, None])
    scans = profile(rng.poisson(expected).astype(float), SIGNAL, background, gaussian_j(sigma_j))
    return upper_limits(scans[:, 1:]), SV_GRID[scans[:, 1:].argmin(axis=1)]


@pytest.mark.parametrize("profiled", [False, True])
@pytest.mark.parametrize("sv_true", [1e-26, 1e-25, 6e-25])
def test_an_injected_signal_is_found_and_limits_cover_it(profiled, sv_true, examples):
    shifts = np.linspace(-0.9, 0.9, 61)
    known, uncertain = fixed_background(BACKGROUND), BackgroundModel(BACKGROUND, shifts, (shifts / 0.15) ** 2)
    experiments = examples(4000)
    limits, best = limits_of(sv_true, experiments, 11, uncertain if profiled else known)
    covered = np.mean(~(limits < sv_true))
    # A one-sided limit from a two-sided rise of 3.84 covers at least 95 %, up to 97.5 %; three standard errors below.
    assert covered > 0.95 - 3 * np.sqrt(0.95 * 0.05 / experiments)
    if sv_true == 6e-25:
        assert np.median(best) == pytest.approx(sv_true, rel=0.25)


def test_upper_limit_of_a_parabola():
    rise = (np.log10(SV_GRID) + 25) ** 2 / 0.04
    assert upper_limits(rise) == pytest.approx(10 ** (-25 + 0.2 * np.sqrt(3.84)), rel=0.01)
    assert np.isnan(upper_limits(np.zeros(100)))
    assert np.isnan(upper_limits(-np.log10(SV_GRID)))
    assert upper_limits(np.stack([rise, rise]))[1] == upper_limits(rise)


def test_stacking_adds_likelihoods_where_all_have_them():
    rows = np.arange(3 * 101, dtype=float).reshape(3, 101)
    one = Scan(np.array([10.0, 20.0, 30.0]), rows, rows[:, None, 1:])
    two = Scan(np.array([20.0, 30.0]), rows[:2], rows[:2, None, 1:])
    both = stack([one, two])
    assert both.masses_gev.tolist() == [20.0, 30.0]
    assert np.array_equal(both.observed, rows[1:] + rows[:2])
    assert np.array_equal(both.expected[:, 0], (rows[1:] + rows[:2])[:, 1:])
    assert limit_curve(both).expected.shape == (5, 2)


@given(mass=st.floats(5.0, 5000.0))
def test_photons_are_the_integral_of_the_spectrum(mass):
    x = np.linspace(-8.9, 0, 179)
    # dN/dlog10(x) = 2 + x is linear, so that the trapezoids are exact.
    spectra = Spectra(np.array([5.0, 100.0, 5000.0]), x, np.tile(12 + x, (3, 1)))
    found = photons_per_annihilation(spectra, mass)
    edges = np.clip(np.log10(np.array([0.5, 0.67, 0.89, 1.19, 1.58, 2.81, 500.0]) / mass), -8.9, 0)
    assert np.allclose(found, np.diff(12 * edges + 0.5 * edges**2), rtol=1e-10, atol=1e-12)


def test_a_mass_outside_of_the_spectra_is_refused():
    with pytest.raises(ValueError, match="outside of the spectra, 5 to 10"):
        photons_per_annihilation(Spectra(np.array([5.0, 10.0]), np.array([-1.0, 0.0]), np.ones((2, 2))), 20.0)
