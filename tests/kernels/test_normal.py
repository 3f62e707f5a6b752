"""Smearing numbers: normal, and a function of what they are made from alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vrecompute.kernels.loop.normal import hashed_normal, normal_quantile


def test_the_quantile_is_that_of_the_normal_distribution():
    u = np.concatenate([np.geomspace(1e-15, 0.5, 200), 1.0 - np.geomspace(1e-12, 0.5, 200)])
    assert [normal_quantile(x) for x in u] == pytest.approx(stats.norm.ppf(u), rel=2e-9, abs=1e-9)


def test_numbers_from_neighbouring_values_are_normal_and_independent():
    pt = np.float32(30.0) + np.arange(20_000, dtype=np.float32) * np.float32(2**-18)
    drawn = np.array([hashed_normal(x, 0.5, 11) for x in pt])
    assert stats.kstest(drawn, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 0.03
    other = np.array([hashed_normal(x, 0.5, 13) for x in pt])
    assert abs(np.corrcoef(drawn, other)[0, 1]) < 0.03


def test_the_same_values_give_the_same_number():
    assert hashed_normal(41.5, -2.0, 11) == hashed_normal(np.float32(41.5), -2.0, 11)
    assert hashed_normal(41.5, -2.0, 11) != hashed_normal(41.5, 2.0, 11)
