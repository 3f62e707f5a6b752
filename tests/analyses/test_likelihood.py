"""Profiled likelihoods: against a general minimiser, and against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from vrecompute_analyses.likelihood import LogLinear, deviance, profile, signed_significance


@pytest.fixture(scope="module")
def falling():
    """An exponential in 30 bins, one node each, with parameters (log rate, slope)."""
    x = np.linspace(0, 1, 30)[:, None]
    return LogLinear(np.zeros((30, 1)), np.stack([np.ones_like(x), x], axis=-1))


SIGNAL = np.exp(-0.5 * ((np.arange(30) - np.array([[8], [15], [22]])) / 1.5) ** 2)
SIGNAL = SIGNAL / SIGNAL.sum(axis=1, keepdims=True)


def test_deviance_is_zero_for_a_perfect_prediction_and_finite_for_empty_bins():
    counts = np.array([0.0, 3.0, 7.5])
    assert deviance(counts, counts) == pytest.approx(0, abs=1e-12)
    assert deviance(counts, np.array([1.0, 3.0, 7.5])) == pytest.approx(2.0)


@given(seed=st.integers(0, 2**31), rate=st.floats(1.0, 5.0), strength=st.floats(0, 40))
@settings(max_examples=15)
def test_profile_reaches_the_minimum_that_a_general_minimiser_finds(falling, seed, rate, strength):
    rng = np.random.default_rng(seed)
    theta = np.array([rate, -2.0])
    counts = rng.poisson(falling.expected(theta) + strength * SIGNAL[1]).astype(float)
    fit = profile(falling, counts, SIGNAL, theta)
    for row in range(3):

        def cost(values, row=row):
            expected = falling.expected(values[:2]) + values[2] * SIGNAL[row]
            return np.inf if np.any(expected <= 0) else float(deviance(counts, expected))

        start = [*fit.theta[row], fit.signal[row]]
        found = minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 4000})
        assert fit.deviance[row] <= found.fun + 1e-4


def test_one_bin_counting_experiment_has_its_closed_form():
    """With a known background b and n seen in one bin, q0 = 2 (n ln(n/b) - (n - b))."""
    model = LogLinear(np.log([[100.0], [1e6]]), np.array([[[0.0]], [[1.0]]]))  # the parameter touches bin 2 only
    counts = np.array([130.0, 1e6])
    significance, fit = signed_significance(model, counts, np.array([[1.0, 0.0]]), np.zeros(1))
    assert significance[0] == pytest.approx(np.sqrt(2 * (130 * np.log(1.3) - 30)), rel=1e-6)
    assert fit.signal[0] == pytest.approx(30, rel=1e-6)
    assert fit.signal_error[0] == pytest.approx(np.sqrt(130), rel=1e-3)


def test_a_deficit_has_a_negative_significance(falling):
    theta = np.array([5.0, -1.0])
    counts = falling.expected(theta) - 30 * SIGNAL[1]
    assert signed_significance(falling, counts, SIGNAL, theta)[0][1] < -1


def test_fixed_parameters_stay_where_they_are(falling):
    theta = np.array([2.0, -1.0])
    held = falling.fix(theta, np.array([True, False]))
    assert held.parameters == 1
    assert held.expected(theta[:1]) == pytest.approx(falling.expected(theta))
