"""Kernel regression against plain numpy, its bounds, and its promise of equal bytes."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.brute import regress_brute
from vrecompute.kernels.numerics.regress import regress, truncation_bound


def plain(train, values, query, s, metric, valid):
    """The definition, in numpy, float64, every pair."""
    if metric == "sphere":
        (l1, b1), (l2, b2) = np.radians(train).T[:, None, :], np.radians(query).T[:, :, None]
        x = np.cos(b1) * np.sin(l1 - l2)
        y = np.cos(b2) * np.sin(b1) - np.sin(b2) * np.cos(b1) * np.cos(l1 - l2)
        z = np.sin(b1) * np.sin(b2) + np.cos(b1) * np.cos(b2) * np.cos(l1 - l2)
        d = np.degrees(np.arctan2(np.hypot(x, y), z))
    else:
        d = np.sqrt(((train[None] - query[:, None]) ** 2).sum(axis=-1))
    w = np.exp(-0.5 * (d / s) ** 2)
    y = np.where(valid, values, 0.0)
    weight = w @ valid
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = w @ y / weight
        return mean, w @ y**2 / weight - mean**2, weight


def sky(rng, count):
    return np.stack([rng.uniform(0, 360, count), np.degrees(np.arcsin(rng.uniform(-1, 1, count)))], axis=1)


def sample(seed, count=400, queries=37, outputs=3):
    rng = np.random.default_rng(seed)
    train, query = sky(rng, count), sky(rng, queries)
    values = np.log(rng.integers(1, 200, (count, outputs)))
    return train, values, query, rng.random((count, outputs)) > 0.1


@pytest.mark.parametrize("metric", ["sphere", "planar"])
@given(seed=st.integers(0, 10_000), s=st.floats(0.5, 90.0))
def test_float64_is_the_definition_within_the_truncation_bound(metric, seed, s):
    train, values, query, valid = sample(seed)
    found = regress(train, values, query, s, metric=metric, valid=valid)
    mean, variance, weight = plain(train, values, query, s, metric, valid)
    spread = values.max() - values.min()
    of_mean, of_variance = truncation_bound(found.weight, valid.sum(axis=0), spread, 8.0)
    seen = found.weight > 0
    assert np.all(np.abs(found.mean - mean)[seen] <= 1e-12 * spread + of_mean[seen])
    assert np.all(np.abs(found.variance - variance)[seen] <= 2e-12 * spread**2 + of_variance[seen])
    assert np.all(np.abs(found.weight - weight) <= 1e-12 * weight + 400 * np.exp(-32.0))
    assert np.isnan(found.mean[~seen]).all()
    assert np.isnan(found.variance[~seen]).all()


@given(seed=st.integers(0, 10_000), s=st.floats(0.5, 40.0), cut=st.floats(1.0, 9.0))
def test_the_bound_holds_for_any_cut(seed, s, cut):
    train, values, query, valid = sample(seed)
    found = regress(train, values, query, s, valid=valid, cut_sigma=cut)
    mean, variance, _ = plain(train, values, query, s, "sphere", valid)
    spread = values.max() - values.min()
    of_mean, of_variance = truncation_bound(found.weight, valid.sum(axis=0), spread, cut)
    seen = found.weight > 0
    assert np.all(np.abs(found.mean - mean)[seen] <= 1e-12 * spread + of_mean[seen])
    assert np.all(np.abs(found.variance - variance)[seen] <= 2e-12 * spread**2 + of_variance[seen])


@pytest.mark.parametrize("metric", ["sphere", "planar"])
@given(seed=st.integers(0, 10_000), s=st.floats(1.0, 7.0), tile=st.sampled_from([16, 64, 512]))
def test_float32_is_good_to_its_stated_error(metric, seed, s, tile):
    train, values, query, valid = sample(seed)
    exact = regress(train, values, query, s, metric=metric, valid=valid)
    fast = regress(train, values, query, s, metric=metric, valid=valid, precision="float32", tile=tile)
    # Where one far neighbour is all there is, one may see it and the other not: compare inside the cut.
    near = exact.weight > 1e-6
    spread = values.max() - values.min()
    allowed = 3e-6
    if metric == "planar" and tile > len(train):  # one tile from edge to edge: what is stated for its width
        allowed = 1e-7 * (3 + 20 + np.hypot(360, 180) / s * np.sqrt(20))  # 2^-20 is the least weight that is compared
    assert np.abs(fast.mean - exact.mean)[near].max(initial=0) <= allowed * spread
    assert np.abs(fast.variance - exact.variance)[near].max(initial=0) <= 2 * allowed * spread**2


@pytest.mark.parametrize("precision", ["float64", "float32"])
@given(seed=st.integers(0, 10_000), s=st.floats(0.5, 7.0), cuts=st.lists(st.integers(0, 37), max_size=6))
def test_any_split_of_queries_and_any_threads_give_the_same_bytes(precision, seed, s, cuts):
    train, values, query, valid = sample(seed)
    edges = [0, *sorted(cuts), len(query)]
    whole = regress(train, values, query, s, valid=valid, precision=precision)
    two = regress(train, values, query, s, valid=valid, precision=precision, threads=2)
    parts = [regress(train, values, query[a:b], s, valid=valid, precision=precision) for a, b in pairwise(edges)]
    for name in ("mean", "variance", "weight"):
        joined = np.concatenate([getattr(p, name) for p in parts])
        assert getattr(whole, name).tobytes() == getattr(two, name).tobytes() == joined.tobytes()


@pytest.mark.parametrize("features", [1, 3, 4, 6])
def test_any_number_of_features_and_outputs(features):
    rng = np.random.default_rng(features)
    train, query, values = rng.random((700, features)), rng.random((50, features)), rng.random((700, 2 * features - 1))
    mean, variance, weight = plain(train, values, query, 0.2, "planar", np.ones_like(values, dtype=bool))
    for precision, error in (("float64", 1e-12), ("float32", 2e-6)):
        found = regress(train, values, query, 0.2, metric="planar", precision=precision, value_bandwidth=0.5)
        assert np.abs(found.mean - mean).max() < error
        assert np.abs(found.variance - variance - 0.25).max() < error
        assert np.abs(found.weight / weight - 1).max() < 5 * error
    brute = regress_brute(train, values, query, 0.2, metric="planar", value_bandwidth=0.5)
    assert np.abs(brute.mean - mean).max() < 1e-12


def test_sphere_knows_the_poles_and_the_seam_and_planar_does_not():
    values = np.array([[1.0], [2.0]])
    across = np.array([[359.9, 0.0], [180.0, 0.0]])
    assert regress(across, values, [[0.1, 0.0]], 1.0).mean[0, 0] == pytest.approx(1.0, abs=1e-12)
    assert np.isnan(regress(across, values, [[0.1, 0.0]], 1.0, metric="planar").mean[0, 0])
    pole = np.array([[0.0, 89.9], [180.0, 89.9]])
    assert regress(pole, values, [[90.0, 90.0]], 1.0).mean[0, 0] == pytest.approx(1.5, abs=1e-12)
    assert regress(pole, values, [[360.0, 89.9]], 1.0).weight[0, 0] == pytest.approx(1 + np.exp(-0.02), abs=1e-12)
    antipode = regress([[0.0, 0.0]], [[1.0]], [[180.0, 0.0]], 60.0)
    assert antipode.weight[0, 0] == pytest.approx(np.exp(-4.5), rel=1e-13)


def test_an_empty_neighbourhood_is_nan_and_counted():
    train, values = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 5.0], [3.0, 7.0]])
    valid = np.array([[True, False], [True, False]])
    found = regress(train, values, [[0.5, 0.0], [100.0, 0.0]], 1.0, valid=valid)
    assert found.mean[0, 0] == pytest.approx(2.0)
    assert np.isnan(found.mean[:, 1]).all()
    assert np.isnan(found.mean[1]).all()
    assert found.empty.tolist() == [1, 2]
    nothing = regress(np.empty((0, 2)), np.empty((0, 2)), [[0.5, 0.0]], 1.0)
    assert nothing.empty.tolist() == [1, 1]
    assert regress(train, values, np.empty((0, 2)), 1.0).mean.shape == (0, 2)


def test_invalid_entries_are_not_read():
    values = np.array([[1.0], [np.nan], [3.0]])
    found = regress([[0.0, 0.0], [0.5, 0.0], [1.0, 0.0]], values, [[0.5, 0.0]], 1.0, valid=np.isfinite(values))
    assert found.mean[0, 0] == pytest.approx(2.0)
    with pytest.raises(ValueError, match="not finite"):
        regress([[0.0, 0.0], [0.5, 0.0], [1.0, 0.0]], values, [[0.5, 0.0]], 1.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": np.ones(2)}, "points, outputs"),
        ({"values": np.ones((3, 1))}, "do not fit"),
        ({"query": [[0.0, 0.0, 0.0]], "metric": "planar"}, "do not fit"),
        ({"valid": np.ones((2, 2), dtype=bool)}, "shape of values"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(change, words):
    given_ = {"train": np.zeros((2, 2)), "values": np.ones((2, 1)), "query": [[0.0, 0.0]], "bandwidth": 1.0, **change}
    with pytest.raises(ValueError, match=words):
        regress(**given_)
