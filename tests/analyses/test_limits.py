"""Asymptotic CLs limits: closed forms of a counting experiment, order of the bands, empty signals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from vrecompute_analyses.likelihood import LogLinear
from vrecompute_analyses.limits import BANDS, upper_limits

# One bin with a background that a second, huge bin determines.
MODEL = LogLinear(np.log([[1e-4], [1.0]]), np.ones((2, 1, 1)))
SIGNAL = np.array([[1.0, 0.0]])


def closed_q(mu, n, b):
    """q~ of one bin with a known background."""
    best = max(n - b, 0.0)
    if best > mu:
        return 0.0
    return 2 * ((mu + b) - (best + b) - (n * np.log((mu + b) / (best + b)) if n > 0 else 0.0))


def closed_limit(n, b, alpha=0.05):
    """The asymptotic CLs limit of one bin with a known background (arXiv:1007.1727, eq. 64-66)."""

    def excess(mu):
        q, asimov = closed_q(mu, n, b), closed_q(mu, b, b)
        root = np.sqrt(asimov)
        if q <= asimov:
            return norm.sf(np.sqrt(q)) / norm.sf(np.sqrt(q) - root) - alpha
        return norm.sf((q + asimov) / (2 * root)) / norm.sf((q - asimov) / (2 * root)) - alpha

    return brentq(excess, 1e-3, 1e4)


@pytest.mark.parametrize(("n", "b"), [(100, 100), (80, 100), (130, 100), (3, 1.5), (0, 0.5)])
def test_a_counting_experiment_has_its_closed_form(n, b):
    start = np.array([np.log(b * 1e4)])
    limits = upper_limits(MODEL, np.array([n, b * 1e4]), SIGNAL, start)
    assert limits.observed[0] == pytest.approx(closed_limit(n, b), rel=2e-3)
    assert limits.expected[0, 2] == pytest.approx(
        brentq(lambda m: np.sqrt(closed_q(m, b, b)) - 1.96, 1e-3, 1e4), rel=2e-3
    )


def test_gaussian_regime_and_order_of_the_bands():
    limits = upper_limits(MODEL, np.array([1e4, 1e8]), SIGNAL, np.array([np.log(1e8)]))
    sigma = 100.0
    assert limits.expected[0] == pytest.approx(
        [sigma * (norm.ppf(1 - 0.05 * norm.cdf(n)) + n) for n in BANDS], rel=0.02
    )
    assert np.all(np.diff(limits.expected[0]) > 0)


def test_a_limit_out_of_reach_is_none_and_not_the_end_of_the_search(monkeypatch):
    monkeypatch.setattr("vrecompute_analyses.limits._STEPS", 1)
    limits = upper_limits(MODEL, np.array([1e4, 1e4 * 1e4]), SIGNAL * 1e-3, np.array([np.log(1e8)]))
    assert np.isnan(limits.expected[0, [0, 4]]).all()


def test_a_higher_confidence_level_excludes_less():
    arguments = (MODEL, np.array([50.0, 5e5]), SIGNAL, np.array([np.log(5e5)]))
    assert upper_limits(*arguments, cl=0.99).observed[0] > upper_limits(*arguments, cl=0.90).observed[0]


def test_a_signal_outside_the_bins_has_no_limit():
    limits = upper_limits(MODEL, np.array([5.0, 5e4]), np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([np.log(5e4)]))
    assert np.isfinite(limits.observed[0])
    assert np.isnan(limits.observed[1])
    assert np.isnan(limits.expected[1]).all()
