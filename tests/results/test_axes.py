"""Histograms of one name that differ from chunk to chunk: named, with the axis, and never added in silence."""

from __future__ import annotations

import boost_histogram as bh
import hist
import numpy as np
import pytest

from vrecompute.analysis.mapping import as_result
from vrecompute.results.file import read_results, write_results
from vrecompute.results.result import Array, Result

REGULAR = bh.axis.Regular(2, 0, 1)
UNLIKE = {
    "bins": (REGULAR, bh.axis.Regular(2, 0, 2), r"axis 0 is Regular\(2, 0, 1\).*Regular\(2, 0, 2\).*same fixed bins"),
    "overflow": (REGULAR, bh.axis.Regular(2, 0, 1, overflow=False), r"axis 0 is .*Regular\(2, 0, 1, overflow=False\)"),
    "underflow": (bh.axis.Integer(0, 2, underflow=False), bh.axis.Integer(0, 2), "axis 0 is .*underflow=False"),
    "grown": (
        bh.axis.Regular(4, 0, 10, growth=True),
        bh.axis.Regular(6, 0, 15, growth=True),
        "axis 0 is .*without growth=True",
    ),
    "grown categories": (
        bh.axis.StrCategory(["a", "b"], growth=True),
        bh.axis.StrCategory(["b", "c"], growth=True),
        r"axis 0 is .*\['a', 'b'\].*\['b', 'c'\].*without growth=True",
    ),
    "metadata": (
        bh.axis.Regular(2, 0, 1, metadata="GeV"),
        bh.axis.Regular(2, 0, 1, metadata="MeV"),
        "axis 0 .*'GeV'.*'MeV'",
    ),
    "name": (
        hist.axis.Regular(2, 0, 1, name="pt"),
        hist.axis.Regular(2, 0, 2, name="pt"),
        r"axis 0 \('pt'\) is ",
    ),
}


def of(*axes, storage=None):
    return Result(histograms={"m": bh.Histogram(*axes, storage=storage or bh.storage.Double())})


@pytest.mark.parametrize(("mine", "other", "reason"), UNLIKE.values(), ids=UNLIKE)
def test_axes_that_differ_are_named(mine, other, reason):
    for a, b in ((mine, other), (other, mine)):
        with pytest.raises(ValueError, match=r"'m' cannot be combined: axis 0"):
            of(a) + of(b)
    with pytest.raises(ValueError, match=rf"'m' cannot be combined: {reason}"):
        of(mine) + of(other)


def test_the_axis_that_differs_is_named_of_several():
    with pytest.raises(ValueError, match="'m' cannot be combined: axis 1 is"):
        of(REGULAR, REGULAR) + of(REGULAR, bh.axis.Regular(3, 0, 1))
    with pytest.raises(ValueError, match=r"'m' cannot be combined: it has 1 axes .* 2 in another"):
        of(REGULAR) + of(REGULAR, REGULAR)


def test_storages_that_differ_are_named():
    with pytest.raises(ValueError, match=r"'m' cannot be combined: its storage is Double .* Weight in another"):
        of(REGULAR) + of(REGULAR, storage=bh.storage.Weight())


@pytest.mark.parametrize(
    "axis",
    [
        REGULAR,
        bh.axis.Regular(2, 0, 1, overflow=False, metadata="GeV"),
        bh.axis.StrCategory(["a", "b"], growth=True),
        bh.axis.Regular(2, 0, 1, growth=True),
        bh.axis.Variable([0, 1, 3], circular=True),
        bh.axis.Boolean(),
    ],
)
def test_equal_axes_are_added_though_one_was_written(axis):
    fresh = of(axis)
    written = read_results(write_results({"s": fresh}))["s"]
    for total in (fresh + fresh, fresh + written, written + fresh, written + written):
        assert total.histograms["m"].axes[0].size == 2


def test_a_name_of_two_kinds_is_an_error():
    number, array = as_result({"a": 1}, "concat"), as_result({"a": np.ones(2)}, "concat")
    with pytest.raises(ValueError, match=r"'a' cannot be combined: it is a number in one part .* an array in another"):
        number + array
    with pytest.raises(ValueError, match=r"'m' cannot be combined: it is a histogram .* a number"):
        of(REGULAR) + Result(counters={"m": 1.0})
    both = Result(counters={"m": 1.0}, histograms=of(REGULAR).histograms)
    assert (both + Result(counters={"m": 2.0}) + of(REGULAR)).counters == {"m": 3.0}
    assert (Result(arrays={"a": Array(np.ones(1))}) + Result(counters={"b": 1.0})).counters == {"b": 1.0}
