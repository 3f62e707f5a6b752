"""An event loop on the columns of a chunk: names, weights, and histograms as boost-histogram has them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vrecompute.analysis import SourceView
from vrecompute.datasets.columns import Column, Columns
from vrecompute.datasets.dataset import Sample
from vrecompute.errors import AnalysisError, BadInput, MissingColumn, UsageError
from vrecompute.eventloop import declared_columns, run_loop, weight_vector
from vrecompute.kernels.eventloop import EventLoop
from vrecompute.kernels.loop.bounds import OutsideEvent
from vrecompute.kernels.loop.chunk import Collection

NAMES = {"muon": "Muon_{}", "event": "Event_{}"}
loop = EventLoop(pt=[0.0, 10.0, 20.0])


@loop.vary("muon.pt", up=1.0)
def shifted(muon, i, shift):
    return muon.pt[i] + shift


@loop.step
def fill(muon, event, cut, pt):
    cut.muons("events")
    for i in range(len(muon)):
        if muon.charge[i] > 0:
            pt.fill(muon.pt[i], event.weight * event.scale)


DY = Sample("dy", weight="genWeight")


def chunk(weight=(1.0, 2.0, -1.0), sample=DY, variations=("nominal", "up")):
    offsets = np.array([0, 2, 2, 3])
    columns = {
        "Muon_pt": Column(np.array([9.5, 15.0, 25.0], np.float32), offsets),
        "Muon_charge": Column(np.array([1, 1, 1], np.int32), offsets),
        "Event_scale": Column(np.array([1.0, 1.0, 3.0], np.float32)),
        "genWeight": Column(np.array(weight, np.float32)),
    }
    return Columns(columns, sample, 100, 103, variations, place="dy.root")


def test_the_columns_are_declared_under_the_names_of_the_source():
    columns = ("Muon_pt", "Muon_charge", "genWeight", "Event_scale")
    view = SourceView(Sample("dy", weight="genWeight"), dict.fromkeys((*columns, "Muon_eta"), "float"), "Events")
    assert set(declared_columns(loop, NAMES, view)) == set(columns)
    unweighted = SourceView(Sample("data", is_data=True), dict.fromkeys(columns, "float"), "Events")
    assert "genWeight" not in declared_columns(loop, NAMES, unweighted)
    with pytest.raises(MissingColumn, match=r"dy\.root: the event loop reads Muon_charge, which it lacks"):
        declared_columns(loop, NAMES, SourceView(Sample("x"), {"Muon_pt": "", "Event_scale": ""}, "Events", "dy.root"))


def test_histograms_keep_weights_their_squares_and_overflow():
    result = run_loop(loop, chunk(), NAMES, weights={"pdf_1": np.array([2.0, 2.0, 2.0])})
    histogram = result.histograms["pt"]
    assert list(histogram.axes[0]) == ["nominal", "up", "pdf_1"]
    assert histogram.axes[1].edges.tolist() == [0.0, 10.0, 20.0]
    view = histogram.view(flow=True)
    assert view["value"][:3].tolist() == [[0, 1, 1, -3], [0, 0, 2, -3], [0, 2, 2, -6]]
    assert view["variance"][:3].tolist() == [[0, 1, 1, 9], [0, 0, 2, 9], [0, 4, 4, 36]]
    assert result.cutflow == {"muons": {"events": 3.0}}
    assert (result + result).histograms["pt"].view(flow=True)["value"].sum() == 2 * view["value"].sum()


def test_events_weigh_one_where_the_sample_has_no_weight():
    result = run_loop(loop, chunk(sample=Sample("data", is_data=True), variations=("nominal",)), NAMES)
    assert result.histograms["pt"].view(flow=True)["value"][0].tolist() == [0, 1, 1, 3]


counting = EventLoop()


@counting.step
def all_muons(count, muon):
    count.muons(len(muon))


def test_a_collection_that_is_only_counted_needs_some_column_of_it():
    there = dict.fromkeys(("nMuon", "Muon_pt", "Muon_charge", "Electron_pt"), "")
    view = SourceView(Sample("x"), there, "Events", "x.root")
    assert declared_columns(counting, NAMES, view) == ("Muon_charge",)
    assert run_loop(counting, chunk(variations=("nominal",)), NAMES).counters == {"muons": 3.0}
    assert counting.counted() == ("muon",)
    assert loop.counted() == ()
    with pytest.raises(MissingColumn, match=r"x\.root: the event loop counts muon, of which it has no column"):
        declared_columns(counting, NAMES, SourceView(Sample("x"), {"nMuon": ""}, "Events", "x.root"))


differing = EventLoop()


@differing.step
def differences(count, event, muon):
    count.objects(muon.first[0] - muon.second[0])
    count.events(event.first - event.second)
    count.mixed(event.first - muon.second[0])


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "int8", "int32", "int64"])
def test_a_difference_of_integers_has_its_sign(kind):
    made = {"first": np.array([3, 1], kind), "second": np.array([5, 9], kind)}
    one_each = Collection(np.array([0, 1, 2]), made)
    filled = differing.run(2, collections={"muon": one_each}, event=made)
    assert filled.counters == {"objects": -10.0, "events": -10.0, "mixed": -10.0}


def test_a_weight_that_is_not_finite_is_named_by_event():
    with pytest.raises(BadInput, match=r"dy\.root: weight 'genWeight' is nan in event 101; it is not finite in 2 of"):
        run_loop(loop, chunk((1.0, np.nan, np.inf)), NAMES)


def test_lists_of_weights_are_rows_of_every_histogram():
    vector = Column(np.array([1.0, 2.0, 1.0, 2.0, 1.0, 2.0], np.float32), np.array([0, 2, 4, 6]))
    events = chunk()
    events = replace(events, columns={**events.columns, "LHEPdfWeight": vector})
    result = run_loop(loop, events, NAMES, weights={"pdf": weight_vector(events, "LHEPdfWeight")})
    histogram = result.histograms["pt"]
    assert list(histogram.axes[0]) == ["nominal", "up", "pdf_0", "pdf_1"]
    assert histogram.view(flow=True)["value"][[0, 2, 3]].tolist() == [[0, 1, 1, -3], [0, 1, 1, -3], [0, 2, 2, -6]]
    uneven = replace(vector, offsets=np.array([0, 2, 3, 6]))
    events = replace(events, columns={**events.columns, "LHEPdfWeight": uneven})
    with pytest.raises(BadInput, match=r"'LHEPdfWeight' has 1 weights in event 101, 2 in the one before"):
        weight_vector(events, "LHEPdfWeight")


def test_an_index_outside_its_event_is_named_by_source_and_entry():
    blind = EventLoop(pt=[0.0, 10.0, 20.0])

    @blind.step
    def leading(muon, pt):
        pt.fill(muon.pt[0])

    events = chunk(variations=("nominal",))
    with pytest.raises(OutsideEvent, match=r"test_eventloop\.py:\d+: muon\.pt\[0\] .* in event 101 of dy\.root, where"):
        run_loop(blind, events, NAMES)
    kept = run_loop(blind, events.select(np.array([True, False, True])), NAMES)
    assert kept.histograms["pt"].values(flow=True)[0].tolist() == [0, 1, 0, 1]


MASKED = np.ma.array([1.0, 7.0, 1.0], mask=[False, True, False])


def test_masked_weights_and_columns_fill_nothing():
    for weights in ({"pu": MASKED}, {"pu": {"up": MASKED}}, {"pdf": np.ma.stack([MASKED, MASKED], axis=1)}):
        with pytest.raises(AnalysisError, match=r"[12] of [36] entries of weight 'p.*' are masked"):
            run_loop(loop, chunk(), NAMES, weights=weights)
    masked = chunk()
    masked = replace(masked, columns={**masked.columns, "Event_scale": Column(MASKED)})
    with pytest.raises(UsageError, match=r"1 of 3 entries of event\.scale are masked"):
        run_loop(loop, masked, NAMES)
    with pytest.raises(UsageError, match="1 of 3 entries of the weight variation 'pu' are masked"):
        counting.run(3, collections={"muon": Collection(np.array([0, 2, 2, 3]), {})}, weights={"pu": MASKED})


tallying = EventLoop()


@tallying.step
def tally(count, event):
    count.integers(event.n)
    count.numbers(float(event.n))
    count.events()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([2**53 + 1, 1], "int64"),
        ([2**53, 1], "int64"),
        ([-(2**53), -1], "int64"),
        ([-(2**63), 1], "int64"),
        ([2**63 + 5, 1], "uint64"),
    ],
)
def test_integers_that_a_counter_would_round_are_an_error(values, kind):
    with pytest.raises(AnalysisError, match=r"counter 'integers' reaches 2\*\*53.*count\.integers\(float"):
        tallying.run(2, collections={}, event={"n": np.array(values, kind)})


@pytest.mark.parametrize("kind", ["int64", "uint64", "int8"])
def test_integers_are_counted_exactly_up_to_there(kind):
    least = {"int64": 2**53 - 2, "uint64": 2**53 - 2}.get(kind, 1)
    filled = tallying.run(2, collections={}, event={"n": np.array([least, 1], kind)})
    assert filled.counters == {"integers": least + 1, "numbers": least + 1, "events": 2}


def test_numbers_beyond_are_added_as_numbers():
    filled = tallying.run(2, collections={}, event={"n": np.array([1e300, 1e300])})
    assert filled.counters["integers"] == 2e300
