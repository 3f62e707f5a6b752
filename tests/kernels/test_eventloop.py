"""A compiled loop gives what its functions give as ordinary Python, variation by variation."""

# ruff: noqa: RET503 - a step that returns nothing is absent

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.plain import run_plainly
from vrecompute.errors import AnalysisError, UsageError
from vrecompute.kernels.eventloop import EventLoop
from vrecompute.kernels.loop.chunk import Collection

EDGES = np.geomspace(10.0, 1000.0, 30)
LIGHT = 0.1


def heaviest(lepton, p):
    a = b = -1
    for i in range(len(lepton)):
        if lepton.good[i] and lepton.pt[i] > p.pt_min_gev:
            if a < 0 or lepton.pt[i] > lepton.pt[a]:
                a, b = i, a
            elif b < 0 or lepton.pt[i] > lepton.pt[b]:
                b = i
    return a, b


def make_loop():
    loop = EventLoop(ee=EDGES, mumu=EDGES, leading=[0.0, 50.0, 100.0])

    @loop.vary("electron.pt", e_up=0.1, e_down=-0.1, both=0.05)
    def electron_pt(electron, i, shift, p):
        return electron.pt[i] * (1.0 + shift * p.size)

    @loop.vary("electron.pt", e_eta=0.3)
    def electron_pt_by_eta(electron, i, shift):
        return electron.pt[i] * (1.0 + shift * abs(electron.eta[i]))

    @loop.vary("muon.pt", m_up=0.2, both=0.05)
    def muon_pt(muon, i, shift):
        return muon.pt[i] + shift

    @loop.column("electron.good")
    def electron_good(electron, i, p):
        return abs(electron.eta[i]) < p.eta_max

    @loop.column("muon.good")  # varies with muon.pt
    def muon_good(muon, i):
        return muon.pt[i] > 12.0 and muon.id[i] & 1 == 1

    @loop.once
    def opening(lepton, a, b):
        return math.cosh(lepton.eta[a] - lepton.eta[b]) - math.cos(LIGHT)

    def mass(lepton, a, b):
        return math.sqrt(2.0 * lepton.pt[a] * lepton.pt[b] * opening(lepton, a, b))

    @loop.step
    def triggered(event, electron, count, cut):
        count.electrons(len(electron))
        cut.all("events")
        if event.fired:
            cut.all("fired")
            return event.weight, 2.0

    @loop.step
    def pair_ee(triggered, electron, p, cut, ee):
        weight, two = triggered
        a, b = heaviest(electron, p)
        if b < 0:
            return None
        cut.ee("pair")
        ee.fill(mass(electron, a, b), weight * two)
        return a

    @loop.step
    def pair_mumu(triggered, muon, p):
        a, b = heaviest(muon, p)
        if b >= 0:
            return mass(muon, a, b)

    @loop.step
    def veto(pair_mumu, event, cut, mumu, pair_ee=None):
        if pair_ee is None:
            cut.mumu("alone")
            mumu.fill(pair_mumu, event.weight)

    @loop.step
    def first_electron(electron, leading):
        if len(electron) > 0:
            leading.fill(electron.pt[0])

    return loop


LOOP = make_loop()
PARAMETERS = {"pt_min_gev": 20.0, "eta_max": 2.0, "size": 1.5}


def sample(seed, n=60):
    rng = np.random.default_rng(seed)
    collections = {}
    for name in ("electron", "muon"):
        counts = rng.poisson(1.7, n)
        size = int(counts.sum())
        collections[name] = Collection(
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            {
                "pt": rng.exponential(40.0, size).astype(np.float32),
                "eta": rng.normal(0.0, 1.5, size).astype(np.float32),
                "id": rng.integers(0, 4, size).astype(np.uint8),
            },
        )
    event = {"weight": rng.normal(1.0, 0.3, n), "fired": rng.random(n) < 0.8}
    return collections, event


def run(loop, n, collections, event, **more):
    return loop.run(n, collections=collections, event=event, parameters=PARAMETERS, **more)


@given(st.integers(0, 2**32))
def test_every_variation_is_a_pass_of_its_own(seed):
    collections, event = sample(seed)
    filled = run(LOOP, 60, collections, event, variations=LOOP.variations)
    edges = {"ee": EDGES, "mumu": EDGES, "leading": [0.0, 50.0, 100.0]}
    for variation in LOOP.variations:
        histograms, cuts, counts = run_plainly(LOOP, edges, 60, collections, event, PARAMETERS, variation)
        for name, sums in histograms.items():
            made = filled.histograms[name]
            row = made.variations.index(variation) if variation in made.variations else 0
            assert made.sums[row] == pytest.approx(sums[0], rel=1e-12, abs=1e-12), (name, variation)
            assert made.squares[row] == pytest.approx(sums[1], rel=1e-12, abs=1e-12)
        if variation == "nominal":
            flat = {(channel, cut): n for channel, all_cuts in filled.cutflow.items() for cut, n in all_cuts.items()}
            assert {k: v for k, v in flat.items() if v} == cuts
            assert {k: v for k, v in filled.counters.items() if v} == counts


def test_histograms_have_rows_for_what_can_change_them_alone():
    collections, event = sample(1)
    filled = run(LOOP, 60, collections, event, variations=LOOP.variations)
    assert filled.histograms["ee"].variations == ("nominal", "e_up", "e_down", "both", "e_eta")
    assert filled.histograms["mumu"].variations == LOOP.variations
    some = run(LOOP, 60, collections, event, variations=("nominal", "m_up"))
    assert some.histograms["ee"].variations == ("nominal",)
    assert np.array_equal(some.histograms["mumu"].sums[1], filled.histograms["mumu"].sums[5])


@settings(max_examples=5)
@given(st.integers(0, 2**32))
def test_a_weight_alone_varied_is_a_run_with_that_weight(seed):
    collections, event = sample(seed)
    rng = np.random.default_rng(seed)
    vector = rng.normal(1.0, 0.1, (60, 7))
    given_weights = {"pdf": vector, "alpha_s": rng.normal(1.0, 0.1, 60)}
    filled = run(LOOP, 60, collections, event, variations=("nominal", "both"), weights=given_weights)
    factors = {**{f"pdf_{k}": vector[:, k] for k in range(7)}, "alpha_s": given_weights["alpha_s"]}
    plain = run(LOOP, 60, collections, event, variations=("nominal", "both"))
    for h in ("ee", "mumu"):
        made = filled.histograms[h]
        assert made.variations == ("nominal", "both", *factors)
        assert np.array_equal(made.sums[:2], plain.histograms[h].sums)
        for k, values in enumerate(factors.values()):
            alone = run(LOOP, 60, collections, {**event, "weight": event["weight"] * values})
            assert made.sums[2 + k] == pytest.approx(alone.histograms[h].sums[0], rel=1e-12, abs=1e-12)
            assert made.squares[2 + k] == pytest.approx(alone.histograms[h].squares[0], rel=1e-12, abs=1e-12)


def test_threads_share_a_loop_and_agree():
    collections, event = sample(3, 5000)
    results = [None] * 4

    def work(k):
        results[k] = run(LOOP, 5000, collections, event, variations=LOOP.variations)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in results[1:]:
        assert np.array_equal(other.histograms["ee"].sums, results[0].histograms["ee"].sums)


def test_no_events():
    collections, event = sample(1, 0)
    filled = run(LOOP, 0, collections, event, variations=LOOP.variations)
    assert not filled.histograms["ee"].sums.any()
    assert filled.cutflow == {"all": {"events": 0, "fired": 0}, "ee": {"pair": 0}, "mumu": {"alone": 0}}


def test_what_a_loop_reads_is_known_before_it_runs():
    assert set(LOOP.needs()) == {
        *("electron.pt", "electron.eta", "muon.pt", "muon.id", "muon.eta"),
        *("event.weight", "event.fired"),
    }


PROGRAM = """
import os
import numpy as np
from vrecompute.kernels.loop.chunk import Collection
from vrecompute.kernels.eventloop import EventLoop

loop = EventLoop(high=[0.0, 2.0, 4.0], low=[0.0, 2.0])

@loop.vary("muon.pt", up=1.0)
def scaled(muon, i, shift):
    return muon.pt[i] + shift

@loop.step
def first(muon, high):
    if len(muon) > 0:
        high.fill(muon.pt[0])
        return 1.0

@loop.step
def second(muon, low, first=None):
    if first is None:
        low.fill(len(muon))

before = os.listdir(os.environ["VRECOMPUTE_CACHE"])
muon = Collection(np.array([0, 1, 1]), {"pt": np.array([1.5], dtype=np.float32)})
filled = loop.run(2, collections={"muon": muon}, variations=loop.variations)
built = next(iter(loop._built.values()))
print(before, sum(built.run.stats.cache_hits.values()), filled.histograms["high"].sums.tolist())
"""


def test_the_second_process_compiles_nothing_and_import_writes_nothing(tmp_path):
    """The generated text, hence the file's name, may not depend on the hash seed of a process."""
    (tmp_path / "program.py").write_text(PROGRAM)
    outputs = []
    for seed in ("1", "2"):
        environment = {**os.environ, "VRECOMPUTE_CACHE": str(tmp_path / "cache"), "PYTHONHASHSEED": seed}
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        (tmp_path / "cache").mkdir(exist_ok=True)
        command = [sys.executable, str(tmp_path / "program.py")]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout.strip())
    sums = "[[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]"
    (folder,) = (tmp_path / "cache").iterdir()
    assert folder.name.startswith("compiled-")
    assert outputs == [f"[] 0 {sums}", f"['{folder.name}'] 1 {sums}"]
    assert len(list(folder.rglob("*loop_*.py"))) == 1


# What can be wrong in a function, and what is said about it.
def bad_columns(loop):
    @loop.step
    def step(muon, mass):
        mass.fill(muon.pt)

    return "muon.pt is a column: give it an index"


def bad_return(loop):
    @loop.step
    def step(muon):
        if len(muon) > 1:
            return 1.0, 2.0
        return 1.0

    return "returns 1 values in one place and 2 in another"


def bad_order(loop):
    @loop.step
    def step(later):
        return later

    @loop.step
    def later(muon):
        return len(muon)

    return "names 'later', which returns nothing or comes later"


def bad_global(loop):
    table = {"a": 1.0}

    @loop.step
    def step(muon, mass):
        mass.fill(table["a"])

    return "'table' is a dict, which a compiled loop cannot hold"


def bad_name(loop):
    @loop.step
    def step(muon, mass):
        mass.fill(muon.pt[0] * unknown)  # noqa: F821

    return "'unknown' is not defined"


def bad_index(loop):
    @loop.step
    def step(muon, mass):
        mass.fill(muon.pt[-1])

    return "muon.pt[-1]: the objects of an event count from 0"


def bad_assignment(loop):
    @loop.step
    def step(muon, mass):
        muon = 1.0
        mass.fill(muon)

    return "assigns to 'muon'"


def bad_cut(loop):
    @loop.step
    def step(muon, cut):
        cut.mumu(len(muon))

    return 'write cut.mumu("name of the cut")'


def bad_once(loop):
    @loop.vary("muon.pt", up=1.0)
    def vary(muon, i, shift):
        return muon.pt[i] + shift

    @loop.once
    def helper(muon, i):
        return muon.pt[i]

    @loop.step
    def step(muon, mass):
        mass.fill(helper(muon, 0))

    return "computed once per event, so it may not read muon.pt"


@pytest.mark.parametrize(
    "wrong",
    [bad_columns, bad_return, bad_order, bad_global, bad_name, bad_index, bad_assignment, bad_cut, bad_once],
    ids=lambda f: f.__name__,
)
def test_a_function_that_cannot_be_part_of_a_loop_is_named_with_its_line(wrong):
    loop = EventLoop(mass=EDGES)
    message = wrong(loop)
    with pytest.raises(UsageError) as caught:
        loop.needs()
    said = str(caught.value)
    assert message in said
    file, line = said.split(": ")[0].rsplit(":", 1)
    assert Path(file) == Path(__file__)
    first = wrong.__code__.co_firstlineno
    assert first < int(line) < first + 20


def test_what_numba_cannot_type_is_one_sentence_with_line_and_column():
    loop = EventLoop(mass=EDGES)

    @loop.step
    def step(muon, mass):
        for i in range(len(muon)):
            x = muon.pt[i] << 3
            mass.fill(x)

    line = step.__code__.co_firstlineno + 3
    collections, _ = sample(1)
    with pytest.raises(AnalysisError) as caught:
        loop.run(60, collections={"muon": collections["muon"]})
    said = str(caught.value)
    assert said.startswith(f"{__file__}:{line}: ")
    assert "muon.pt (float32)" in said
    assert "\n" not in said


def test_an_array_made_in_a_loop_is_refused_in_words():
    loop = EventLoop(mass=EDGES)

    @loop.step
    def step(muon, mass):
        momenta = [muon.pt[i] for i in range(len(muon))]
        mass.fill(momenta[0])

    line = step.__code__.co_firstlineno + 2
    with pytest.raises(AnalysisError, match=rf":{line}: .*holds numbers alone"):
        loop.run(60, collections={"muon": sample(1)[0]["muon"]})


def test_what_is_missing_is_named_with_the_line_that_reads_it():
    collections, event = sample(1)
    columns = {n: v for n, v in collections["electron"].columns.items() if n != "eta"}
    less = {**collections, "electron": Collection(collections["electron"].offsets, columns)}
    message = r"test_eventloop\.py:\d+: column electron\.eta is not given; given are pt, id"
    with pytest.raises(UsageError, match=message):
        run(LOOP, 60, less, event)
    with pytest.raises(UsageError, match=r"event\.fired is not given"):
        run(LOOP, 60, collections, {"weight": event["weight"]})
    some = {"pt_min_gev": 1.0, "size": 1.0}
    with pytest.raises(UsageError, match=r"parameter p\.eta_max is not given"):
        LOOP.run(60, collections=collections, event=event, parameters=some)
    with pytest.raises(UsageError, match="no function has the variation 'e_upp'"):
        run(LOOP, 60, collections, event, variations=("nominal", "e_upp"))
    with pytest.raises(UsageError, match="59 values for 60 events"):
        run(LOOP, 60, collections, {**event, "fired": event["fired"][:-1]})


def test_a_cache_that_cannot_be_written_costs_time_and_no_result(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VRECOMPUTE_CACHE", str(tmp_path / "file"))
    loop = EventLoop(unwritten=EDGES)

    @loop.step
    def step(muon, unwritten):
        unwritten.fill(len(muon))

    events = sample(1)[0]
    assert loop.run(60, collections=events).histograms["unwritten"].sums.sum() > 0


def test_a_lambda_is_no_step():
    loop = EventLoop()
    loop.step(lambda muon: len(muon))
    with pytest.raises(UsageError, match="not a plain function"):
        loop.needs()


def test_a_function_defined_again_replaces_itself():
    loop = EventLoop(mass=EDGES)

    @loop.step
    def step(muon):
        return muon.pt[0]

    assert loop.needs() == ("muon.pt",)

    @loop.step
    def step(muon):  # noqa: F811
        return muon.eta[0]

    for shift in (0.1, 0.2):

        @loop.vary("muon.eta", up=shift)
        def vary(muon, i, shift):
            return muon.eta[i] + shift

    assert loop.needs() == ("muon.eta",)
    assert loop.variations == ("nominal", "up")
    assert list(loop._shifts().values()) == [{"up": 0.2}]


def test_what_is_compiled_ahead_serves_any_arrays_of_those_types():
    loop = EventLoop(ahead=EDGES)

    @loop.step
    def step(muon, event, ahead):
        for i in range(len(muon)):
            ahead.fill(muon.pt[i], event.weight)

    with pytest.raises(UsageError, match=r"the type of muon\.pt is not given"):
        loop.compile()
    loop.compile(muon__pt="float32")
    (built,) = loop._built.values()
    before = sum(built.run.stats.cache_hits.values()) + sum(built.run.stats.cache_misses.values())
    frozen = np.frombuffer(np.array([20.0, 30.0, 40.0], np.float32).tobytes(), np.float32)
    strided = np.repeat(frozen, 2)[::2]
    unaligned = np.frombuffer(b"." + frozen.tobytes(), np.float32, offset=1)
    for pt in (frozen, frozen.copy(), strided, unaligned):
        muon = Collection(np.array([0, 1, 3]), {"pt": pt})
        filled = loop.run(2, collections={"muon": muon}, event={"weight": np.ones(2)})
        assert filled.histograms["ahead"].sums.sum() == 3.0
    assert list(loop._built.values()) == [built]
    assert sum(built.run.stats.cache_hits.values()) + sum(built.run.stats.cache_misses.values()) == before == 1


def test_what_is_computed_once_is_kept_for_the_very_numbers():
    subject = EventLoop()

    @subject.once
    def scaled(muon, factor):
        return factor * len(muon)

    @subject.step
    def step(muon, count):
        for factor in (0.5, 0.0, 0.75, 0.25):
            count.x(scaled(muon, factor))

    assert subject.run(60, collections=sample(1)[0]).counters["x"] == 1.5 * sample(1)[0]["muon"].offsets[-1]
