"""The laws of Result, and of its file: identity, associativity along the tree, equal bytes for equal results."""

from __future__ import annotations

import io
import zipfile

import boost_histogram as bh
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.errors import AnalysisError, StoreError
from vrecompute.results.check import check_result
from vrecompute.results.file import read_results, write_results
from vrecompute.results.result import Array, Result, TableSummary
from vrecompute.results.results import Results

WHOLE = st.integers(-1000, 1000).map(float)


@st.composite
def results(draw) -> Result:
    result = Result(events=draw(st.integers(0, 100)), sum_of_weights=draw(WHOLE))
    for name in draw(st.sets(st.sampled_from(["m", "pt"]))):
        histogram = bh.Histogram(
            bh.axis.StrCategory(["nominal", "up"]), bh.axis.Regular(4, 0, 10), storage=bh.storage.Weight()
        )
        # Whole numbers add exactly, so that the laws hold bit by bit.
        values = draw(st.lists(st.floats(-5, 15), max_size=8))
        histogram.fill(["nominal"] * len(values), values, weight=[1.0 + i for i in range(len(values))])
        result.histograms[name] = histogram
    for channel in draw(st.sets(st.sampled_from(["ee", "mumu"]))):
        result.cutflow[channel] = {"all": draw(WHOLE), "pair": draw(WHOLE)}
    for name in draw(st.sets(st.sampled_from(["n", "k"]))):
        result.counters[name] = draw(WHOLE)
    if draw(st.booleans()):
        result.arrays["s"] = Array(np.array(draw(st.lists(WHOLE, min_size=3, max_size=3))), "sum")
    if draw(st.booleans()):
        result.arrays["c"] = Array(np.array(draw(st.lists(WHOLE, max_size=4))), "concat")
    return result


def data(result: Result) -> bytes:
    return write_results({"s": result})


@given(results())
def test_the_empty_result_is_the_identity(result):
    assert data(result + Result()) == data(result)
    assert data(Result() + result) == data(result)


@given(results(), results(), results())
def test_addition_is_associative_where_sums_are_exact(a, b, c):
    left, right = read(a + b + c), read(a + (b + c))
    assert left.histograms == right.histograms
    assert left.counters == right.counters
    assert left.cutflow == right.cutflow
    assert left.events == right.events
    for name, array in left.arrays.items():
        np.testing.assert_array_equal(array.values, right.arrays[name].values)


def read(result: Result) -> Result:
    return read_results(data(result))["s"]


@given(results(), results())
def test_adding_changes_neither_summand(a, b):
    before = data(a), data(b)
    _ = a + b
    assert (data(a), data(b)) == before


@given(results())
def test_a_file_gives_back_the_same_result_and_bytes(result):
    written = data(result)
    again = read_results(written)["s"]
    assert again.histograms == result.histograms
    assert list(again.cutflow) == list(result.cutflow)
    assert data(again) == written


def test_the_order_of_cuts_survives():
    result = Result(cutflow={"z": {"last": 1.0, "all": 2.0}})
    assert list(read(result).cutflow["z"]) == ["last", "all"]


def test_histograms_are_readable_by_hist_and_name_no_version():
    import hist
    import uhi.io.zip

    histogram = bh.Histogram(bh.axis.Variable([1, 2, 5]), storage=bh.storage.Weight())
    histogram.fill([1.5, 3.0, 9.0], weight=[1.0, 2.0, 3.0])
    written = data(Result(histograms={"m": histogram}))
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        read_back = hist.Hist(uhi.io.zip.read(archive, "s0/h0"))
        assert b"writer_info" not in archive.read("s0/h0.json")
    np.testing.assert_array_equal(read_back.view(flow=True).value, histogram.view(flow=True).value)
    assert bh.__version__.encode() not in written


@pytest.mark.parametrize("cut", [0, 10, 100, -1])
def test_a_damaged_file_is_refused(cut):
    written = data(Result(arrays={"x": Array(np.arange(100.0))}))
    with pytest.raises(StoreError):
        read_results(written[:cut])


def test_a_flipped_byte_is_noticed():
    written = bytearray(data(Result(arrays={"x": Array(np.zeros(1000))})))
    written[len(written) // 2] ^= 1
    with pytest.raises(StoreError):
        read_results(bytes(written))


def test_what_cannot_be_combined_is_named():
    with pytest.raises(ValueError, match="'x' cannot be combined"):
        Result(arrays={"x": Array(np.zeros(2))}) + Result(arrays={"x": Array(np.zeros(3))})
    with pytest.raises(ValueError, match="streamed to the store"):
        Result(tables={"t": {"a": np.zeros(1)}}) + Result()


def test_table_summaries_depend_on_order():
    a, b = TableSummary(1, "aa"), TableSummary(2, "bb")
    assert (a + b).rows == 3
    assert (a + b).digest != (b + a).digest


def test_export_to_root(tmp_path):
    import uproot

    histogram = bh.Histogram(
        bh.axis.StrCategory(["nominal", "up"]), bh.axis.Regular(3, 0, 3), storage=bh.storage.Weight()
    )
    histogram.fill(["nominal", "up", "up"], [0.5, 1.5, 2.5], weight=[1.0, 2.0, 3.0])
    Results({"s": Result(histograms={"m": histogram})}).to_root(tmp_path / "h.root")
    with uproot.open(tmp_path / "h.root") as file:
        np.testing.assert_array_equal(file["s/m"].values(), [1, 0, 0])
        np.testing.assert_array_equal(file["s/m_up"].values(), [0, 2, 3])
        np.testing.assert_array_equal(file["s/m_up"].variances(), [0, 4, 9])


@pytest.mark.parametrize("names", [("a", "a/b", "a_b"), ("a/b/c", "a/b", "a"), ("a\udcffb", "a"), ("a_", "a/b", "a")])
def test_every_histogram_is_exported_whatever_the_names_of_others(tmp_path, names):
    import uproot

    histogram = bh.Histogram(bh.axis.Regular(9, 0, 9))
    results = {"s": Result(histograms={name: histogram.copy().fill([n]) for n, name in enumerate(names)})}
    Results(results).to_root(tmp_path / "h.root")
    with uproot.open(tmp_path / "h.root") as file:
        found = file.keys(recursive=True, cycle=False, filter_classname="TH1*")
        assert sorted(int(np.argmax(file[key].values())) for key in found) == list(range(len(names)))


def test_a_file_is_written_whatever_its_path_means_to_others(tmp_path):
    import uproot

    place = tmp_path / "out--::help"
    place.mkdir()
    Results({"s": Result(histograms={"m": bh.Histogram(bh.axis.Regular(2, 0, 2))})}).to_root(place / "h.root")
    assert [path.name for path in tmp_path.iterdir()] == ["out--::help"]
    with (place / "h.root").open("rb") as opened, uproot.open(opened) as file:
        assert file["s/m"].values().tolist() == [0, 0]


def test_names_that_mean_something_to_root_are_exported_under_others(tmp_path):
    import uproot

    histogram = bh.Histogram(bh.axis.Regular(2, 0, 2))
    results = {
        name: Result(histograms={key: histogram.copy().fill([value])})
        for value, (name, key) in enumerate([("SR:2018", "m"), ("SR_2018", "m:ee"), ("SR+b", "m;2")])
    }
    Results(results).to_root(tmp_path / "h.root")
    with uproot.open(tmp_path / "h.root") as file:
        assert set(file.keys(recursive=True, cycle=False, filter_classname="TH1*")) == {
            "SR_2018/m",
            "SR_2018_/m_ee",
            "SR+b/m_2",
        }
        np.testing.assert_array_equal(file["SR_2018/m"].values(), [1, 0])
        np.testing.assert_array_equal(file["SR_2018_/m_ee"].values(), [0, 1])


def _filled(storage, value):
    histogram = bh.Histogram(bh.axis.Regular(2, 0, 1), storage=storage)
    view = histogram.view(flow=True)
    if view.dtype.names:
        view["value"], view["variance"] = value, 1.0
    else:
        view[...] = value
    return Result(histograms={"it": histogram})


def _array(value, dtype):
    return Result(arrays={"it": Array(np.array([value], dtype))})


MOST = 1.5e308
OVERFULL = {
    "weights": Result(sum_of_weights=MOST),
    "counter": Result(counters={"it": MOST}),
    "cutflow": Result(cutflow={"all": {"it": MOST}}),
    "double": _filled(bh.storage.Double(), MOST),
    "weight": _filled(bh.storage.Weight(), MOST),
    "int64": _filled(bh.storage.Int64(), 2**62),
    "float64": _array(MOST, "f8"),
    "i8": _array(2**62, "i8"),
    "least": _array(-(2**62) - 1, "i8"),
    "u8": _array(2**63, "u8"),
    "i1": _array(100, "i1"),
}


@pytest.mark.parametrize("part", OVERFULL.values(), ids=OVERFULL)
def test_a_sum_that_its_type_does_not_hold_is_an_error_by_name(part):
    with pytest.raises(ValueError, match=r"(the sum of weights|'it') cannot be combined"):
        part + part


def test_what_is_not_finite_in_a_chunk_and_counts_beyond_64_bits_add_up():
    infinite = _filled(bh.storage.Double(), np.inf) + _filled(bh.storage.Double(), 1.0)
    assert np.isinf(infinite.histograms["it"].view()).all()
    counted = Result(counters={"it": 2**63}) + Result(counters={"it": 2**63})
    assert counted.counters["it"] == 2**64
    assert (_array(-3, "i8") + _array(2, "i8")).arrays["it"].values.tolist() == [-1]


def test_flags_that_are_summed_are_counted():
    def counted(*flags):
        values = np.array(flags)
        return check_result(Result(arrays={"passed": Array(values, "sum"), "seen": Array(values, "concat")}))

    both = counted(True, False) + counted(True, True)
    assert both.arrays["passed"].values.tolist() == [2, 1]
    assert both.arrays["seen"].values.tolist() == [True, False, True, True]


@pytest.mark.parametrize("value", [float("nan"), {"scale": float("inf")}, np.float32("nan")])
def test_what_a_histogram_says_of_itself_is_something_that_a_result_can_hold(value):
    axis = bh.Histogram(bh.axis.Regular(2, 0, 1, metadata=value))
    whole = bh.Histogram(bh.axis.Regular(2, 0, 1, metadata={"scale": np.float32(1.5)}))
    check_result(Result(histograms={"h": whole}))
    whole.label = value
    for histogram, what in ((axis, "axis 0 of histogram 'h' has metadata "), (whole, "histogram 'h' has label ")):
        with pytest.raises(AnalysisError, match=f"^{what}.*, which no result can hold; write it as a text"):
            check_result(Result(histograms={"h": histogram}))


def test_root_gets_categories_as_labels_where_there_is_no_other_axis_and_whole_numbers_of_64_bits(tmp_path):
    cats = bh.Histogram(bh.axis.StrCategory(["nominal", "up"]), bh.axis.StrCategory(["ee", "mm"]))
    cats.fill(["up", "up", "nominal"], ["ee", "mm", "mm"])
    counts = bh.Histogram(bh.axis.Regular(2, 0, 2), storage=bh.storage.Int64())
    counts.fill([0.5, 1.5, 1.5, 9.0])
    Results({"s": Result(histograms={"c": cats, "n": counts, "x" * 50_000: counts})}).to_root(tmp_path / "h.root")
    with uproot.open(tmp_path / "h.root") as file:
        assert file["s/c"].axis().labels() == file["s/c_up"].axis().labels() == ["ee", "mm"]
        assert file["s/c"].values().tolist() == [0, 1]
        assert file["s/c_up"].values().tolist() == [1, 1]
        assert file["s/n"].values(flow=True).tolist() == file["s/" + "x" * 1000].values(flow=True).tolist()
        assert file["s/n"].values(flow=True).tolist() == [0, 1, 2, 1]
