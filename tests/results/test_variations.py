"""Variations are paired by what their names say, and histograms become arrays by variation."""

from __future__ import annotations

import doctest

import boost_histogram as bh
import numpy as np
import pytest

from vrecompute.errors import UsageError
from vrecompute.results import variations
from vrecompute.results.variations import Systematic, systematics_of
from vrecompute.results.varied import varied


def test_examples_of_the_docstrings():
    assert doctest.testmod(variations).failed == 0


@pytest.mark.parametrize(
    ("up", "down", "name"),
    [
        ("pu_up", "pu_down", "pu"),
        ("puUp", "puDown", "pu"),
        ("JES_Total_UP", "JES_Total_DOWN", "JES_Total"),
        ("MUON_SCALE__1up", "MUON_SCALE__1down", "MUON_SCALE"),
        ("up", "down", "variation"),
        ("pT scale/low_up", "pT scale/low_down", "pT scale/low"),
    ],
)
def test_pairs_are_known_by_the_ends_of_their_names(up, down, name):
    assert systematics_of([down, "nominal", up]) == ([Systematic(name, up, down)], [])


@pytest.mark.parametrize("name", ["pdf_0", "group", "breakdown", "startup", "smeared", "upper", "down_quark"])
def test_a_name_that_ends_like_a_word_has_no_direction(name):
    assert systematics_of(["nominal", name]) == ([], [name])


def test_two_names_of_one_direction_are_two_things():
    assert systematics_of(["pu_up", "puUp", "pu_down"]) == ([Systematic("pu", "pu_up", "pu_down")], ["puUp"])


@pytest.fixture
def channels():
    h = bh.Histogram(
        bh.axis.StrCategory(["ee", "mumu"], metadata="lepton"),
        bh.axis.Regular(4, 0, 4, metadata="m [GeV]"),
        bh.axis.StrCategory(["nominal", "pu_up"]),
        storage=bh.storage.Weight(),
    )
    h.fill(["ee", "mumu", "mumu"], [0.5, 1.5, 3.5], ["nominal", "nominal", "pu_up"], weight=[2.0, 3.0, 5.0])
    return h


def test_arrays_are_of_one_category_with_all_variations_wherever_their_axis_is(channels):
    got = varied(channels, "m", {"category_0": "mumu"})
    assert (got.label, got.edges.tolist()) == ("m [GeV]", [0, 1, 2, 3, 4])
    assert {name: values.tolist() for name, values in got.values.items()} == {
        "nominal": [0, 3, 0, 0],
        "pu_up": [0, 0, 0, 5],
    }
    assert got.variances.tolist() == [0, 9, 0, 0]
    coarse = varied(channels, "m", {"category_0": "mumu"}, rebin=2)
    assert (coarse.edges.tolist(), coarse.nominal.tolist(), coarse.variances.tolist()) == ([0, 2, 4], [3, 0], [9, 0])


def test_what_is_not_one_axis_of_numbers_is_named_with_what_to_do(channels):
    with pytest.raises(UsageError, match=r"has the categories ee, mumu of 'category_0'; choose one: select="):
        varied(channels, "m")
    with pytest.raises(UsageError, match=r"no category 'mumus' \(there are: ee, mumu\); did you mean 'mumu'"):
        varied(channels, "m", {"category_0": "mumus"})
    with pytest.raises(UsageError, match="has 4 bins, which cannot be taken together 3 by 3"):
        varied(channels, "m", {"category_0": "ee"}, rebin=3)
    plane = bh.Histogram(bh.axis.Regular(2, 0, 1), bh.axis.Regular(2, 0, 1))
    with pytest.raises(UsageError, match=r"'plane' has 2 numeric axes \(plane_0, plane_1\); it needs one"):
        varied(plane, "plane")


def test_sums_of_weights_without_their_squares_have_no_variances():
    plain = bh.Histogram(bh.axis.Regular(2, 0, 2))
    plain.fill([0.5], weight=[0.3])
    assert varied(plain, "x").variances is None
    counts = bh.Histogram(bh.axis.Regular(2, 0, 2), storage=bh.storage.Int64())
    counts.fill([0.5, 0.5])
    np.testing.assert_array_equal(varied(counts, "x").variances, [2, 0])
