"""Layouts: each is found by its own columns, and reads identification as its format documents it."""

from __future__ import annotations

import numpy as np
import pytest

from vrecompute.analysis import SourceView
from vrecompute.datasets.columns import Column, Columns
from vrecompute.datasets.dataset import Sample
from vrecompute.errors import MissingColumn
from vrecompute.execution.reading import reading_of
from vrecompute_analyses.dilepton.layouts import FLAVOURS, LAYOUTS, choose_layout
from vrecompute_analyses.dilepton.leptons import leptons
from vrecompute_analyses.dilepton.process import Dilepton


def required(layout, channel):
    return [c for flavour in FLAVOURS[channel] for c in layout.leptons[flavour].required]


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("channel", ["both", "ee", "mumu"])
def test_a_layout_is_found_by_its_own_columns(name, channel):
    layout = LAYOUTS[name]
    if not set(FLAVOURS[channel]) <= set(layout.leptons):
        with pytest.raises(MissingColumn, match=f"{name} lacks electrons"):
            choose_layout(name, channel, required(layout, "mumu"), "f.root")
        return
    assert choose_layout("auto", channel, [*required(layout, channel), "other"], "f.root") is layout
    with pytest.raises(MissingColumn, match=f"{name} lacks {required(layout, channel)[-1]}"):
        choose_layout(name, channel, required(layout, channel)[:-1], "f.root")


def test_identification_isolation_and_the_first_trigger_are_declared_where_present():
    available = [*required(LAYOUTS["nanoaod"], "both"), "Electron_cutBased", "HLT_Mu50", "HLT_IsoMu27", "Muon_tightId"]
    view = SourceView(Sample("s"), dict.fromkeys(available, ""), "Events")
    assert set(reading_of(Dilepton(), view).given) == set(available) - {"HLT_Mu50", "Muon_tightId"}
    tight = reading_of(Dilepton(lepton_id="tight", trigger=False), view).given
    assert set(tight) == set(available) - {"HLT_Mu50", "HLT_IsoMu27"}


def test_muon_quality_of_physlite_is_two_bits_and_momenta_are_mev():
    layout = LAYOUTS["physlite"]
    of = layout.leptons["muon"]
    offsets = np.array([0, 4])
    prefix = "AnalysisMuonsAuxDyn."
    columns = {f"{prefix}{c}": Column(np.zeros(4, np.float32), offsets) for c in ("eta", "phi", "charge")}
    columns[f"{prefix}pt"] = Column(np.full(4, 45_000.1, np.float32), offsets)
    columns[f"{prefix}quality"] = Column(np.array([0, 1 | 8, 2, 3 | 16], np.uint8), offsets)
    events = Columns(columns, Sample("s"), 0, 1)
    passing = {
        point: leptons(events, layout, of, of.passes(point, True)).columns["passes"].tolist()
        for point in ("any", "loose", "medium", "tight")
    }
    assert passing == {"any": [1, 1, 1, 1], "loose": [1, 1, 1, 0], "medium": [1, 1, 0, 0], "tight": [1, 0, 0, 0]}
    pt = leptons(events, layout, of, ()).columns["pt"]
    assert pt.dtype == np.float64
    assert pt[0] == float(np.float32(45_000.1)) / 1000.0
