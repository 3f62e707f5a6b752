"""`client.map`: an unchanged function over the events of each chunk, and what names its work."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import awkward as ak
import boost_histogram as bh
import numpy as np
import pytest
import uproot

from tests.events import write_events
from vrecompute import Array, Client, OptionalColumn, Result
from vrecompute.analysis.codedigest import code_of
from vrecompute.analysis.mapping import MapAnalysis, as_result
from vrecompute.errors import AnalysisError, Incomplete

pytestmark = pytest.mark.usefixtures("lent_workers")

CHUNK_BYTES = 3400
THRESHOLD = 20.0
EDGES = np.linspace(0, 200, 11)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Client(workers=1, threads=2, store=tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("events")
    return [str(write_events(folder / f"{seed}.root", 400, seed=seed, clusters=4)) for seed in (1, 2)]


@pytest.fixture(scope="module")
def events(files):
    """All events as the user would read them without vrecompute, in the order of the plan's sources."""
    return ak.concatenate([uproot.open(f)["Events"].arrays(["run", "weight", "Muon_pt"]) for f in files])


def mapped(client, function, files, **options):
    options = {"columns": ["Muon_pt", "weight"], "chunk_bytes": CHUNK_BYTES, "task_chunks": 1} | options
    run = client.map(function, files, **options)
    return run, run.result(timeout_s=60)["events"]


def spectrum(events):
    histogram = bh.Histogram(bh.axis.Variable(EDGES))
    histogram.fill(ak.flatten(events.Muon_pt))
    return histogram


def selected(pt):
    return pt > THRESHOLD


def count(events):
    return int(ak.sum(selected(events.Muon_pt)))


def test_a_histogram(client, files, events):
    run, result = mapped(client, spectrum, files)
    assert run.report().chunks.total == 8
    assert np.array_equal(result.histograms["value"].values(), spectrum(events).values())


def test_a_number_adds_up(client, files, events):
    assert mapped(client, count, files)[1].counters == {"value": count(events)}


def test_an_array_is_joined_or_added(client, files, events):
    joined = mapped(client, lambda events: events.weight, files)[1].arrays["value"].values
    assert np.array_equal(np.sort(joined), np.sort(ak.to_numpy(events.weight)))
    added = mapped(client, lambda events: np.array([len(events), 1]), files, combine="sum")[1].arrays["value"].values
    assert added.tolist() == [800, 8]


def test_a_mapping_of_several(client, files, events):
    def several(events):
        return {"pt": spectrum(events), "n": len(events), "weights": np.array([ak.sum(events.weight)])}

    result = mapped(client, several, files, combine="sum")[1]
    assert result.counters == {"n": 800}
    assert result.histograms["pt"].sum() == spectrum(events).sum()
    assert result.arrays["weights"].values == pytest.approx([ak.sum(events.weight)])


def test_a_result_stays_as_it_is(client, files):
    def with_cutflow(events):
        return Result(cutflow={"mu": {"all": float(len(events))}}, arrays={"one": Array(np.ones(2))})

    result = mapped(client, with_cutflow, files)[1]
    assert result.cutflow == {"mu": {"all": 800.0}}
    assert result.arrays["one"].values.tolist() == [8, 8]


def test_columns_instead_of_awkward(client, files, events):
    result = mapped(client, lambda columns: float(len(columns.flat("Muon_pt"))), files, takes="columns")[1]
    assert result.counters["value"] == len(ak.flatten(events.Muon_pt))


def test_all_columns_where_none_are_named(client, files):
    assert mapped(client, lambda events: len(events.fields) * len(events), files, columns=None)[1].counters == {
        "value": 4 * 800  # nMuon, Muon_pt, weight, run
    }


def test_a_closure_is_part_of_the_work(client, files, events):
    def above(cut_gev):
        return lambda events: int(ak.sum(events.Muon_pt > cut_gev))

    for cut_gev in (20, 60):
        run, result = mapped(client, above(cut_gev), files)
        assert result.counters["value"] == int(ak.sum(events.Muon_pt > cut_gev))
        assert run.report().chunks.reused == 0
    assert mapped(client, above(20), files)[0].report().chunks.reused == 8


def test_the_same_function_computes_nothing_again(client, files, monkeypatch):
    first = mapped(client, count, files)[1]
    run, again = mapped(client, count, files)
    assert (run.report().chunks.computed, run.report().chunks.reused) == (0, 8)
    assert again.counters == first.counters


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda events: None, "mapped function returned NoneType for 'value'.*a number"),
        (lambda events: {"x": "text"}, "returned str for 'x'"),
        (lambda events: events.Muon_pt, "returned Array for 'value'"),
        (lambda events: events.Moun_pt, "Moun_pt"),
        (lambda events: 1 / 0, r"test_mapping\.py:[0-9]+ in <lambda>: ZeroDivisionError: division by zero"),
    ],
)
def test_errors_name_file_and_reason(client, files, function, reason):
    run = client.map(function, files, columns=["Muon_pt"])
    with pytest.raises(Incomplete, match=rf"(?s)\.root.*code: .*{reason}"):
        run.result(timeout_s=60)
    assert run.exit_code == 4


def test_a_function_without_source_runs_and_is_never_reused(client, files):
    scope: dict[str, object] = {}
    exec("def f(events): return len(events)", scope)
    for _ in range(2):
        run, result = mapped(client, scope["f"], files)
        assert result.counters["value"] == 800
        assert run.report().chunks.reused == 0
        (warning,) = run.report().warnings
        assert "will not be reused by another run" in warning
        assert "main: f() has no source: define it in a file or a notebook cell" in warning


def function_digest(function):
    return code_of(function).digest


def digest_with(name, value):
    kept = globals()[name]
    try:
        globals()[name] = value
        return function_digest(count), function_digest(spectrum)
    finally:
        globals()[name] = kept


def other_selected(pt):
    return pt > 2 * THRESHOLD


def test_what_a_function_reaches_is_in_its_digest():
    count_digest, spectrum_digest = function_digest(count), function_digest(spectrum)
    assert digest_with("THRESHOLD", 21.0)[0] != count_digest  # through a helper
    assert digest_with("selected", other_selected)[0] != count_digest
    assert digest_with("EDGES", EDGES + 1)[1] != spectrum_digest
    assert digest_with("EDGES", EDGES.copy())[1] == spectrum_digest
    assert digest_with("CHUNK_BYTES", 1) == (count_digest, spectrum_digest)  # not reached


def test_partials_defaults_comprehensions_and_lambdas_are_told_apart():
    def scaled(events, factor=1.0):
        return [selected(x) * factor for x in events]

    def made(cut):
        def inner(events, cut=cut):
            return events > cut

        return inner

    digests = [
        function_digest(f)
        for f in (
            scaled,
            functools.partial(scaled, factor=2.0),
            functools.partial(scaled, factor=3.0),
            made(1),
            made(2),
            *(lambda e: e + 1, lambda e: e - 1),
        )
    ]
    assert len(set(digests)) == len(digests)
    assert function_digest(scaled) != digest_of_with_global(scaled, "selected", other_selected)


def digest_of_with_global(function, name, value):
    kept = globals()[name]
    try:
        globals()[name] = value
        return function_digest(function)
    finally:
        globals()[name] = kept


def test_what_has_no_content_to_name_is_never_reused():
    opened = sys.stdout

    def shows(events):
        print(len(events), file=opened)
        return 1

    assert function_digest(shows) != function_digest(shows)


def test_digests_are_equal_in_another_process(tmp_path):
    helper = tmp_path / "mapped_helper.py"
    helper.write_text(
        "import numpy as np\nEDGES = {'a': np.arange(3)}\nNAMES = frozenset('abcdef')\n"
        "def f(events):\n    return len(events) * EDGES['a'][0] + len(NAMES)\n"
    )
    code = "import mapped_helper, vrecompute.analysis.codedigest as d; print(d.code_of(mapped_helper.f).digest)"
    environment = {"PYTHONPATH": ":".join([str(tmp_path), *sys.path]), "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    printed = {
        subprocess.check_output([sys.executable, "-c", code], text=True, env={**environment, "PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    helper.write_text(helper.read_text().replace("arange(3)", "arange(4)"))
    assert subprocess.check_output([sys.executable, "-c", code], text=True, env=environment) not in printed


def test_map_parameters_are_part_of_the_work():
    first, second = (MapAnalysis(count, ["Muon_pt"], combine) for combine in ("concat", "sum"))
    assert first.process_parameters() != second.process_parameters()
    assert first.code().digest == second.code().digest


def test_an_array_of_no_dimension_is_a_number_and_adds_up(client, files, events):
    def numbers(events):
        weight = ak.to_numpy(events.weight)
        return {
            "sum": np.asarray(np.sum(weight)),
            "n": np.array(len(weight)),
            "yes": np.array(True),
            "half": np.float32(0.5),
        }

    run, result = mapped(client, numbers, files)
    chunks = run.report().chunks.total
    assert (result.arrays, chunks > 1) == ({}, True)
    assert result.counters["sum"] == pytest.approx(float(ak.sum(events.weight)), rel=1e-12)
    assert {n: result.counters[n] for n in ("n", "yes", "half")} == {
        "n": len(events),
        "yes": chunks,
        "half": chunks / 2,
    }


def test_columns_that_files_may_lack_are_as_those_of_an_analysis(client, files, events):
    def fired(events):
        return {"fired": int(np.sum(events.flat("fired"))), "named": int("absent" in events.names)}

    wanted = ["Muon_pt", OptionalColumn("HLT_Mu9", "fired", absent=False), OptionalColumn("absent")]
    with_path = [str(Path(files[0]).with_name("fired.root")), files[0]]
    with uproot.recreate(with_path[0]) as file:
        file["Events"] = {"fired": np.arange(30) % 3 == 0, "Muon_pt": np.ones((30, 2), np.float32)}
    keys = []
    for absent in (False, True):
        wanted[1] = OptionalColumn("HLT_Mu9", "fired", absent=absent)
        for _ in range(2):
            run, result = mapped(client, fired, with_path, columns=list(wanted), takes="columns")
            assert result.counters == {"fired": 10 + 400 * absent, "named": 0}
            keys.append(run.report().chunks.computed > 0)
    assert keys == [True, False, True, False]


@pytest.mark.parametrize("columns", ["weight", {"weight"}, OptionalColumn("weight"), (n for n in ["weight"])])
def test_a_single_column_is_one(client, files, events, columns):
    assert mapped(client, lambda e: len(e.fields), files, columns=columns)[0].report().status == "complete"


@pytest.mark.parametrize(
    ("columns", "said"),
    [([3], "have 3"), ([["weight"]], "have ..weight"), (3, "are 3"), ([OptionalColumn(3)], "have Opt")],
)
def test_what_is_no_column_is_said_at_once(client, files, columns, said):
    with pytest.raises(AnalysisError, match=f"columns of a mapped function {said}"):
        client.map(count, files, columns=columns)


@pytest.mark.parametrize("value", [np.timedelta64(3, "s"), np.datetime64("2020-01-01")])
def test_a_time_is_no_number_and_is_refused_by_name(value):
    with pytest.raises(AnalysisError, match=rf"the mapped function returned {type(value).__name__} for 'n'"):
        as_result({"n": value}, "concat")
