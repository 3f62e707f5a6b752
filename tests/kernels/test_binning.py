"""The bin of a value is that of numpy.searchsorted, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.kernels.loop.binning import fill, find_bin, make_axis
from vrecompute_analyses.dilepton.edges import PUBLISHED_EDGES_GEV

AXES = {
    "published": np.asarray(PUBLISHED_EDGES_GEV),
    "z": np.linspace(60.0, 120.0, 241),
    "log": np.geomspace(50.0, 6000.0, 101),
    "eta": np.linspace(-2.5, 2.5, 51),
    "from_zero": np.linspace(0.0, 500.0, 101),
    "negative": np.linspace(-9.0, -1.0, 5),
    "two": np.array([1.0, 1.0000001]),
}


def around(edges):
    """Each edge, its two float64 neighbours, and the values that binning usually gets wrong."""
    odd = [0.0, -0.0, 5e-324, -1.0, np.inf, -np.inf, np.nan, -np.nan, np.float64(1e308), 1.0, 2.0]
    return np.concatenate([edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf), odd])


@pytest.mark.parametrize("name", AXES)
def test_edges_fall_where_searchsorted_puts_them(name):
    axis = make_axis(AXES[name])
    values = around(AXES[name])
    found = [find_bin(axis, x) for x in values]
    assert found == np.searchsorted(AXES[name], values, side="right").tolist()


@given(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=2, max_size=40, unique=True).map(sorted),
    st.lists(st.floats(allow_nan=True), max_size=20),
)
def test_any_edges(edges, values):
    edges = np.asarray(edges)
    axis = make_axis(edges)
    values = np.concatenate([around(edges), values])
    assert [find_bin(axis, x) for x in values] == np.searchsorted(edges, values, side="right").tolist()


def test_the_lookup_leaves_at_most_two_steps_in_published_bins():
    axis = make_axis(AXES["published"])
    assert np.max(np.diff(axis.guess)) <= 1


def test_fill_adds_weight_and_square_under_and_overflow_kept():
    axis = make_axis(np.array([0.0, 1.0, 2.0]))
    sums = np.zeros(2 * 4 * 2)
    for x, w in ((-1.0, 2.0), (0.0, 3.0), (1.5, -0.5), (2.0, 4.0), (np.nan, 1.0)):
        fill(axis, sums, 1, x, w)
    rows = sums.reshape(2, 4, 2)
    assert not rows[0].any()
    assert rows[1, :, 0].tolist() == [2.0, 3.0, -0.5, 5.0]
    assert rows[1, :, 1].tolist() == [4.0, 9.0, 0.25, 17.0]


@pytest.mark.parametrize("edges", [[1.0], [1.0, 1.0], [2.0, 1.0], [0.0, np.inf], [np.nan, 1.0], [[0.0, 1.0]]])
def test_edges_that_make_no_axis_are_refused(edges):
    with pytest.raises(ValueError, match="bin edges"):
        make_axis(np.asarray(edges))
