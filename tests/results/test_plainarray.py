"""Masks, missing values and what is no array of numbers: refused by name, wherever results are made of it."""

from __future__ import annotations

import awkward as ak
import boost_histogram as bh
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from vrecompute.analysis.mapping import as_result
from vrecompute.errors import AnalysisError
from vrecompute.results.check import check_result
from vrecompute.results.plainarray import plain_array
from vrecompute.results.result import Array, Result

HALF = np.ma.array([3, 193273528, 5], mask=[False, True, False])
MISSING = {
    "numpy": HALF,
    "rows": np.ma.array([[1.0, 2.0, 3.0]], mask=[[False, True, False]]),
    "firsts": ak.to_numpy(ak.firsts(ak.Array([[1, 2], [], [3]]))),
    "list": [1.0, np.ma.masked, 2.0],
    "arrays in a list": [HALF[:1], HALF[1:2], HALF[2:]],
    "object": np.array([1, None, 2], dtype=object),
    "objects masked": np.ma.array([1, 2, 3], mask=[False, True, False], dtype=object),
    "records": np.ma.array([(1,), (2,), (3,)], mask=[(False,), (True,), (False,)], dtype=[("a", int)]),
    "awkward": ak.Array([1, None, 2]),
    "awkward firsts": ak.firsts(ak.Array([[1, 2], [], [3]])),
    "awkward lists": ak.Array([[1, None], [2]]),
    "pandas": pd.Series([1, None, 2], dtype="Int64"),
    "pandas float": pd.array([1.0, None, 2.0], dtype="Float64"),
    "DataFrame": pd.DataFrame({"a": pd.array([1, None, 2], dtype="Int64")}),
    "pyarrow": pa.array([1, None, 2]),
    "chunks of pyarrow": pa.chunked_array([[1, None], [2]]),
}
NOTHING = {"mean of nothing": np.ma.masked, "0-d": np.ma.array(5.0, mask=True), "one": HALF[1:2]}


@pytest.mark.parametrize("value", MISSING.values(), ids=MISSING)
@pytest.mark.parametrize("combine", ["concat", "sum"])
def test_masked_entries_are_no_data(value, combine):
    reason = r"1 of 3 entries of .*'q'.* are masked or missing.*\.compressed\(\).*ak\.drop_none.*\.filled\(x\)"
    with pytest.raises(AnalysisError, match=reason):
        as_result({"q": value}, combine)
    with pytest.raises(AnalysisError, match=reason):
        check_result(Result(arrays={"q": Array(value, combine)}))


@pytest.mark.parametrize("value", NOTHING.values(), ids=NOTHING)
def test_a_masked_number_is_no_zero(value):
    reason = "'q'.* is masked or missing, as is a mean of nothing"
    for made in (
        lambda: as_result({"q": value}, "concat"),
        lambda: check_result(Result(arrays={"q": Array(value)})),
        lambda: check_result(Result(counters={"q": value})),
        lambda: check_result(Result(cutflow={"z": {"q": value}})),
    ):
        with pytest.raises(AnalysisError, match=reason):
            made()


def test_a_masked_array_without_masked_entries_is_its_numbers():
    whole = np.ma.array([1, 2], mask=[False, False])
    for result in (
        as_result({"q": whole}, "concat"),
        check_result(Result(arrays={"q": Array(whole, "concat")})),
    ):
        values = result.arrays["q"].values
        assert type(values) is np.ndarray
        assert values.tolist() == [1, 2]


@pytest.mark.parametrize(
    "value", [np.array([1.0, np.nan]), pd.Series([1.0, np.nan]), [1.0, np.nan], pa.array([1.0, float("nan")])]
)
def test_nan_is_a_number_that_stays(value):
    np.testing.assert_array_equal(as_result({"q": value}, "concat").arrays["q"].values, [1.0, np.nan])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (ak.Array([[1.0], [], [2.0, 3.0]]), r"its lists differ in length \(3 \* var \* float64\).*ak\.flatten"),
        ([[1.0], [2.0, 3.0]], "differ in length"),
        (ak.Array(["a", "bb"]), "it holds text"),
        (ak.Array([{"x": 1}]), "it holds records of 'x'; return each"),
        (np.array(["a", "bb"]), "it holds text"),
        ("mumu", "returned str for 'q': it is text"),
        (np.array([1 + 2j]), r"complex numbers; return \.real and \.imag"),
        (1 + 2j, r"complex numbers; return \.real and \.imag"),
        (ak.Array([1 + 2j]), r"complex numbers; return ak\.real and ak\.imag"),
        (np.array([(1, 2.0)], [("a", int), ("b", float)]), "it holds records; return each of their fields"),
        (np.array(["2020-01-01"], "M8[D]"), "it holds dates"),
        ({"a": 1}, "a mapping within a mapping"),
        (None, "returned NoneType for 'q'; it may return"),
    ],
)
def test_what_is_no_array_of_numbers_says_why(value, reason):
    with pytest.raises(AnalysisError, match=reason) as caught:
        as_result({"q": value}, "concat")
    assert str(caught.value).endswith(
        "may return a Result, a histogram, a number, an array of numbers, or a mapping of these"
    )


def test_an_array_of_a_result_says_why_it_is_none():
    with pytest.raises(AnalysisError, match="array 'q' is no array: its lists differ in length"):
        check_result(Result(arrays={"q": Array(ak.Array([[1.0], []]))}))
    assert plain_array("x", [1, 2]).tolist() == [1, 2]


def test_an_axis_that_grows_is_refused_whatever_the_chunk_holds():
    grown = bh.Histogram(bh.axis.Regular(2, 0, 1), bh.axis.IntCategory([], growth=True)).fill([0.5], [3])
    with pytest.raises(AnalysisError, match="axis 1 of histogram 'h' grows with what is filled"):
        check_result(Result(histograms={"h": grown}))
