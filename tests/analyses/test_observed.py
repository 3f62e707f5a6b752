"""Which sample is data and which is prediction."""

from __future__ import annotations

import numpy as np
import pytest

from tests.analyses.dilepton_toys import EDGES, histogram
from vrecompute.datasets.dataset import Sample
from vrecompute.results.result import Result
from vrecompute_analyses.dilepton.observed import combine

SAMPLES = {
    "data_a": Sample("data_a", is_data=True, luminosity_ifb=36.0),
    "data_b": Sample("data_b", is_data=True, luminosity_ifb=103.0),
    "dy": Sample("dy", cross_section_pb=2.0, luminosity_ifb=139.0),
    "other": Sample("other"),
}


def test_data_add_up_and_simulation_predicts_them():
    made = combine(SAMPLES, SAMPLES, {"dy": 0.5, "other": None}, 0.0)
    assert made.label == "data"
    assert made.luminosity_ifb == pytest.approx(139.0)
    assert dict(made.observed) == {"data_a": 1.0, "data_b": 1.0}
    assert dict(made.predicted) == {"dy": 0.5}
    assert made.warnings == ("other: left out of the prediction, it is not normalised",)
    results = {n: Result(histograms={"mass_ee": histogram(EDGES, np.full(99, 2.0))}) for n in SAMPLES}
    data, predicted = made.spectrum("mass_ee", results), made.spectrum("mass_ee", results, predicted=True)
    assert (data.total, predicted.total) == (2 * 198, 99)
    assert predicted.scale == pytest.approx(0.5)
    assert made.spectrum("mass_tautau", results) is None


def test_one_simulated_sample_is_analysed_as_it_is():
    made = combine(["dy"], SAMPLES, {"dy": 0.5}, 0.0)
    assert (made.label, dict(made.observed), made.warnings) == ("dy", {"dy": 1.0}, ())


def test_several_simulated_samples_are_normalised_all_or_none():
    samples = {n: Sample(n, luminosity_ifb=10.0) for n in ("a", "b")}
    made = combine(samples, samples, {"a": 0.1, "b": 0.2}, 0.0)
    assert (made.label, dict(made.observed), made.luminosity_ifb) == ("simulation", {"a": 0.1, "b": 0.2}, 10.0)
    mixed = combine(samples, samples, {"a": 0.1, "b": None}, 0.0)
    assert dict(mixed.observed) == {"a": 1.0, "b": 1.0}
    assert "b cannot be normalised" in mixed.warnings[0]


def test_the_users_luminosity_comes_first():
    assert combine(["dy"], SAMPLES, {}, 20.0).luminosity_ifb == 20.0
    assert combine(["other"], SAMPLES, {}, 0.0).luminosity_ifb is None
