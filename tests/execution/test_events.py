"""What a dataset says of its events holds for every analysis: certified sections, unit, weights, entries."""

from __future__ import annotations

import json
import re
from pathlib import Path

import awkward as ak
import jsonschema
import numpy as np
import pyarrow.dataset
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from vrecompute import Client
from vrecompute.datasets.columns import Column, Columns
from vrecompute.datasets.dataset import Sample
from vrecompute.errors import AnalysisError, BadInput, DatasetError
from vrecompute.execution.events import count_certified, events_given, sum_of_weights
from vrecompute.execution.reading import Reading
from vrecompute.reports import report
from vrecompute.reports.html import page
from vrecompute.results.result import Result

pytestmark = pytest.mark.usefixtures("lent_workers")

EVENTS = 600
GOLDEN = {"1": [[2, 4]], "3": [[1, 1], [9, 9]]}
SPECTRUM = """
import boost_histogram as bh
import numpy as np

from vrecompute import Analysis, Result


class Spectrum(Analysis):
    name = "spectrum"
    momenta = ("Muon_pt",)

    def columns(self, source):
        return ["Muon_pt"]

    def process(self, events):
        histogram = bh.Histogram(bh.axis.Regular(10, 0, 100), storage=bh.storage.Weight())
        histogram.fill(events.flat("Muon_pt"))
        rows = {"entry": events.entries, "muons": np.diff(events.offsets("Muon"))}
        return Result(histograms={"pt": histogram}, cutflow={"mu": {"events": len(events)}}, tables={"rows": rows})
"""
RESOURCES = """
from pathlib import Path

from vrecompute import Analysis, Result

HERE = Path({folder!r})
NAMES = ("pileup:2018", "certified", "certified:s", "source:analysis", "source:beside/x.py", "a b/../c")


class Resources(Analysis):
    name = "resources"

    def columns(self, source):
        return ["Muon_pt"]

    def resources(self):
        return dict.fromkeys(NAMES, HERE / "weights.json") | {{"pileup:2018": HERE / "pileup.json"}}

    def process(self, events):
        found = {{name: float(path.read_text()) * len(events) for name, path in events.resources.items()}}
        return Result(counters=found)
"""
LOOP = """
import numpy as np

from vrecompute import Analysis
from vrecompute.eventloop import declared_columns, run_loop
from vrecompute.kernels.eventloop import EventLoop

loop = EventLoop(pt=np.linspace(0.0, 100.0, 11))


@loop.step
def fill(muon, pt, cut):
    cut.mu("events")
    for i in range(len(muon)):
        pt.fill(muon.pt[i])


class Loop(Analysis):
    name = "loop"
    momenta = ("Muon_pt",)

    def columns(self, source):
        return declared_columns(loop, {"muon": "Muon_{}"}, source)

    def process(self, events):
        return run_loop(loop, events, {"muon": "Muon_{}"})
"""


def write(path: Path, events: int = EVENTS, *, unit_gev: float = 1.0, **more) -> dict[str, np.ndarray]:
    """A file with run, luminosityBlock, Muon_pt and `more` columns; gives what is in it."""
    random = np.random.default_rng(7)
    counts = random.poisson(1.5, events)
    values = {
        "run": random.integers(1, 4, events).astype(np.uint32),
        "luminosityBlock": random.integers(1, 10, events).astype(np.uint32),
    } | more
    pt = (random.gamma(2.0, 20.0, counts.sum()) / unit_gev).astype(np.float32)
    with uproot.recreate(path) as file:
        arrays = {n: v for n, v in values.items() if isinstance(v, np.ndarray)}
        types = dict.fromkeys(values, "var * float32") | {
            n: np.dtype((v.dtype, v.shape[1:])) for n, v in arrays.items()
        }
        file.mktree("Events", {**types, "Muon": "var * {pt: float32}"})
        file["Events"].extend({**values, "Muon": ak.zip({"pt": ak.unflatten(pt, counts)})})
    return values | {"counts": counts, "pt": pt}


def dataset(folder: Path, **keys) -> str:
    path = folder / "d.yaml"
    sample = {"name": "s", "files": ["a.root"]} | keys
    path.write_text(json.dumps({"schema": 1, "name": "d", "luminosity_ifb": 1.0, "samples": [sample]}))
    return str(path)


def certified(values) -> np.ndarray:
    run, section = values["run"], values["luminosityBlock"]
    return ((run == 1) & (section >= 2) & (section <= 4)) | ((run == 3) & np.isin(section, [1, 9]))


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Client(workers=1, store=tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture
def spectrum(tmp_path) -> str:
    (tmp_path / "spectrum.py").write_text(SPECTRUM)
    return str(tmp_path / "spectrum.py")


def test_every_kind_of_analysis_gets_certified_events_alone(client, spectrum, tmp_path):
    values = write(tmp_path / "a.root")
    good = certified(values)
    (tmp_path / "golden.json").write_text(json.dumps(GOLDEN))
    data = dataset(tmp_path, is_data=True, certified="golden.json")
    (tmp_path / "loop.py").write_text(LOOP)
    muons = np.repeat(good, values["counts"])
    runs = {kind: client.run(kind, data, chunk_bytes=2000) for kind in (spectrum, str(tmp_path / "loop.py"))}
    runs["map"] = client.map(lambda events: ak.count(events.Muon_pt), data, columns=["Muon_pt"], chunk_bytes=2000)
    for kind, run in runs.items():
        told = run.report(timeout_s=120)
        assert told.chunks.total > 2
        assert (told.status, told.events.seen, told.events.expected) == ("complete", EVENTS, EVENTS)
        assert told.cutflow["certified"] == {"events": EVENTS, "certified": good.sum()}, kind
        assert "certified: events 600 > certified" in report.summary_text(told)
        total = run.result()["s"]
        if kind == "map":
            assert total.counters["value"] == muons.sum()
        else:
            assert total.cutflow["mu"]["events"] == good.sum()
            assert total.histograms["pt"].sum(flow=True).value == muons.sum()
    rows = pyarrow.dataset.dataset(runs[spectrum].tables("rows")).to_table()
    assert rows["entry"].to_pylist() == np.flatnonzero(good).tolist()
    assert rows["muons"].to_pylist() == values["counts"][good].tolist()


def test_a_list_without_a_certified_event_is_a_warning_and_a_list_without_columns_an_error(client, spectrum, tmp_path):
    write(tmp_path / "a.root")
    golden = tmp_path / "golden.json"
    golden.write_text('{"99": [[1, 2]]}')
    told = client.run(spectrum, dataset(tmp_path, is_data=True, certified="golden.json")).report(timeout_s=60)
    assert told.status == "complete"
    assert "sample 's': no event passes the selection of channel 'certified'" in told.warnings
    with uproot.recreate(tmp_path / "a.root") as file:
        file["Events"] = {"Muon_pt": ak.Array([[1.0], []]), "run": np.ones(2)}
    told = client.run(spectrum, dataset(tmp_path, is_data=True, certified="golden.json")).report(timeout_s=60)
    assert (told.status, told.failures[0].kind) == ("failed", "missing-column")
    assert "no columns of run and luminosity section (run, luminosityBlock;" in told.failures[0].reason
    golden.write_text("[]")
    with pytest.raises(DatasetError, match="not a list of certified luminosity sections"):
        client.run(spectrum, dataset(tmp_path, is_data=True, certified="golden.json"))


def test_momenta_are_given_in_gev(client, spectrum, tmp_path):
    values = write(tmp_path / "a.root", unit_gev=0.001)
    (tmp_path / "loop.py").write_text(LOOP)
    expected, _ = np.histogram(values["pt"] / np.float32(1000.0), np.linspace(0, 100, 11))
    assert expected.sum() > 100
    for analysis in (spectrum, str(tmp_path / "loop.py")):
        run = client.run(analysis, dataset(tmp_path, unit="MeV"))
        assert not [w for w in run.report(timeout_s=60).warnings if "MeV" in w]
        histogram = run.result()["s"].histograms["pt"]
        assert histogram.values().reshape(-1, 10)[0].tolist() == expected.tolist()


def test_a_mapped_function_may_declare_momenta(client, tmp_path):
    values = write(tmp_path / "a.root", unit_gev=0.001)
    in_mev = dataset(tmp_path, unit="MeV")
    run = client.map(lambda e: ak.flatten(e.Muon_pt), in_mev, columns=["Muon_pt"], momenta=["Muon_pt"])
    assert not [w for w in run.report(timeout_s=60).warnings if "MeV" in w]
    got = run.result()["s"].arrays["value"].values
    assert sorted(got.tolist()) == sorted((values["pt"] / np.float32(1000.0)).tolist())
    plain = client.map(lambda e: ak.flatten(e.Muon_pt), in_mev, columns=["Muon_pt"], reads_unit=True)
    assert not [w for w in plain.report(timeout_s=60).warnings if "MeV" in w]
    assert sorted(plain.result()["s"].arrays["value"].values.tolist()) == sorted(values["pt"].tolist())


def test_momenta_of_a_dataset_without_a_unit_are_taken_as_gev_with_one_warning(client, tmp_path):
    write(tmp_path / "a.root")
    write(tmp_path / "b.root", 60)
    unknown = tmp_path / "unknown.yaml"
    unknown.write_text("schema: 1\nsamples:\n- {name: s, files: [a.root]}\n- {name: t, files: [b.root]}\n")
    run = client.map(lambda e: len(e), str(unknown), columns=["Muon_pt"], momenta=["Muon_pt"])
    (warning,) = run.report(timeout_s=60).warnings
    assert warning == (
        "the dataset gives no unit of momenta for 's', 't', and Muon_pt is taken to be in GeV; "
        "write `unit: GeV` or `unit: MeV` in its YAML"
    )
    plain = client.map(lambda e: len(e), str(unknown), columns=["Muon_pt"])
    assert plain.report(timeout_s=60).warnings == (), "what is no momentum for anybody has no unit"


def test_momenta_that_no_analysis_names_are_a_warning(client, spectrum, tmp_path):
    write(tmp_path / "a.root")
    Path(spectrum).write_text(SPECTRUM.replace('    momenta = ("Muon_pt",)\n', ""))
    in_mev, in_gev = dataset(tmp_path, unit="MeV"), tmp_path / "gev.yaml"
    run = client.run(spectrum, in_mev)
    (warning,) = run.report(timeout_s=60).warnings
    assert warning.startswith("sample 's': momenta are in MeV, and analysis 'spectrum' reads them unconverted")
    assert warning in report.summary_text(run.report())
    assert "momenta are in MeV" in page(run.report())
    assert warning in json.loads(report.dumps(run.report()))["warnings"]
    mapped = client.map(lambda events: len(events), in_mev, columns=["Muon_pt"])
    assert "analysis 'map' reads them unconverted" in mapped.report(timeout_s=60).warnings[0]
    in_gev.write_text(Path(in_mev).read_text().replace("MeV", "GeV"))
    assert client.run(spectrum, str(in_gev)).report(timeout_s=60).warnings == ()
    Path(spectrum).write_text(SPECTRUM.replace('("Muon_pt",)', '("Muon_pT",)'))
    told = client.run(spectrum, in_mev).report(timeout_s=60)
    assert "lists Muon_pT in `momenta`, but not in `columns`" in told.failures[0].reason


WEIGHTED = SPECTRUM.replace('["Muon_pt"]', '["Muon_pt", "w"]')


def weights(kind: str) -> np.ndarray | ak.Array:
    w = np.full(EVENTS, 2.0, np.float32)
    if kind in ("nan", "inf"):
        w[321] = float(kind)
    if kind == "negative":
        w[::2] = -3.0
    if kind == "zero":
        w[::2] = -2.0
    if kind == "array":
        return np.ones((EVENTS, 3), np.float32)
    if kind == "lists":
        return ak.unflatten(np.ones(EVENTS, np.float32), np.tile([1, 2, 0], EVENTS // 3))
    return w.astype({"bool": bool, "int": np.int32}.get(kind, np.float32))


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("nan", "weight 'w' is nan in event 321"),
        ("inf", "weight 'w' is inf in event 321"),
        ("lists", "weight column 'w' holds lists, 2 values in event 1; it must hold one number per event"),
        ("array", "weight column 'w' holds lists, 3 values in event 0"),
    ],
)
@pytest.mark.parametrize("text", [SPECTRUM, WEIGHTED], ids=["unread", "read"])
def test_a_weight_that_is_not_one_finite_number_is_named(client, spectrum, tmp_path, kind, named, text):
    write(tmp_path / "a.root", w=weights(kind))
    Path(spectrum).write_text(text)
    told = client.run(spectrum, dataset(tmp_path, weight="w", cross_section_pb=1.0)).report(timeout_s=60)
    assert (told.status, told.failures[0].kind) == ("failed", "data")
    assert told.failures[0].file.endswith("a.root")
    assert named in told.failures[0].reason
    jsonschema.validate(json.loads(report.dumps(told)), report.schema())


@pytest.mark.parametrize(
    ("kind", "sum_", "read", "unread"),
    [
        ("float", 2.0 * EVENTS, 1000 / (2.0 * EVENTS), 1000 / EVENTS),
        ("int", 2.0 * EVENTS, 1000 / (2.0 * EVENTS), 1000 / EVENTS),
        ("bool", EVENTS, 1000 / EVENTS, 1000 / EVENTS),
        ("negative", -0.5 * EVENTS, 1000 / (-0.5 * EVENTS), 1000 / EVENTS),
    ],
)
def test_histograms_are_normalised_by_what_they_were_filled_with(client, spectrum, tmp_path, kind, sum_, read, unread):
    write(tmp_path / "a.root", w=weights(kind))
    data = dataset(tmp_path, weight="w", cross_section_pb=1.0)
    for text, scale in ((SPECTRUM, unread), (WEIGHTED, read)):
        Path(spectrum).write_text(text)
        told = client.run(spectrum, data).report(timeout_s=60)
        assert told.status == "complete"
        assert (told.samples[0].sum_of_weights, told.samples[0].scale) == (sum_, pytest.approx(scale, rel=1e-12))
        said = " ".join(told.warnings)
        assert ("does not read the weight 'w'" in said) == (text is SPECTRUM)
        assert ("sum of the weights 'w' is negative" in said) == (sum_ < 0)


def test_a_sum_of_weights_that_is_zero_or_not_of_the_histograms(client, spectrum, tmp_path):
    write(tmp_path / "a.root", w=weights("zero"))
    told = client.run(spectrum, dataset(tmp_path, weight="w", cross_section_pb=1.0)).report(timeout_s=60)
    assert (told.status, told.failures[0].kind) == ("failed", "weights")
    assert "sample 's': its weights 'w' sum to 0" in told.failures[0].reason
    # Of a skim, the number of events is not the number of what was generated, and its sum of weights is no number.
    given = dataset(tmp_path, weight="w", cross_section_pb=1.0, sum_of_weights=5.0)
    told = client.run(spectrum, given).report(timeout_s=60)
    assert (told.status, told.samples[0].scale) == ("complete", None)
    assert "the analysis does not read 'w'" in told.samples[0].unscaled_because
    given = dataset(tmp_path, weight="w", cross_section_pb=1.0, sum_of_weights=-5.0, unit="GeV")
    Path(spectrum).write_text(WEIGHTED)
    told = client.run(spectrum, given).report(timeout_s=60)
    assert told.samples[0].scale == -200.0
    assert told.warnings == ("sample 's': the sum of the weights 'w' is negative (-5)",)


@pytest.mark.parametrize(("said", "which"), [(EVENTS + 1, "fewer"), (EVENTS - 1, "more"), (0, "more")])
def test_another_number_of_events_than_was_said_is_an_error(client, spectrum, tmp_path, said, which):
    write(tmp_path / "a.root")
    files = [{"path": "a.root", "entries": said}]
    told = client.run(spectrum, dataset(tmp_path, files=files)).report(timeout_s=60)
    assert (told.status, told.failures[0].kind) == ("failed", "entries")
    assert told.failures[0].reason == f"it holds {EVENTS} events, {which} than the {said} that the dataset says"


def test_a_file_without_events_is_a_warning_unless_events_were_promised(client, spectrum, tmp_path):
    write(tmp_path / "a.root", 0)
    told = client.run(spectrum, dataset(tmp_path, unit="GeV")).report(timeout_s=60)
    assert told.status == "complete"
    assert told.warnings == (f"{tmp_path / 'a.root'} holds no events",)
    files = [{"path": "a.root", "entries": 5}]
    told = client.run(spectrum, dataset(tmp_path, files=files)).report(timeout_s=60)
    assert (told.status, told.failures[0].kind) == ("failed", "entries")
    assert "it holds 0 events, fewer than the 5" in told.failures[0].reason


@pytest.mark.parametrize("code", [SPECTRUM, LOOP], ids=["process", "loop"])
def test_a_sample_without_events_has_the_names_of_one_with_and_zeros(client, tmp_path, code):
    """It is given one empty chunk, and files without events beside others none."""
    write(tmp_path / "a.root")
    for name in ("b", "c"):
        write(tmp_path / f"{name}.root", 0)
    files = [str(tmp_path / f"{name}.root") for name in "abc"]
    made = str(tmp_path / "made.py")
    Path(made).write_text(code)
    (tmp_path / "d.yaml").write_text(
        "schema: 1\nsamples:\n- {name: full, files: [a.root, b.root]}\n- {name: none, files: [b.root, c.root]}\n"
    )
    ended = client.run(made, str(tmp_path / "d.yaml"))
    told = ended.report(timeout_s=60)
    assert (told.status, told.chunks.total, told.events.seen) == ("complete", 2, EVENTS), told.failures
    full, none = ended.result()["full"], ended.result()["none"]
    for field in ("histograms", "cutflow", "counters", "arrays", "tables"):
        assert getattr(full, field).keys() == getattr(none, field).keys(), field
    assert (none.events, none.sum_of_weights, sum(none.cutflow["mu"].values())) == (0, 0.0, 0.0)
    assert none.histograms["pt"].axes == full.histograms["pt"].axes
    assert not none.histograms["pt"].view(flow=True)["value"].any()
    assert not any("none" in w and "passes" in w for w in told.warnings)
    alone = client.run(made, files[1:]).result(timeout_s=60)["events"]
    assert alone.cutflow == none.cutflow
    again = client.run(made, files[1:]).report(timeout_s=60)
    assert (again.chunks.computed, again.chunks.reused) == (0, 1)
    assert client.explain(made, files[1:]).chunks == 1


def test_what_fails_of_no_events_says_that_there_are_none(client, tmp_path):
    write(tmp_path / "a.root", 0)
    code = SPECTRUM.replace("histogram.fill(", "histogram.fill(events.flat('Muon_pt').max() + ")
    (tmp_path / "largest.py").write_text(code)
    told = client.run(str(tmp_path / "largest.py"), str(tmp_path / "a.root"), on_bad="skip").report(timeout_s=60)
    assert (told.status, [f.kind for f in told.failures]) == ("failed", ["code"])
    assert re.search(
        r"largest.py:\d+ in process: ValueError: zero-size array .*; sample 'events' holds no events, and `process` is "
        "called with none .*: let it take an empty chunk, or leave the sample out",
        told.failures[0].reason,
    )
    (tmp_path / "d.yaml").write_text("schema: 1\nsamples: [{name: s, files: [a.root], weight: Muon_pt}]\n")
    told = client.run(str(tmp_path / "largest.py"), str(tmp_path / "d.yaml")).report(timeout_s=60)
    assert told.failures[0].reason == "weight column 'Muon_pt' holds lists; it must hold one number per event"


def test_a_resource_may_have_any_name_and_is_part_of_what_results_are_filed_under(client, tmp_path):
    good = certified(write(tmp_path / "a.root")).sum()
    (tmp_path / "golden.json").write_text(json.dumps(GOLDEN))
    data = dataset(tmp_path, is_data=True, certified="golden.json")
    (tmp_path / "resources.py").write_text(RESOURCES.format(folder=str(tmp_path)))
    (tmp_path / "weights.json").write_text("2")
    names = ("pileup:2018", "certified", "certified:s", "source:analysis", "source:beside/x.py", "a b/../c")
    for pileup in ("3", "5"):
        (tmp_path / "pileup.json").write_text(pileup)
        run = client.run(str(tmp_path / "resources.py"), data)
        expected = dict.fromkeys(names, 2.0 * good) | {"pileup:2018": float(pileup) * good}
        assert run.result(timeout_s=60)["s"].counters == expected
        assert run.report().cutflow["certified"]["certified"] == good
        assert (run.report().chunks.reused, set(run.manifest.resources)) == (0, set(names))
    assert run.report().recomputed.startswith("resource pileup:2018 changed since run")
    client.attach(run.id).save(tmp_path / "out")  # the file of the run is found among its resources' names


def chunk(mask: list[bool]) -> Columns:
    n = len(mask)
    counts = np.arange(n) % 3
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    columns = {
        "x": Column(np.arange(n)),
        "a_pt": Column(np.arange(offsets[-1]) * 10, offsets),
        "a_eta": Column(np.arange(offsets[-1]) * 1.5, offsets),
        "b": Column(np.arange(2 * n), np.arange(n + 1, dtype=np.int64) * 2),
    }
    return Columns(columns, Sample("s"), 50, 50 + n, place="a.root")


@given(st.lists(st.booleans(), max_size=20))
def test_selected_columns_are_those_of_awkward(mask):
    events = chunk(mask)
    keep = np.array(mask, dtype=bool)
    left = events.select(keep)
    assert ak.to_list(left.awkward) == ak.to_list(events.awkward[keep])
    assert len(left) == keep.sum()
    assert left.entries.tolist() == (50 + np.flatnonzero(keep)).tolist()
    assert left.columns["a_pt"].offsets is left.columns["a_eta"].offsets
    assert left.offsets("a")[0] == 0


def test_run_and_section_columns_and_the_channel_are_the_framework_s_own():
    events = chunk([True, False])
    with pytest.raises(BadInput, match=r"luminosity-section column 'b' holds lists, 2 values in event 50"):
        events_given(
            Columns(events.columns, Sample("s", certified="g"), 50, 52),
            Reading(given=("x",), sections=("b", "x")),
            Path("g"),
        )
    with pytest.raises(KeyError, match="'x' is not a declared column"):
        events_given(events, Reading(given=("b",))).flat("x")
    with pytest.raises(AnalysisError, match="channel 'certified' is reserved"):
        count_certified(Result(cutflow={"certified": {"all": 1.0}}), events, 2)
    with pytest.raises(AnalysisError, match="'b' holds a list per event: `absent` is for columns of one value"):
        events_given(events, Reading(given=("b",), absent={"b": 0}))
    assert sum_of_weights(events, None) == 2.0
    assert sum_of_weights(events, "x") == 1.0
    weighted = Columns({}, Sample("s", weight="w"), 0, 2)
    with pytest.raises(KeyError, match="'w' is not a declared column of this chunk; declare it"):
        weighted.flat("w")


def test_weights_that_add_up_to_more_than_a_number_holds_are_named():
    heavy = Columns({"w": Column(np.full(3, 1e308))}, Sample("s", weight="w"), 5, 8, place="a.root")
    with pytest.raises(BadInput, match=r"a\.root: weights 'w' of the events 5 to 7 add up to inf"):
        sum_of_weights(heavy, "w")


@pytest.mark.parametrize("name", ["run", "luminosityBlock"])
@pytest.mark.parametrize(
    "values",
    [
        *(np.array([1, 2, bad]) for bad in (1.5, float("nan"), float("inf"), -1.0, 2.0**53)),
        np.array([1, 2, 2**24], np.float32),
        np.array([1, 2, -1], np.int32),
    ],
    ids=lambda values: f"{values[-1]}-{values.dtype}",
)
def test_a_run_or_section_that_is_no_whole_number_is_bad_input(tmp_path, name, values):
    (tmp_path / "golden.json").write_text('{"1": [[1, 2]], "2": [[1, 2]]}')
    columns = {"run": Column(np.array([1, 2, 1])), "luminosityBlock": Column(np.array([1, 2, 1])), name: Column(values)}
    events = Columns(columns, Sample("s", certified="g"), 50, 53, place="a.root")
    said = rf"a\.root: luminosity-section column '{name}' is {re.escape(f'{values[2]}')} in event 52; it is no whole"
    with pytest.raises(BadInput, match=said):
        events_given(events, Reading(given=("run",), sections=("run", "luminosityBlock")), tmp_path / "golden.json")


@pytest.mark.parametrize("dtype", ["f4", "f8", "u4", "u8", "i8"])
def test_whole_runs_and_sections_count_whatever_type_holds_them(tmp_path, dtype):
    large = 2**40 if np.dtype(dtype).itemsize == 8 else 2**23
    (tmp_path / "golden.json").write_text(json.dumps({"1": [[1, 2]], str(large): [[7, large]]}))
    columns = {
        "run": Column(np.array([1, 1, large, large, large + 1], dtype)),
        "lumi": Column(np.array([2, 3, large, large + 1, 7], dtype)),
    }
    events = Columns(columns, Sample("s", certified="g"), 50, 55, place="a.root")
    left = events_given(events, Reading(given=("run",), sections=("run", "lumi")), tmp_path / "golden.json")
    assert left.entries.tolist() == [50, 52]
