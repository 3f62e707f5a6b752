"""The leave-one-out score against plain numpy; its grid, its bound, its bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.brute import score_brute
from vrecompute.kernels.numerics.score import best_bandwidths, score, score_grid, score_truncation


def plain(positions, n, s, v):
    d2 = ((positions[:, None] - positions[None]) ** 2).sum(axis=-1)
    log_n = np.log(n)
    w = np.exp(-0.5 * d2 / s**2 - 0.5 * (log_n[:, None] - log_n[None]) ** 2 / v**2)
    np.fill_diagonal(w, 0.0)
    inner = w.sum(axis=1) / n / ((2 * np.pi) ** 1.5 * s**2 * v * (len(n) - 1))
    return np.log(inner).sum()


def sample(seed, count=300):
    rng = np.random.default_rng(seed)
    positions = np.stack([rng.uniform(0, 360, count), np.degrees(np.arcsin(rng.uniform(-1, 1, count)))], axis=1)
    return positions, rng.integers(20, 90, count).astype(float)


@given(seed=st.integers(0, 10_000), s=st.floats(3.0, 60.0), v=st.floats(0.05, 1.0))
def test_planar_score_is_the_definition_within_its_bound(seed, s, v):
    positions, n = sample(seed)
    found = score(positions, n, s, v, metric="planar")
    exact = plain(positions, n, s, v)
    if found.empty:
        assert np.isnan(found.value)
        assert found.empty == np.count_nonzero(found.sums == 0)
        return
    assert found.value <= exact + 1e-9 * abs(exact)
    assert exact - found.value <= score_truncation(found, n, v, 8.0) + 1e-9 * abs(exact)
    assert score_brute(positions, n, s, v, metric="planar") == pytest.approx(exact, rel=1e-12)


@given(seed=st.integers(0, 10_000), s=st.floats(5.0, 60.0), v=st.floats(0.05, 1.0))
def test_sphere_score_is_brute_force_within_its_bound(seed, s, v):
    positions, n = sample(seed)
    found = score(positions, n, s, v)
    exact = score_brute(positions, n, s, v)
    if not found.empty:
        assert abs(exact - found.value) <= score_truncation(found, n, v, 8.0) + 1e-9 * abs(exact)


@pytest.mark.parametrize("metric", ["sphere", "planar"])
@given(seed=st.integers(0, 10_000))
def test_grid_agrees_with_single_scores_and_threads_change_nothing(metric, seed):
    positions, n = sample(seed)
    s_grid, v_grid = np.array([4.0, 9.0, 20.0]), np.array([0.1, 0.2, 0.4, 0.7, 1.0])
    grid = score_grid(positions, n, s_grid, v_grid, metric=metric)
    assert grid.tobytes() == score_grid(positions, n, s_grid, v_grid, metric=metric, threads=2).tobytes()
    for i, s in enumerate(s_grid):
        for k, v in enumerate(v_grid):
            one = score(positions, n, s, v, metric=metric)
            assert one.value == score(positions, n, s, v, metric=metric, threads=2).value or one.empty
            assert grid[i, k] == pytest.approx(one.value, rel=1e-12, nan_ok=True)
    if np.isfinite(grid).any():
        s, v = best_bandwidths(grid, s_grid, v_grid)
        assert grid[list(s_grid).index(s), list(v_grid).index(v)] == np.nanmax(grid)


def test_a_lonely_point_makes_the_score_nan_and_is_counted():
    found = score([[0.0, 0.0], [0.5, 0.0], [90.0, 0.0]], [10, 11, 12], 1.0, 0.2)
    assert np.isnan(found.value)
    assert found.empty == 1
    with pytest.raises(ValueError, match="narrower than the gaps"):
        best_bandwidths(np.full((2, 2), np.nan), [1, 2], [1, 2])


@pytest.mark.parametrize(
    ("counts", "v", "words"), [([1, 0], 0.1, "positive counts"), ([1, 2, 3], 0.1, "shape"), ([1, 2], 0.0, "positive")]
)
def test_senseless_input_is_refused(counts, v, words):
    with pytest.raises(ValueError, match=words):
        score([[0.0, 0.0], [1.0, 0.0]], counts, 1.0, v)
