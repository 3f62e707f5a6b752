"""Any one-dimensional histogram becomes a small, well-formed drawing inside its frame."""

from __future__ import annotations

import re

import boost_histogram as bh
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reports.test_html import read
from vrecompute.results.svg import drawing_of, to_svg


@given(
    st.lists(st.floats(width=32), min_size=1, max_size=40),
    st.sampled_from([bh.axis.Regular(7, -1, 1), bh.axis.Variable([0.1, 1, 10, 1000]), bh.axis.Integer(0, 4)]),
)
def test_any_histogram_draws_inside_its_frame(values, axis):
    h = bh.Histogram(axis, storage=bh.storage.Weight())
    view = h.view()
    view["value"] = np.resize(np.array(values), view.shape)
    view["variance"] = np.abs(np.resize(np.array(values), view.shape))
    svg = to_svg(drawing_of("t", h))
    read(svg)
    assert "nan" not in svg
    assert "inf" not in svg.replace("information", "")
    for number in re.findall(r"[ MLV](-?\d+\.\d)", svg):
        assert -1 <= float(number) <= 400


def test_what_cannot_be_drawn_is_none():
    assert drawing_of("t", bh.Histogram(bh.axis.Regular(3, 0, 1), bh.axis.Regular(3, 0, 1))) is None
    assert drawing_of("t", bh.Histogram(bh.axis.StrCategory(["a", "b"]))) is None
    assert drawing_of("t", bh.Histogram(bh.axis.StrCategory([]), bh.axis.Regular(3, 0, 1))) is None
    assert drawing_of("t", bh.Histogram(bh.axis.IntCategory([], growth=True), bh.axis.Regular(3, 0, 1))) is None
    assert drawing_of("t", bh.Histogram(bh.axis.Integer(2, 2))) is None


@pytest.mark.parametrize("edges", [[0, 1, np.inf], [-np.inf, 0, np.inf], [-np.inf, 3], [1e300, 2e300, np.inf]])
def test_an_axis_that_reaches_to_infinity_ends_on_the_page(edges):
    svg = to_svg(drawing_of("t", bh.Histogram(bh.axis.Variable(edges)).fill([0.5, 2.0])))
    read(svg)
    assert "nan" not in svg
    assert "inf" not in svg


@pytest.mark.parametrize("value", [1e308, -1e308, 5e-324, np.inf, np.nan])
def test_numbers_at_the_end_of_the_scale_draw(value):
    h = bh.Histogram(bh.axis.Regular(3, 0, 1))
    h.view()[:] = [value, value, 1.0]
    read(to_svg(drawing_of("t", h)))


def test_events_outside_the_axis_are_told():
    h = bh.Histogram(bh.axis.Regular(2, 0, 1))
    h.fill([-1, 0.1, 0.9, 5, 6])
    drawing = drawing_of("t", h)
    assert (drawing.total, drawing.outside) == (2, 3)
