"""Tiles hold every point once, near ones together; kernels refuse what makes no sense."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.kernels.numerics.neighbours import as_points, box_gap2, build_tiles, kd_order, make_kernel, unit_vectors


@given(st.integers(0, 200), st.integers(1, 5), st.integers(1, 40), st.integers(0, 1000))
def test_order_is_a_permutation_whose_full_leaves_come_first(count, features, leaf, seed):
    points = np.random.default_rng(seed).integers(0, 5, (count, features)).astype(float)
    order = kd_order(points, leaf)
    assert sorted(order) == list(range(count))
    assert np.array_equal(order, kd_order(points, leaf))


def test_order_keeps_the_two_halves_of_a_line_apart():
    points = np.array([[5.0], [1.0], [4.0], [0.0], [3.0], [2.0]])
    assert [sorted(points[run, 0]) for run in kd_order(points, 3).reshape(2, 3)] == [[0, 1, 2], [3, 4, 5]] or [
        sorted(points[run, 0]) for run in kd_order(points, 3).reshape(2, 3)
    ] == [[3, 4, 5], [0, 1, 2]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(seed=st.integers(0, 1000), count=st.integers(1, 300), size=st.sampled_from([4, 64, 512]))
def test_a_tile_and_its_box_hold_its_points(dtype, seed, count, size):
    rng = np.random.default_rng(seed)
    points, columns = rng.normal(0, 3, (count, 2)), rng.random((count, 2))
    kernel = make_kernel(0.7, "planar", 6.0, dtype)
    tiles = build_tiles(points, columns, kernel, size, dtype)
    real = tiles.order >= 0
    assert sorted(tiles.order[real]) == list(range(count))
    scaled = tiles.points.transpose(0, 2, 1) + tiles.centre[:, None, :]
    assert np.all(scaled >= tiles.low[:, None, :])
    assert np.all(scaled <= tiles.high[:, None, :])
    flat = scaled.reshape(-1, 2)[real]
    assert np.allclose(flat, points[tiles.order[real]] * kernel.scale, rtol=0, atol=1e-5)
    assert np.all(tiles.columns.transpose(0, 2, 1).reshape(-1, 2)[~real] == 0)


def test_gap_of_boxes():
    low, high = np.array([0.0, 0.0]), np.array([1.0, 1.0])
    assert box_gap2(low, high, np.array([4.0, 5.0]), np.array([6.0, 7.0])) == 25.0
    assert box_gap2(low, high, np.array([0.5, 0.5]), np.array([6.0, 7.0])) == 0.0


def test_unit_vectors():
    found = unit_vectors(np.array([[0.0, 0.0], [90.0, 0.0], [17.0, 90.0]]))
    assert np.allclose(found, np.eye(3), atol=1e-15)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0.0, "sphere", 8.0), "positive"),
        ((float("nan"), "sphere", 8.0), "positive"),
        ((1.0, "flat", 8.0), "sphere, planar"),
        ((1.0, "planar", 50.0), "at most 37.2"),
        ((1.0, "planar", 13.0, "float32"), "at most 12.9"),
        ((10.0, "sphere", 8.0, "float32"), "60 degrees"),
    ],
)
def test_a_senseless_kernel_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        make_kernel(*arguments)


@pytest.mark.parametrize(
    ("positions", "metric", "words"),
    [
        ([1.0, 2.0], "planar", "shape"),
        ([[np.nan, 0.0]], "planar", "not finite"),
        ([[0.0, 0.0, 1.0]], "sphere", "longitude and latitude"),
        ([[0.0, 91.0]], "sphere", "beyond 90"),
    ],
)
def test_senseless_positions_are_refused(positions, metric, words):
    with pytest.raises(ValueError, match=words):
        as_points(positions, metric, "query")
