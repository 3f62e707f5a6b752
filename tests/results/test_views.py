"""Results as hist, pandas and HTML objects, normalised, and in ROOT files."""

from __future__ import annotations

import math
import subprocess
import sys

import boost_histogram as bh
import hist
import numpy as np
import pytest

from vrecompute.errors import UsageError
from vrecompute.results.result import Result
from vrecompute.results.results import Results
from vrecompute.results.scaling import Scale, scaled_histogram

WEIGHT = bh.storage.Weight()


def varied(categories, value=0.5, weight=1.0):
    axes = bh.axis.StrCategory(categories), bh.axis.Regular(3, 0, 3, metadata="m [GeV]")
    histogram = bh.Histogram(*axes, storage=bh.storage.Weight())
    for number, category in enumerate(categories):
        histogram.fill(category, [value], weight=[weight * (number + 1)])
    return histogram


@pytest.fixture
def results():
    cuts = {"mumu": {"all": 10, "pairs": 4}, "mumu_weighted": {"all": 20.0, "pairs": 9.0}}
    samples = {
        "data": Result(histograms={"mass": varied(["nominal"])}, cutflow={"mumu": {"all": 7, "pairs": 3}}),
        "dy": Result(histograms={"mass": varied(["nominal", "pu_up", "pu_down"], 1.5)}, cutflow=cuts),
    }
    return Results(samples, scales={"data": Scale(1.0, "", True), "dy": Scale(0.5)})


def test_a_histogram_is_a_hist_with_names_labels_and_the_user_s_variations(results):
    mass = results.hist("mass")
    assert isinstance(mass, hist.Hist)
    assert mass.axes.name == ("samples", "variation", "mass")
    assert mass.axes["mass"].label == "m [GeV]"
    assert list(mass.axes["variation"]) == ["nominal", "pu_up", "pu_down"]
    assert mass["dy", "pu_down", 1].value == 3.0
    # what does not vary in data is nominal there, not empty
    assert [mass["data", variation, 0].value for variation in ("nominal", "pu_up", "pu_down")] == [1.0, 1.0, 1.0]
    assert results.hist("mass", "data").axes.name == ("variation", "mass")
    assert results["dy"].histograms["mass"].axes[1].__dict__ == {"metadata": "m [GeV]"}


def test_names_that_a_histogram_has_are_kept_and_one_sample_has_no_axis_of_samples():
    own = hist.Hist(hist.axis.Regular(4, 0, 1, name="x", label="$x$"), hist.axis.Integer(0, 3, name="n"))
    assert Results({"s": Result(histograms={"m/2": own})}).hist("m/2").axes.name == ("x", "n")
    plain = bh.Histogram(bh.axis.Regular(2, 0, 1), bh.axis.Regular(2, 0, 1))
    made = Results({"s": Result(histograms={"pt/eta": plain})}).hist("pt/eta")
    assert made.axes.name == ("pt_eta_0", "pt_eta_1")


def test_what_is_not_there_or_does_not_fit_is_named(results):
    with pytest.raises(KeyError, match=r"no histogram 'mas' \(there are: mass\); did you mean 'mass'"):
        results.hist("mas")
    with pytest.raises(KeyError, match="no sample 'tt'"):
        results.hist("mass", "tt")
    odd = Result(histograms={"mass": varied(["nominal"])[:, 1:]})
    with pytest.raises(UsageError, match="of sample 'odd' has other bins"):
        Results({"data": results["data"], "odd": odd}).hist("mass")


def test_scaled_normalises_each_sample_or_says_which_it_cannot(results):
    scaled = results.scaled()
    assert scaled["dy"].histograms["mass"][0, 1] == bh.accumulators.WeightedSum(0.5, 0.25)
    assert scaled["data"].histograms["mass"][0, 0].value == 1.0
    assert scaled.scaled().hist("mass")["dy", "nominal", 1].value == 0.5  # once is enough
    unknown = Results({"dy": results["dy"], "tt": Result()}, scales={"tt": Scale(None, "no cross-section")})
    with pytest.raises(UsageError, match=r"'dy': these results were not read by a run.*'tt': no cross-section"):
        unknown.scaled()


@pytest.mark.parametrize("storage", [bh.storage.Double(), bh.storage.Int64(), bh.storage.Unlimited()])
def test_a_scaled_count_keeps_its_error(storage):
    histogram = bh.Histogram(bh.axis.Regular(2, 0, 2), storage=storage).fill([0.5, 0.5, 0.5, 0.5, -1.0])
    scaled = scaled_histogram(histogram, 0.5)
    assert scaled.values(flow=True).tolist() == [0.5, 2.0, 0.0, 0.0]
    assert scaled.variances().tolist() == [1.0, 0.0]


def test_a_scaled_mean_stays_and_gets_other_weights():
    for storage in (bh.storage.Mean(), bh.storage.WeightedMean()):
        profile = bh.Histogram(bh.axis.Regular(1, 0, 1), storage=storage).fill([0.5, 0.5], sample=[1.0, 3.0])
        scaled = scaled_histogram(profile, 4.0)
        assert scaled.values().tolist() == [2.0]
        assert scaled.counts().tolist() == profile.counts().tolist()  # effective counts
        assert scaled.view().variance == pytest.approx(profile.view().variance)
        assert (scaled + scaled).view()["sum_of_weights"].tolist() == [16.0]


def test_weights_whose_squares_were_not_kept_have_no_error_when_scaled():
    histogram = bh.Histogram(bh.axis.Regular(1, 0, 1)).fill([0.5], weight=[2.0])
    scaled = scaled_histogram(histogram, 2.0)
    assert scaled.values().tolist() == [4.0]
    assert isinstance(scaled.storage_type(), bh.storage.Double)


def test_cutflows_are_a_table_of_numbers_weighted_and_scaled(results):
    table = results.pandas()
    assert list(table.index) == [
        ("data", "mumu", "all"), ("data", "mumu", "pairs"), ("dy", "mumu", "all"), ("dy", "mumu", "pairs")
    ]  # fmt: skip
    assert table["events"].tolist() == [7, 3, 10, 4]
    assert table["weighted"].tolist() == [7, 3, 20, 9]
    assert table["scaled"].tolist() == [7, 3, 10, 4.5]
    unsaid = Results({"dy": results["dy"]}).pandas()
    assert unsaid["weighted"].tolist() == [20, 9]
    assert all(math.isnan(value) for value in unsaid["scaled"])


def test_a_notebook_sees_the_histograms_and_nothing_that_a_name_says_is_html(results):
    samples = {"<b>": Result(histograms={"<i>": varied(["nominal"])}, events=1200), "dy": results["dy"]}
    page = Results(samples)._repr_html_()
    assert page.count("<svg") == 2
    assert "m [GeV]" in page
    assert "1,200 events" in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "&lt;i&gt;" in page


def test_root_files_have_titles_and_a_folder_for_each_sample(results, tmp_path):
    import uproot

    results.to_root(tmp_path / "h.root")
    with uproot.open(tmp_path / "h.root") as file:
        assert set(file.keys(recursive=False, cycle=False)) == {"data", "dy"}
        assert set(file["dy"].keys(cycle=False)) == {"mass", "mass_pu_up", "mass_pu_down"}
        assert file["dy/mass_pu_up"].member("fXaxis").member("fTitle") == "m [GeV]"
        np.testing.assert_array_equal(file["dy/mass_pu_up"].values(), [0, 2, 0])


def test_neither_hist_nor_pandas_is_imported_for_results():
    code = (
        "import sys; import vrecompute.results.results; assert not {'hist', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
