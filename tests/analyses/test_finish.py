"""`finish`: products of full, small, empty, weighted and several samples, JSON-able always."""

from __future__ import annotations

import csv
import json
import time

import numpy as np
import pytest

from tests.analyses.dilepton_toys import EDGES, Context, OnlyFinish, histogram, result
from vrecompute.datasets.dataset import Sample
from vrecompute.errors import ParameterError, UnreadableFile
from vrecompute.results.result import Result
from vrecompute_analyses.dilepton.finish import finish


@pytest.fixture
def rng():
    return np.random.default_rng(8)


@pytest.fixture
def acceptance(tmp_path):
    path = tmp_path / "acceptance.csv"
    path.write_text("channel,series,mass_GeV,acc_times_eff\nee,y02,200,0.7\nee,y02,6000,0.7\n")
    return str(path)


def run(results, directory, samples=None, context=None, **parameters):
    samples = samples or {name: Sample(name) for name in results}
    products = finish(results, OnlyFinish(**parameters), context or Context(directory, samples))
    json.dumps(products, allow_nan=False)
    return products


def test_a_sample_with_a_resonance_gives_every_product(rng, tmp_path, acceptance):
    samples = {"generated": Sample("generated", metadata={"zprime_mass_gev": 1200.0})}
    started = time.process_time()
    products = run(
        {"generated": result(rng, signal_events=100)},
        tmp_path,
        samples,
        acceptance=acceptance,
        luminosity_ifb=10,
        limit_widths_percent=(0.0, 3.0),
    )
    assert time.process_time() - started < 10
    assert products["analysed"] == "generated"
    assert products["warnings"] == []
    (channel,) = products["channels"].values()
    assert channel["z_peak"]["mass_gev"] == pytest.approx(91.19, abs=0.3)
    maximum = channel["bump_scan"]["maximum"]
    assert maximum["local_significance"] > 5
    assert channel["bump_scan"]["injected"]["bins_from_maximum"] <= 1
    assert maximum["signal_events"] == pytest.approx(100, abs=4 * maximum["signal_events_uncertainty"])
    assert maximum["chi2"] / maximum["bins"] < 1.6
    narrow, wide = channel["limits"]["curves"]
    assert wide["quoted"]["expected_fb"]["median"][1] > narrow["quoted"]["expected_fb"]["median"][1]
    assert products["tables"] == ["spectrum_ee.csv", "bump_scan_ee.csv", "limits_ee.csv"]
    with (tmp_path / "limits_ee.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["width_percent"] for row in rows} == {"0", "3"}
    assert float(rows[0]["expected_minus2_fb"]) < float(rows[0]["expected_plus2_fb"])


def test_an_empty_selection_is_a_named_warning(tmp_path):
    empty = Result(
        histograms={
            "mass_ee": histogram(EDGES, np.zeros(99)),
            "z_ee": histogram(np.linspace(60, 120, 241), np.zeros(240)),
        },
        cutflow={"ee": {"events": 100.0, "two_leptons": 3.0, "opposite_sign": 0.0, "mass_window": 0.0}},
    )
    products = run({"s": empty}, tmp_path)
    assert products["warnings"] == [
        "ee: empty selection, no event in any histogram; nothing is left at 'opposite_sign'"
    ]
    channel = products["channels"]["ee"]
    assert channel["z_peak"]["skipped"] == "fewer than 200 events in 81-101 GeV"
    for name in ("background", "bump_scan", "limits"):
        assert channel[name]["skipped"] == "fewer than 50 events in 225-6000 GeV"
    assert products["tables"] == []


@pytest.mark.parametrize("events", [1, 8, 49, 51, 120, 1000])
def test_no_small_sample_makes_it_fail(tmp_path, rng, acceptance, events):
    """Also where the thresholds are switched off."""
    products = run(
        {"s": result(rng, events=events, z_events=events)},
        tmp_path,
        acceptance=acceptance,
        luminosity_ifb=1,
        limit_widths_percent=(0.0,),
        min_events_z=0,
        min_events_background=0,
    )
    assert set(products["channels"]) == {"ee"}


def test_nothing_at_all_is_said(tmp_path):
    assert run({}, tmp_path)["warnings"] == ["no sample has a result"]


def test_data_are_compared_with_normalised_simulation(rng, tmp_path):
    samples = {"data": Sample("data", is_data=True), "dy": Sample("dy"), "top": Sample("top")}
    context = Context(tmp_path, samples, scales={"data": 1.0, "dy": 0.1, "top": None})
    results = {"data": result(rng), "dy": result(rng, events=200_000), "top": result(rng)}
    products = run(results, tmp_path, context=context)
    assert products["analysed"] == "data"
    assert products["warnings"] == ["top: left out of the prediction, it is not normalised"]
    prediction = products["channels"]["ee"]["prediction"]
    assert prediction["data_over_prediction"] == pytest.approx(1, abs=0.03)
    assert prediction["chi2"] / prediction["bins"] < 1.7


def test_weighted_events_have_the_limits_and_significance_of_their_equivalents(tmp_path, acceptance):
    def one(weight):
        products = run(
            {"s": result(np.random.default_rng(4), signal_events=60, weight=weight)},
            tmp_path,
            acceptance=acceptance,
            luminosity_ifb=10,
            limit_widths_percent=(0.0,),
        )
        return products["channels"]["ee"]

    plain, weighted = one(1.0), one(0.25)
    significance = [c["bump_scan"]["maximum"]["local_significance"] for c in (plain, weighted)]
    assert significance[1] == pytest.approx(significance[0], rel=1e-3)
    limits = [c["limits"]["curves"][0]["quoted"]["observed_fb"][1] for c in (plain, weighted)]
    assert limits[1] == pytest.approx(0.25 * limits[0], rel=1e-3)


def test_a_partial_run_scales_the_luminosity(rng, tmp_path, acceptance):
    samples = {"s": Sample("s", luminosity_ifb=10.0)}
    context = Context(tmp_path, samples, complete=False, completeness=0.5, completeness_text="5 of 10 events (50 %)")
    products = run({"s": result(rng)}, tmp_path, context=context, acceptance=acceptance, limit_widths_percent=(0.0,))
    assert products["channels"]["ee"]["limits"]["luminosity_ifb"] == 5.0
    assert "the luminosity is scaled to 5 /fb" in products["warnings"][0]
    context.completeness = None
    products = run({"s": result(rng)}, tmp_path, context=context, acceptance=acceptance)
    assert "not known which share" in products["channels"]["ee"]["limits"]["skipped"]


def test_limits_say_what_they_lack(rng, tmp_path, acceptance):
    results = {"s": result(rng, events=2000)}
    assert "acceptance" in run(results, tmp_path)["channels"]["ee"]["limits"]["skipped"]
    assert "luminosity" in run(results, tmp_path, acceptance=acceptance)["channels"]["ee"]["limits"]["skipped"]
    with pytest.raises(UnreadableFile, match=r"nowhere\.csv"):
        run(results, tmp_path, acceptance=str(tmp_path / "nowhere.csv"), luminosity_ifb=1)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"fit_range_gev": (500.0, 300.0)}, "not two numbers low,high"),
        ({"fit_range_gev": (500.0, 500.0)}, "two different masses"),
        ({"cl": 95}, "below 1"),
        ({"limit_widths_percent": (-1.0,)}, "at least 0"),
        ({"luminosity_ifb": -5}, "at least 0"),
    ],
)
def test_parameters_without_sense_are_refused(tmp_path, parameters, reason):
    with pytest.raises(ParameterError, match=reason):
        run({}, tmp_path, **parameters)


def test_ranges_that_miss_the_spectrum_are_named(rng, tmp_path):
    results = {"s": result(rng, events=2000)}
    outside = run(results, tmp_path, scan_range_gev=(7000.0, 8000.0))
    assert outside["channels"]["ee"]["bump_scan"]["skipped"] == "no mass bin of the spectrum lies in 7000-8000 GeV"
    assert "skipped" in run(results, tmp_path, fit_range_gev=(7000.0, 8000.0))["channels"]["ee"]["background"]
