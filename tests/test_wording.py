"""Numbers as people read them."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute import wording


def test_examples_of_the_docstrings():
    assert doctest.testmod(wording).failed == 0


@given(st.floats(0, 1))
def test_percentages_tell_incomplete_from_complete(fraction):
    text = wording.percent_text(fraction)
    assert (text == "100 %") == (fraction == 1.0)
    assert (text == "0 %") == (fraction == 0.0)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (10**12, "1.0 TB"), (10**19, "10000.0 PB")]
)
def test_bytes(count, text):
    assert wording.bytes_text(count) == text


@given(st.text())
def test_printable_is_printable(text):
    assert wording.printable(text).isprintable()
