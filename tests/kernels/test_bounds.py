"""An index outside its event ends the loop with the place of the access: it never gives a neighbour's value."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.plain import run_plainly
from vrecompute.errors import AnalysisError, UsageError
from vrecompute.kernels.eventloop import Collection, EventLoop
from vrecompute.kernels.loop.bounds import OutsideEvent, inside

LIMITS = (1.0, 2.0, 4.0)
loop = EventLoop(pt=[0.0, 10.0, 20.0, 40.0])

# `p.kind` chooses the access, `event.index` is where; all accesses are compiled once.


@loop.vary("muon.pt", up=0.5, down=-0.5)
def scaled(muon, i, shift, p, event):
    if p.kind == 14:
        return muon.pt[i + event.index] + shift
    return muon.pt[i] + shift


@loop.column("muon.twice")
def twice(muon, i, p, event):
    if p.kind == 15:
        return 2.0 * muon.pt[i + event.index]
    return 2.0 * muon.pt[i]


@loop.once
def far(lepton, i, j):
    return lepton.charge[i] - lepton.charge[j]


def near(lepton, other, i):
    return lepton.charge[i] + 10.0 * other.charge[i]


@loop.step
def chosen(event):
    return event.index, event.index + 1


@loop.step
def read(chosen, muon, electron, event, p, count, pt):
    i = event.index
    if p.kind == 0:
        count.value(muon.charge[i])
    elif p.kind == 1:
        count.value(muon.pt[i])
    elif p.kind == 2:
        count.value(muon.twice[i])
    elif p.kind == 3:
        count.value(near(electron, muon, i))
    elif p.kind == 4:
        count.value(far(muon, 0, i))
    elif p.kind == 5:
        for k in range(len(muon)):
            count.value(electron.charge[muon.link[k]])
    elif p.kind == 6:
        count.value(muon.charge[chosen[0]])
    elif p.kind == 7:
        count.value(LIMITS[i])
    elif p.kind == 8:
        count.value(chosen[i])
    elif p.kind == 9:
        count.value(muon.charge[event.fraction])
    elif p.kind == 10:
        for k in range(len(muon) + i):
            count.value(muon.charge[k])
    elif p.kind == 11:
        for k in range(len(electron)):
            count.value(muon.charge[k])
    elif p.kind == 12:
        k = 0
        while muon.pt[k] > 5.0:
            k += 1
        count.value(k)
    elif p.kind == 13:
        count.value(muon.charge[i > 0])
    elif p.kind == 16:
        pt.fill(muon.pt[i], muon.charge[i])
    elif p.kind == 17:
        count.value(muon.charge[len(muon) - 1])
    else:
        for k in range(len(muon)):
            count.value(muon.pt[k] + muon.twice[k])


class Strict(list):
    """A list that has what counts from 0 alone."""

    def __getitem__(self, index):
        if not (0 <= index < len(self) and index == int(index)):
            raise IndexError(index)
        return super().__getitem__(int(index))


@st.composite
def chunks(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    events = draw(st.integers(1, 4))
    collections = {}
    for name in ("electron", "muon"):
        counts = [draw(st.integers(0, 3)) for _ in range(events)]
        columns = {
            "pt": rng.uniform(4.0, 60.0, sum(counts)).astype(np.float32),
            "charge": rng.integers(1, 100, sum(counts)).astype(np.int32),
            "link": rng.integers(-1, 3, sum(counts)).astype(np.int16),
        }
        collections[name] = Collection(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), columns)
    index = np.array([draw(st.integers(-4, 4)) for _ in range(events)], dtype=np.int64)
    fractions = st.sampled_from([0.0, -0.0, 1.0, 0.5, -0.5, 2.5, float("nan"), float("inf"), 1e300, -1.0])
    fraction = np.array([draw(fractions) for _ in range(events)])
    return events, collections, {"index": index, "fraction": fraction}


@settings(max_examples=8 * settings().max_examples)
@given(st.integers(0, 17), chunks(), st.booleans())
def test_what_is_read_is_the_events_own_or_an_error(kind, chunk, varied):
    events, collections, event = chunk
    variations = loop.variations if varied else ("nominal",)
    parameters = {"kind": float(kind)}
    try:
        filled = loop.run(events, collections=collections, event=event, parameters=parameters, variations=variations)
        ended = events
    except OutsideEvent as error:
        ended = error.event
    right = [first_outside(events, collections, event, parameters, v) for v in variations]
    assert ended == min(outside for outside, _ in right)
    if ended == events:
        for variation, (_, (histograms, _, counts)) in zip(variations, right, strict=True):
            row = filled.histograms["pt"].variations.index(variation)
            assert filled.histograms["pt"].sums[row] == pytest.approx(histograms["pt"][0])
            if variation == "nominal":
                assert filled.counters["value"] == pytest.approx(counts.get("value", 0.0))


def first_outside(events, collections, event, parameters, variation):
    """The first event with an access outside, by ordinary Python, or `events` and the numbers."""
    for n in range(1, events + 1):
        try:
            numbers = run_plainly(
                loop, {"pt": [0, 10, 20, 40]}, n, collections, event, parameters, variation, sequence=Strict
            )
        except IndexError:
            return n - 1, None
    return events, numbers


def muons(*counts):
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return {"muon": Collection(offsets, {"pt": np.arange(1.0, 1.0 + sum(counts))})}


def test_the_message_names_the_line_the_column_the_index_and_the_event():
    subject = EventLoop()

    @subject.step
    def leading(muon, count):
        second = 1
        count.pt(muon.pt[second])

    line = leading.__code__.co_firstlineno + 3
    with pytest.raises(OutsideEvent) as caught:
        subject.run(3, collections=muons(2, 1, 0))
    expected = (
        f"{__file__}:{line}: muon.pt[second] is read at index 1 in event 1 of the chunk, where len(muon) is 1; "
        "compare the index with len(muon) before"
    )
    assert str(caught.value) == expected
    assert str(pickle.loads(pickle.dumps(caught.value))) == expected
    assert subject.run(1, collections=muons(2)).counters == {"pt": 2.0}


def test_one_compiled_check_serves_every_access(monkeypatch, tmp_path):
    monkeypatch.setenv("VRECOMPUTE_CACHE", str(tmp_path))  # nothing is compiled that was kept
    subject = EventLoop()

    @subject.step
    def four(muon, count):
        for i in range(len(muon)):
            count.pt(muon.pt[i] + muon.eta[i] + muon.pt[i] * muon.eta[i])

    before = len(inside.signatures)
    offsets, values = np.array([0, 2]), np.ones(2)
    subject.run(1, collections={"muon": Collection(offsets, {"pt": values, "eta": values})})
    assert list(tmp_path.rglob("*.nbc"))
    assert len(inside.signatures) <= before + 1


def test_an_error_of_the_functions_own_stays_what_it_is():
    subject = EventLoop()

    @subject.step
    def strict(muon):
        if len(muon) > 1:
            raise IndexError("two muons")

    with pytest.raises(IndexError, match="two muons"):
        subject.run(1, collections=muons(2))


def written_number(subject):
    @subject.step
    def step(muon, count):
        count.x(LIMITS[3])

    return AnalysisError, "cannot be compiled"


def slices(subject):
    @subject.step
    def step(muon, count):
        count.x(muon.pt[0:1])

    return UsageError, r"muon\.pt\[0:1\]: give one index, muon\.pt\[i\]"


def two_indices(subject):
    @subject.step
    def step(muon, count):
        count.x(muon.pt[0, 0])

    return UsageError, "give one index"


def writes(subject):
    @subject.vary("muon.pt", up=1.0)
    def vary(muon, i, shift):
        return muon.pt[i] + shift

    @subject.step
    def step(muon):
        muon.pt[0] = 1.0

    return UsageError, r"muon\.pt\[0\]: a column cannot be written"


def adds(subject):
    @subject.step
    def step(muon):
        muon.pt[0] += 1.0

    return UsageError, "a column cannot be written"


@pytest.mark.parametrize("wrong", [written_number, slices, two_indices, writes, adds], ids=lambda f: f.__name__)
def test_what_can_be_known_before_is_refused_before(wrong):
    subject = EventLoop()
    error, message = wrong(subject)
    with pytest.raises(error, match=rf"^{re.escape(__file__)}:\d+: .*{message}"):
        subject.run(1, collections=muons(2))
