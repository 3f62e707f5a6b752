"""The numbers of a figure, against the same calculated bin by bin from the histograms."""

from __future__ import annotations

import math

import boost_histogram as bh
import numpy as np
import pytest
from scipy.stats import poisson

from vrecompute.errors import UsageError
from vrecompute.plots.options import PlotOptions
from vrecompute.plots.stack import stack_of
from vrecompute.results.result import Result

BINS = 6


def sample(seed, variations=(), events=400, weight=0.7, storage=None):
    """A histogram of random numbers, of which each variation moves every bin by an amount of its own."""
    random = np.random.default_rng(seed)
    axes = [bh.axis.Regular(BINS, 60, 120, metadata="m [GeV]")]
    names = ["nominal", *variations]
    h = bh.Histogram(bh.axis.StrCategory(names), *axes, storage=storage or bh.storage.Weight())
    x = random.normal(90, 15, events)
    for name in names:
        shift = 0.0 if name == "nominal" else random.normal(0, 2)
        h.fill(name, x + shift, weight=weight)
    return Result(histograms={"m": h})


def data(seed, events=500):
    h = bh.Histogram(bh.axis.Regular(BINS, 60, 120, metadata="m [GeV]"), storage=bh.storage.Weight())
    h.fill(np.random.default_rng(seed).normal(90, 15, events))
    return Result(histograms={"m": h})


@pytest.fixture
def samples():
    return {
        "data": data(0),
        "dy": sample(1, ["pu_up", "pu_down", "scale_up", "scale_down", "pdf_0"]),
        "tt": sample(2, ["pu_up", "pu_down", "isrUp"], weight=0.2),
        "sig": sample(3, ["pu_up", "pu_down"], events=50, weight=0.1),
    }


def at(result, variation, number):
    """Content of one bin, asked of the histogram itself; nominal where it has no such variation."""
    h = result.histograms["m"]
    names = list(h.axes[0])
    return h[bh.loc(variation if variation in names else "nominal"), number]


def test_bands_are_those_of_a_calculation_bin_by_bin(samples):
    got = stack_of(samples, ["data"], "m", PlotOptions(signals=["sig"], luminosity_uncertainty=0.02))
    stacked = [samples["dy"], samples["tt"]]
    for n in range(BINS):
        expected = sum(at(s, "nominal", n).value for s in stacked)
        variance = sum(at(s, "nominal", n).variance for s in stacked)
        move = {
            v: sum(at(s, v, n).value for s in stacked) - expected
            for v in ("pu_up", "pu_down", "scale_up", "scale_down", "isrUp")
        }
        up = down = (0.02 * expected) ** 2
        for a, b in (
            (move["pu_up"], move["pu_down"]),
            (move["scale_up"], move["scale_down"]),
            (move["isrUp"], -move["isrUp"]),
        ):
            up += max(a, b, 0) ** 2
            down += max(-a, -b, 0) ** 2
        assert got.expected[n] == pytest.approx(expected, rel=1e-12)
        assert got.statistical[n] == pytest.approx(math.sqrt(variance), rel=1e-12)
        assert got.systematic_up[n] == pytest.approx(math.sqrt(up), rel=1e-9)
        assert got.systematic_down[n] == pytest.approx(math.sqrt(down), rel=1e-9)
        assert got.total_up[n] == pytest.approx(math.sqrt(variance + up), rel=1e-9)
        assert got.total_down[n] == pytest.approx(math.sqrt(variance + down), rel=1e-9)
        assert got.signals[0].values[n] == at(samples["sig"], "nominal", n).value
    assert got.systematics == ("pu", "scale", "isr", "luminosity")
    assert got.notes == ("not in the band, as their names say neither up nor down: pdf_0",)
    assert got.label == "m [GeV]"


def test_systematics_that_are_chosen_are_the_only_ones_and_may_have_one_direction(samples):
    none = stack_of(samples, ["data"], "m", PlotOptions(systematics=[]))
    assert none.systematics == ()
    assert not none.systematic_up.any()
    np.testing.assert_array_equal(none.total_up, none.statistical)
    got = stack_of(samples, ["data"], "m", PlotOptions(systematics=["pdf_0"], signals=["sig"]))
    moved = [at(samples["dy"], "pdf_0", n).value - at(samples["dy"], "nominal", n).value for n in range(BINS)]
    np.testing.assert_allclose(got.systematic_up, np.abs(moved), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(got.systematic_down, np.abs(moved), rtol=1e-12, atol=1e-12)
    with pytest.raises(UsageError, match=r"no systematic 'scal' \(there are: .*\); did you mean 'scale'"):
        stack_of(samples, ["data"], "m", PlotOptions(systematics=["scal"]))


def test_error_bars_of_counts_are_central_poisson_intervals(samples):
    points = stack_of(samples, ["data"], "m").data
    for n in range(BINS):
        count = samples["data"].histograms["m"][n].value
        assert points.values[n] == count
        # so many or more, and so few or fewer, are seen in 15.87 % of experiments with the ends of the interval
        assert poisson.sf(count - 1, count - points.below[n]) == pytest.approx(0.158655, abs=1e-5)
        assert poisson.cdf(count, count + points.above[n]) == pytest.approx(0.158655, abs=1e-5)
    weighted = {"data": sample(4, weight=0.5), "dy": samples["dy"]}
    points = stack_of(weighted, ["data"], "m").data
    deviations = [math.sqrt(at(weighted["data"], "nominal", n).variance) for n in range(BINS)]
    np.testing.assert_allclose(points.below, deviations)


def test_no_number_of_a_blinded_bin_is_in_the_stack(samples):
    got = stack_of(samples, ["data"], "m", PlotOptions(blind=(85, 100)))
    hidden = [False, False, True, True, False, False]  # 80-90 reaches into the range, 100-110 begins at its end
    assert got.blinded.tolist() == hidden
    for array in (got.data.values, got.data.below, got.data.above):
        assert np.isnan(array).tolist() == hidden
    whole = stack_of(samples, ["data"], "m", PlotOptions(blind={"m": True}))
    assert whole.data is None
    assert whole.blinded.all()
    np.testing.assert_array_equal(whole.expected, got.expected)
    assert stack_of(samples, ["data"], "m", PlotOptions(blind={"other": True})).blinded is None


def test_layers_are_groups_from_the_smallest_up_or_as_ordered(samples):
    samples["zz"] = sample(5, events=20)
    options = PlotOptions(groups={"top": ["tt", "zz"]}, labels={"dy": "Drell-Yan"}, signals=["sig"])
    got = stack_of(samples, ["data"], "m", options)
    assert [(layer.name, layer.label) for layer in got.layers] == [("top", "top"), ("dy", "Drell-Yan")]
    apart = stack_of(samples, ["data"], "m", PlotOptions(signals=["sig"], order=["dy"]))
    assert [layer.name for layer in apart.layers] == ["dy", "zz", "tt"]
    np.testing.assert_allclose(got.layers[0].values, apart.layers[1].values + apart.layers[2].values)
    np.testing.assert_allclose(got.expected, apart.expected)
    scaled = stack_of(samples, ["data"], "m", PlotOptions(signals=["sig"], signal_scale=10))
    assert scaled.signals[0].label == "sig × 10"
    np.testing.assert_allclose(scaled.signals[0].values, 10 * apart.signals[0].values)


def test_a_sample_without_squares_of_weights_is_named(samples):
    samples["zz"] = sample(5, storage=bh.storage.Double())
    assert stack_of(samples, ["data"], "m").notes[0] == (
        "no statistical uncertainty of zz: filled with weights, without Weight storage"
    )


def test_what_does_not_fit_is_an_error_that_names_it(samples):
    with pytest.raises(KeyError, match=r"no histogram 'mass' \(there are: m\)"):
        stack_of(samples, ["data"], "mass")
    with pytest.raises(UsageError, match=r"no sample 'sgi' .*did you mean 'sig'"):
        stack_of(samples, ["data"], "m", PlotOptions(signals=["sgi"]))
    with pytest.raises(UsageError, match="sample 'dy' is in two groups"):
        stack_of(samples, ["data"], "m", PlotOptions(groups={"a": ["dy"], "b": ["dy", "tt"]}))
    with pytest.raises(UsageError, match="order: there is no 'data' in the stack"):
        stack_of(samples, ["data"], "m", PlotOptions(order=["data"]))
    samples["odd"] = Result(histograms={"m": bh.Histogram(bh.axis.Regular(5, 60, 120))})
    with pytest.raises(UsageError, match="other bins in sample 'odd' than in 'data'"):
        stack_of(samples, ["data"], "m")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"blind": (5, 2)}, r"blind is \(5, 2\)"),
        ({"blind": {"m": (1, 2, 3)}}, r"blind is \(1, 2, 3\)"),
        ({"rebin": 0}, "rebin is 0"),
        ({"luminosity_uncertainty": 1.7}, "0.017 means 1.7 %"),
        ({"groups": {"top": "tt"}}, "groups: 'top' is given 'tt'; write a list"),
        ({"sginals": ["x"]}, r"no option 'sginals'; did you mean 'signals'\?"),
    ],
)
def test_options_that_mean_nothing_are_named(options, said):
    with pytest.raises(UsageError, match=said):
        PlotOptions().changed(options)
