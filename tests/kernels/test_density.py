"""The background density against plain numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.kernels.numerics.density import density

GRID = np.linspace(0.0, 7.0, 141)


@given(seed=st.integers(0, 10_000), s=st.floats(2.0, 40.0), v=st.floats(0.05, 1.0))
def test_density_is_the_definition(seed, s, v):
    rng = np.random.default_rng(seed)
    train, query = rng.uniform(0, 60, (150, 2)), rng.uniform(0, 60, (5, 2))
    values, valid = rng.normal(3, 0.5, (150, 2)), rng.random((150, 2)) > 0.2
    found = density(train, values, query, GRID, s, v, metric="planar", valid=valid)
    w = np.exp(-0.5 * ((train[None] - query[:, None]) ** 2).sum(axis=-1) / s**2)
    for e in range(2):
        bumps = np.exp(-0.5 * ((GRID[None] - values[:, e, None]) / v) ** 2) * valid[:, e, None]
        exact = w @ bumps / ((2 * np.pi) ** 1.5 * s**2 * v * valid[:, e].sum())
        lost = np.exp(-32.0) / ((2 * np.pi) ** 1.5 * s**2 * v)
        seen = np.isfinite(found[:, e, 0])
        assert np.all(np.abs(found[:, e] - exact)[seen] <= 1e-12 * exact[seen] + lost)


def test_density_over_y_integrates_to_the_density_of_points():
    train = np.array([[0.0, 0.0], [1.0, 0.0], [200.0, 0.0]])
    found = density(train, np.array([[3.0], [4.0], [3.0]]), [[0.5, 0.0], [100.0, 0.0]], GRID, 1.0, 0.2)
    of_points = 2 * np.exp(-0.125) / (2 * np.pi * 3)
    assert found[0, 0].sum() * (GRID[1] - GRID[0]) == pytest.approx(of_points, rel=1e-9)
    assert np.isnan(found[1, 0]).all()


def test_threads_change_no_byte():
    rng = np.random.default_rng(1)
    train, query = rng.uniform(0, 60, (150, 2)), rng.uniform(0, 60, (25, 2))
    values = rng.normal(3, 0.5, (150, 2))
    one, two = (density(train, values, query, GRID, 5.0, 0.2, threads=t) for t in (1, 2))
    assert one.tobytes() == two.tobytes()


def test_senseless_input_is_refused():
    with pytest.raises(ValueError, match="do not fit"):
        density(np.zeros((2, 2)), np.zeros((3, 1)), np.zeros((1, 2)), GRID, 1.0, 0.1)
    with pytest.raises(ValueError, match="positive"):
        density(np.zeros((2, 2)), np.zeros((2, 1)), np.zeros((1, 2)), GRID, 1.0, 0.0)
