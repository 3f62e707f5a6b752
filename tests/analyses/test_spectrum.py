"""Spectra: from histograms and tables, windows at published edges, weighted sums."""

from __future__ import annotations

import numpy as np
import pytest

from tests.analyses.dilepton_toys import EDGES, histogram
from vrecompute.errors import UnreadableFile
from vrecompute_analyses.dilepton.spectrum import Spectrum


def test_a_window_keeps_the_bins_at_its_rounded_borders():
    spectrum = Spectrum(EDGES, np.ones(99), np.ones(99))
    assert spectrum.window(225.0, 6000.0).total == 99
    assert spectrum.window(232.5, 248.3).edges_gev.tolist() == [232.51, 240.271, 248.291]
    assert spectrum.window(6000, 7000).total == 0


def test_equivalent_events_of_weighted_counts():
    spectrum = Spectrum.from_histogram(histogram(EDGES, np.full(99, 4.0), weight=0.5))
    assert spectrum.total == pytest.approx(198)
    assert spectrum.scale == pytest.approx(0.5)
    assert spectrum.equivalent_counts == pytest.approx(np.full(99, 4.0))
    doubled = (spectrum + spectrum) * 2.0
    assert doubled.total == pytest.approx(4 * 198)
    assert doubled.scale == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mlow_GeV,mhigh_GeV\n1,2\n", "no column 'n_observed'"),
        ("mlow_GeV,mhigh_GeV,n_observed\n", "no rows"),
        ("mlow_GeV,mhigh_GeV,n_observed\n1,2,three\n", "line 2: n_observed='three' is not a number"),
        ("mlow_GeV,mhigh_GeV,n_observed\n1,2,3\n3,4,5\n", "not contiguous"),
    ],
)
def test_a_broken_table_is_named(tmp_path, text, reason):
    path = tmp_path / "spectrum.csv"
    path.write_text(text)
    with pytest.raises(UnreadableFile, match=reason):
        Spectrum.from_csv(path)


def test_an_absent_table_is_named(tmp_path):
    with pytest.raises(UnreadableFile, match=r"none\.csv"):
        Spectrum.from_csv(tmp_path / "none.csv")
