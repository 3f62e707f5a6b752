"""The dilepton selection against awkward arrays, event by event, and against the numbers of real data."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrecompute.analysis import SourceView
from vrecompute.datasets.columns import Column, Columns
from vrecompute.datasets.dataset import Sample
from vrecompute.errors import BadInput, CorruptFile, DatasetError, MissingColumn, ParameterError
from vrecompute.execution.events import events_given
from vrecompute.execution.reading import reading_of
from vrecompute.kernels.loop.normal import hashed_normal
from vrecompute.reader import inspect, read
from vrecompute_analyses.dilepton.process import Dilepton
from vrecompute_analyses.dilepton.selection import loop

MC = Sample("mc", weight="genWeight")
E_MASS, MU_MASS = 0.51099895e-3, 0.1056583755


def nanoaod(seed, n=300, sample=MC, start=0):
    """A chunk in NanoAOD layout with enough pairs, crack electrons, equal signs and both flavours in one event."""
    rng = np.random.default_rng(seed)
    columns = {
        "genWeight": Column(rng.normal(1.0, 0.5, n).astype(np.float32)),
        "HLT_Ele32_WPTight_Gsf": Column(rng.random(n) < 0.8),
        "HLT_IsoMu24": Column(rng.random(n) < 0.8),
        "run": Column(rng.integers(1, 4, n).astype(np.uint32)),
        "luminosityBlock": Column(rng.integers(1, 10, n).astype(np.uint32)),
    }
    for name in ("Electron", "Muon"):
        counts = rng.poisson(1.8, n)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        size = int(offsets[-1])

        def add(column, values, name=name, offsets=offsets):
            columns[f"{name}_{column}"] = Column(values, offsets)

        add("pt", (20.0 + rng.exponential(150.0, size)).astype(np.float32))
        add("eta", rng.normal(0.0, 1.5, size).astype(np.float32))
        add("phi", rng.uniform(-math.pi, math.pi, size).astype(np.float32))
        add("charge", rng.choice([-1, 1], size).astype(np.int32))
        if name == "Electron":
            add("cutBased", rng.choice([0, 2, 3, 4], size, p=[0.1, 0.1, 0.4, 0.4]).astype(np.int32))
            add("pfRelIso03_all", rng.exponential(0.05, size).astype(np.float32))
        else:
            add("mediumId", rng.random(size) < 0.9)
            add("pfRelIso04_all", rng.exponential(0.05, size).astype(np.float32))
    return Columns(columns, sample, start, start + n, place="mc.root")


def pairs(events, prefix, good, scale=None, lepton_mass=0.0):
    """Mass (nan where there is no pair) and product of charges of the leading pair, one per event."""
    array = events.awkward
    pt = ak.values_astype(array[f"{prefix}_pt"], np.float64)
    if scale is not None:
        pt = ak.unflatten(ak.flatten(pt) * scale, ak.num(pt))
    keep = good(array) & (pt > 30.0)
    fields = {f: ak.values_astype(array[f"{prefix}_{f}"], np.float64) for f in ("eta", "phi", "charge")}
    leptons = ak.zip({"pt": pt, **fields})[keep]
    leptons = leptons[ak.argsort(leptons.pt, ascending=False, stable=True)]
    two = ak.pad_none(leptons, 2, clip=True)
    a, b = two[:, 0], two[:, 1]

    def vector(x):
        px, py, pz = x.pt * np.cos(x.phi), x.pt * np.sin(x.phi), x.pt * np.sinh(x.eta)
        return np.sqrt(px**2 + py**2 + pz**2 + lepton_mass**2), px, py, pz

    total = [p + q for p, q in zip(vector(a), vector(b), strict=True)]
    m2 = total[0] ** 2 - total[1] ** 2 - total[2] ** 2 - total[3] ** 2
    m = np.sqrt(np.maximum(ak.to_numpy(ak.fill_none(m2, np.nan)), 0.0))
    return m, ak.to_numpy(ak.fill_none(a.charge * b.charge, 0.0))


def good_electrons(array):
    eta = abs(ak.values_astype(array.Electron_eta, np.float64))
    return (
        (eta < 2.47)
        & ~((eta > 1.37) & (eta < 1.52))
        & (array.Electron_cutBased >= 3)
        & (array.Electron_pfRelIso03_all <= 0.15)
    )


def good_muons(array):
    eta = abs(ak.values_astype(array.Muon_eta, np.float64))
    return (eta < 2.5) & array.Muon_mediumId & (array.Muon_pfRelIso04_all <= 0.15)


def expected(events, ee_scale=None, mumu_scale=None, masses=(0.0, 0.0)):
    """Masses after opposite sign, by channel, and the cutflow."""
    fired_ee, fired_mumu = events.flat("HLT_Ele32_WPTight_Gsf"), events.flat("HLT_IsoMu24")
    m_ee, _ = pairs(events, "Electron", good_electrons, ee_scale, masses[0])
    m_mumu, charge = pairs(events, "Muon", good_muons, mumu_scale, masses[1])
    ee = fired_ee & ~np.isnan(m_ee)
    two_muons = fired_mumu & ~np.isnan(m_mumu)
    not_ee = two_muons & ~ee
    opposite = not_ee & (charge < 0)
    n = len(events)
    window = {"ee": ee & (m_ee >= 225.0), "mumu": opposite & (m_mumu >= 225.0)}
    cutflow = {
        "ee": [n, fired_ee.sum(), ee.sum(), ee.sum(), window["ee"].sum()],
        "mumu": [n, fired_mumu.sum(), two_muons.sum(), not_ee.sum(), opposite.sum(), window["mumu"].sum()],
    }
    return {"ee": (m_ee, ee), "mumu": (m_mumu, opposite)}, window, cutflow


def assert_spectra(result, events, masses, window, variation="nominal"):
    weight = events.flat("genWeight").astype(np.float64)
    for channel, (m, selected) in masses.items():
        for name, chosen in (("mass", window[channel]), ("z", selected), ("spectrum", selected)):
            histogram = result.histograms[f"{name}_{channel}"]
            edges = np.concatenate([[-np.inf], histogram.axes[1].edges, [np.inf]])
            sums, _ = np.histogram(m[chosen], edges, weights=weight[chosen])
            squares, _ = np.histogram(m[chosen], edges, weights=weight[chosen] ** 2)
            rows = list(histogram.axes[0])
            row = rows.index(variation) if variation in rows else 0
            view = histogram.view(flow=True)[row]
            assert view["value"] == pytest.approx(sums, rel=1e-11, abs=1e-11), (name, channel, variation)
            assert view["variance"] == pytest.approx(squares, rel=1e-11, abs=1e-11)


@given(st.integers(0, 2**32))
def test_selection_equals_an_awkward_one(seed):
    events = nanoaod(seed)
    result = Dilepton().process(events)
    masses, window, cutflow = expected(events)
    assert_spectra(result, events, masses, window)
    assert {c: list(cuts.values()) for c, cuts in result.cutflow.items()} == cutflow
    assert list(result.cutflow["mumu"])[-2:] == ["opposite_sign", "mass_window"]
    assert result.counters["electrons"] == len(events.flat("Electron_pt"))
    assert result.counters["muons"] == len(events.flat("Muon_pt"))


@settings(max_examples=5)
@given(st.integers(0, 2**32))
def test_each_variation_is_a_selection_of_its_own(seed):
    analysis = Dilepton(systematics="on")
    events = nanoaod(seed)
    events = replace(events, variations=tuple(analysis.variations(MC)))
    result = analysis.process(events)
    assert len(events.variations) == 11
    electron = [events.flat(f"Electron_{c}").astype(float) for c in ("pt", "phi")]
    muon = [events.flat(f"Muon_{c}").astype(float) for c in ("pt", "phi")]
    ee_noise = np.array([hashed_normal(pt, phi, 11) for pt, phi in zip(*electron, strict=True)])
    mumu_noise = np.array([hashed_normal(pt, phi, 13) for pt, phi in zip(*muon, strict=True)])
    for sign, way in ((1.0, "up"), (-1.0, "down")):
        for name, ee, mumu in (
            ("electron_scale", 0.005, 0.0),
            ("electron_resolution", 0.01 * ee_noise, 0.0),
            ("muon_scale", 0.0, 0.005),
            ("muon_resolution", 0.0, 0.02 * mumu_noise),
            ("momentum", 0.002, 0.002),
        ):
            masses, window, _ = expected(events, 1.0 + sign * ee, 1.0 + sign * mumu)
            assert_spectra(result, events, masses, window, f"{name}_{way}")


def test_grouping_of_events_changes_nothing():
    analysis = Dilepton(systematics="on")
    whole = replace(nanoaod(7, 400), variations=tuple(analysis.variations(MC)))
    parts = [part(whole, a, b) for a, b in ((0, 1), (1, 150), (150, 400))]
    merged = sum((analysis.process(p) for p in parts), start=analysis.process(part(whole, 0, 0)))
    once = analysis.process(whole)
    assert merged.cutflow == once.cutflow
    for name, histogram in once.histograms.items():
        assert histogram.view(flow=True)["value"] == pytest.approx(merged.histograms[name].view(flow=True)["value"])


def part(events, a, b):
    columns = {}
    for name, column in events.columns.items():
        if column.offsets is None:
            columns[name] = Column(column.values[a:b])
        else:
            first, last = column.offsets[a], column.offsets[b]
            columns[name] = Column(column.values[first:last], column.offsets[a : b + 1] - first)
    return replace(events, columns=columns, start=a, stop=b)


def test_options_of_the_selection():
    events = nanoaod(3)
    massive, window, _ = expected(events, masses=(E_MASS, MU_MASS))
    assert_spectra(Dilepton(lepton_mass="massive").process(events), events, massive, window)
    both = Dilepton(opposite_sign="both").process(events).cutflow["ee"]
    assert both["opposite_sign"] < both["two_leptons"]
    none = Dilepton(opposite_sign="none").process(events).cutflow["mumu"]
    assert none["opposite_sign"] == none["not_ee"]
    one = Dilepton(channel="mumu").process(events)
    assert set(one.cutflow) == {"mumu"}
    assert set(one.histograms) == {"mass_mumu", "z_mumu", "spectrum_mumu"}
    assert one.cutflow["mumu"]["not_ee"] == one.cutflow["mumu"]["two_leptons"]
    loose = Dilepton(lepton_id="any", isolation=False, trigger=False).process(events).cutflow["ee"]
    assert loose["trigger"] == 300
    assert loose["two_leptons"] > Dilepton().process(events).cutflow["ee"]["two_leptons"]
    with pytest.raises(ParameterError, match="mass_window_gev='100,50' is not two numbers low,high"):
        Dilepton(mass_window_gev="100,50")
    with pytest.raises(ParameterError, match="channel"):
        Dilepton(channel="emu")


def test_data_have_the_nominal_spectrum_and_weight_one():
    data = Sample("data", is_data=True, weight="genWeight")
    analysis = Dilepton(systematics="on")
    assert analysis.variations(data) == ("nominal",)
    result = analysis.process(nanoaod(3, sample=data))
    assert result.histograms["spectrum_ee"].sum(flow=True).value == result.cutflow["ee"]["opposite_sign"]


def test_uncertified_events_are_counted_and_dropped(tmp_path):
    golden = tmp_path / "golden.json"
    golden.write_text(json.dumps({"1": [[2, 5]], "3": [[1, 1], [9, 9]]}))
    sample = Sample("data", is_data=True, certified=str(golden))
    events = nanoaod(3, sample=sample)
    run, section = events.flat("run"), events.flat("luminosityBlock")
    good = ((run == 1) & (section >= 2) & (section <= 5)) | ((run == 3) & np.isin(section, [1, 9]))
    reading = reading_of(Dilepton(), SourceView(sample, dict.fromkeys(events.names, ""), "Events"))
    assert {"run", "luminosityBlock"} <= set(reading.columns)
    result = Dilepton().process(events_given(events, reading, golden))
    assert result.counters["uncertified"] == (~good).sum()
    assert result.cutflow["ee"]["events"] == good.sum()
    assert result.counters["muons"] == np.repeat(good, np.diff(events.offsets("Muon"))).sum()
    with pytest.raises(DatasetError, match="the worker does not have its list"):
        events_given(events, reading)


def test_the_code_of_a_chunk_is_selection_and_kernels_and_no_fit():
    code = Dilepton().code()
    modules = {name.partition(":")[0] for name in code.parts}
    ours = {f"vrecompute_analyses.dilepton.{n}" for n in ("process", "selection", "layouts", "leptons")}
    assert modules == {*ours, "vrecompute.kernels", "vrecompute.reader", "state"}
    assert "vrecompute_analyses.dilepton.selection: leading_pair()" in code.parts
    assert not code.unnamed
    assert not code.modules, "what is installed does not travel"
    assert not [name for name in code.parts if "finish" in name.lower() or "figures" in name or "rehearse" in name]


def test_what_is_rehearsed_is_what_runs():
    Dilepton().rehearse()
    known = set(loop._built)
    Dilepton().process(nanoaod(3))
    Dilepton(systematics="on").process(replace(nanoaod(3), variations=loop.variations))
    Dilepton(channel="mumu").process(nanoaod(4))
    assert set(loop._built) == known


def test_absurd_input_is_named():
    events = nanoaod(3, start=5000)
    bad = events.flat("genWeight").copy()
    bad[17] = np.nan
    with pytest.raises(BadInput, match=r"mc\.root: weight 'genWeight' is nan in event 5017"):
        Dilepton().process(with_column(events, "genWeight", bad))
    in_mev = events.flat("Electron_pt") * 1000.0
    with pytest.raises(BadInput, match=r"a typical Electron_pt is .* GeV, which no sample has.*unit: MeV"):
        Dilepton().process(with_column(events, "Electron_pt", in_mev))
    with pytest.raises(BadInput, match="MeV, which no sample has"):
        Dilepton().process(replace(events, sample=replace(MC, unit="MeV")))
    other = events.offsets("Muon_eta").copy()
    other[3] -= other[3] > other[2]
    other[1] += 1
    ragged = {**events.columns, "Muon_eta": Column(events.flat("Muon_eta"), other)}
    with pytest.raises(CorruptFile, match="'Muon_pt' and 'Muon_eta' differ in length per event"):
        Dilepton().process(replace(events, columns=ragged))


def test_the_unit_of_the_sample_overrules_that_of_the_layout():
    events = nanoaod(3)
    scaled = {
        name: Column(column.values * np.float32(1000.0), column.offsets) if name.endswith("_pt") else column
        for name, column in events.columns.items()
    }
    result = Dilepton().process(replace(events, columns=scaled, sample=replace(MC, unit="MeV")))
    assert result.cutflow == Dilepton().process(events).cutflow


def with_column(events, name, values):
    return replace(events, columns={**events.columns, name: Column(values, events.columns[name].offsets)})


LOOSE = {"channel": "mumu", "pt_min_gev": 0, "eta_max": 100}
Z_60_120 = {"mass_window_gev": "60,120", **LOOSE}
# File, parameters, mumu cutflow from two_leptons on (None: not looked at), electrons, muons.
REAL = [
    ("cms2011A_Zmumu.root", {"mass_window_gev": "81,101", **LOOSE}, [10583, 10583, 10227, 8573], 0, 21166),
    ("uproot-Zmumu.root", Z_60_120, [2304, 2304, 2147, 2004], 0, 4608),
    ("uproot-Zmumu-lzma.root", Z_60_120, [2304, 2304, 2147, 2004], 0, 4608),
    ("Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root", {"channel": "mumu"}, None, 0, 2372),
    ("nanoAOD_2015_CMS_Open_Data_ttbar.root", {}, None, 69, 41),
    ("PHYSLITE_example.root", {}, None, 134, 5),
    ("uproot-physlite-rntuple_v1-0-0-0.root", {}, None, 57, 88),
]


@pytest.mark.data
@pytest.mark.parametrize(("file", "parameters", "cuts", "electrons", "muons"), REAL, ids=[r[0] for r in REAL])
def test_real_files(data_file, file, parameters, cuts, electrons, muons):
    path = str(data_file(f"hep_root/{file}"))
    analysis = Dilepton(**parameters)
    sample = Sample("real", is_data=True)
    facts = inspect(path, None)
    columns = reading_of(analysis, SourceView(sample, facts.available, facts.tree)).columns
    events = Columns(
        read(path, facts.tree, columns, 0, facts.entries),
        sample,
        0,
        facts.entries,
        analysis.variations(sample),
        place=file,
    )
    result = analysis.process(events)
    if cuts is not None:
        assert list(result.cutflow["mumu"].values())[2:] == cuts
        assert result.histograms["mass_mumu"].sum(flow=True).value == cuts[-1]
    assert result.counters["electrons"] == electrons
    assert result.counters["muons"] == muons


def test_a_source_that_no_layout_fits_says_what_each_lacks():
    available = dict.fromkeys(("Muon_pt", "Muon_eta", "Muon_phi", "Muon_charge"), "float[]")
    with pytest.raises(MissingColumn) as caught:
        Dilepton().columns(SourceView(Sample("s"), available, "Events"))
    said = str(caught.value)
    assert said.startswith("Events: no layout fits channel=both: nanoaod lacks Electron_pt, Electron_eta")
    assert "flat lacks electrons, pt1, pt2 and 6 more" in said
    assert said.endswith("channel=mumu would do")
    weighted = SourceView(Sample("s", weight="w"), available, "Events")
    with pytest.raises(MissingColumn, match="sample 's' asks for w"):
        Dilepton(channel="mumu").columns(weighted)
