"""One sample has one selection: what only some of its files have is decided for all of them, and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot
from click import Context
from markupsafe import escape

from vrecompute import Client
from vrecompute.analysis import Analysis, SourceView
from vrecompute.cli.run import run as run_command
from vrecompute.datasets.columns import OptionalColumn
from vrecompute.datasets.dataset import Sample
from vrecompute.errors import AnalysisError, MissingColumn
from vrecompute.execution.reading import reading_of
from vrecompute.reader.handles import USUAL_TREES
from vrecompute.reports.html import page
from vrecompute.reports.report import summary_text

pytestmark = pytest.mark.usefixtures("lent_workers")

DATASETS = Path(__file__).parents[2] / "docs" / "datasets.md"

EVENTS = 100
TRIGGERED = """
from vrecompute import Analysis, OptionalColumn, Result


class Triggered(Analysis):
    name = "triggered"

    def columns(self, source):
        return ["x", OptionalColumn("HLT_A", "HLT_B", absent=False), OptionalColumn("good")]

    def process(self, events):
        keep = events.flat("x") >= 0
        for name in ("HLT_A", "HLT_B"):
            if name in events.names:
                keep &= events.flat(name)
                break
        if "good" in events.names:
            keep &= events.flat("good")
        return Result(cutflow={"all": {"events": len(events), "kept": int(keep.sum())}})
"""
BY_FILE = """
from vrecompute import Analysis, Result


class ByFile(Analysis):
    name = "by_file"

    def columns(self, source):
        return ["x", *(n for n in ("HLT_A",) if n in source.available)]

    def process(self, events):
        kept = events.flat("HLT_A").sum() if "HLT_A" in events.names else len(events)
        return Result(cutflow={"all": {"events": len(events), "kept": int(kept)}})
"""
TENTH = np.arange(EVENTS) % 10 == 0
HALF = np.arange(EVENTS) % 2 == 0


def write(path: Path, **columns) -> str:
    with uproot.recreate(path) as file:
        file["Events"] = {"x": np.arange(EVENTS, dtype=np.float32), **columns}
    return str(path)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Client(workers=1, store=tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture
def triggered(tmp_path) -> str:
    (tmp_path / "triggered.py").write_text(TRIGGERED)
    return str(tmp_path / "triggered.py")


def kept(run) -> float:
    told = run.report(timeout_s=60)
    assert told.status == "complete", told.failures
    return told.cutflow["all"]["kept"]


def test_a_trigger_that_a_file_lacks_did_not_fire_there(client, triggered, tmp_path):
    with_a = write(tmp_path / "a.root", HLT_A=TENTH)
    without = write(tmp_path / "none.root")
    with_b = write(tmp_path / "b.root", HLT_B=HALF)
    run = client.run(triggered, [with_a])
    assert kept(run) == 10
    assert run.report().warnings == ("sample 'events': no file has good, so the analysis runs without it",)
    for files in ([with_a, without], [without, with_a], [with_a, with_b], [with_b, without, with_a]):
        run = client.run(triggered, files)
        assert kept(run) == 10, files
        warning = next(w for w in run.report().warnings if "HLT_A" in w)
        assert f"{len(files) - 1} of {len(files)} files lack HLT_A; it counts as False" in warning
        assert all(f in warning for f in files if f != with_a)
        assert client.run(triggered, files).report(timeout_s=60).chunks.computed == 0
    # Of two the first decides, wherever it is; alone, the other does.
    assert kept(client.run(triggered, [with_b])) == 50
    assert kept(client.run(triggered, [with_b, without])) == 50
    run = client.run(triggered, [without])
    assert kept(run) == EVENTS
    assert "sample 'events': no file has HLT_A or HLT_B, so the analysis runs without it" in run.report().warnings


def test_explain_knows_the_files_as_the_run_does(client, triggered, tmp_path):
    files = [write(tmp_path / "a.root", HLT_A=TENTH), write(tmp_path / "none.root")]
    assert client.explain(triggered, files).sources_unknown == 2
    assert kept(client.run(triggered, files)) == 10
    known = client.explain(triggered, files)
    assert (known.sources_unknown, known.chunks_stored) == (0, 2)


def test_samples_decide_for_themselves(client, triggered, tmp_path):
    write(tmp_path / "a.root", HLT_A=TENTH)
    write(tmp_path / "none.root")
    (tmp_path / "d.yaml").write_text(
        "schema: 1\nname: d\nsamples:\n- {name: data, files: [a.root]}\n- {name: mc, files: [none.root]}\n"
    )
    run = client.run(triggered, str(tmp_path / "d.yaml"))
    assert kept(run) == 10 + EVENTS
    assert "sample 'mc': no file has HLT_A or HLT_B, so the analysis runs without it" in run.report().warnings


def test_an_identification_that_a_file_lacks_is_an_error(client, triggered, tmp_path):
    files = [write(tmp_path / "a.root", good=HALF), write(tmp_path / "none.root")]
    told = client.run(triggered, files).report(timeout_s=60)
    assert told.status == "failed"
    (failure,) = told.failures
    assert (failure.kind, failure.file) == ("missing-column", files[1])
    assert f"it lacks 'good', which other files of sample 'events' have ({files[0]})" in failure.reason
    skipped = client.run(triggered, files, on_bad="skip").report(timeout_s=60)
    assert (skipped.status, skipped.events.seen, skipped.events.expected) == ("partial", EVENTS, EVENTS)
    assert skipped.cutflow["all"]["kept"] == 50


def test_an_analysis_that_decides_by_file_is_warned_of(client, tmp_path):
    (tmp_path / "by_file.py").write_text(BY_FILE)
    files = [write(tmp_path / "a.root", HLT_A=TENTH), write(tmp_path / "none.root")]
    (warning,) = client.run(str(tmp_path / "by_file.py"), files).report(timeout_s=60).warnings
    assert "reads different columns in some files" in warning
    assert "HLT_A" in warning
    assert all(f in warning for f in files)
    mapped = client.map(lambda events: len(events), files)
    assert "reads different columns in some files" in mapped.report(timeout_s=60).warnings[0]


def test_trees_of_different_names_are_a_warning(client, triggered, tmp_path):
    files = [write(tmp_path / "a.root"), str(tmp_path / "b.root")]
    with uproot.recreate(files[1]) as file:
        file["nominal"] = {"x": np.zeros(3, np.float32)}
    warnings = client.run(triggered, files).report(timeout_s=60).warnings
    assert any(f"Events in {files[0]}" in w and f"nominal in {files[1]}" in w for w in warnings)


def test_which_of_several_trees_was_chosen_is_said_unless_one_was_named(client, triggered, tmp_path):
    files = [write(tmp_path / f"{n}.root") for n in range(3)]
    for file in files[:2]:
        with uproot.update(file) as content:
            for name in ("nominal", "Runs"):
                content[name] = {"x": np.zeros(3, np.float32)}
    said = ("'Events', since none was named; 2 files hold 'Runs', 'nominal' too",)
    run = client.run(triggered, files)
    assert (kept(run), run.report().trees) == (3 * EVENTS, said)
    assert f"  tree      {said[0]}" in summary_text(run.report())
    assert f"Tree {escape(said[0])}." in page(run.report())
    known = client.explain(triggered, files)
    assert known.trees == said
    assert f"tree     {said[0]}" in str(known)
    named = client.run(triggered, files[:2], tree="nominal")
    assert (kept(named), named.report().trees) == (6, ())
    assert client.explain(triggered, files[:2], tree="nominal").trees == ()


def test_the_usual_trees_are_those_of_the_help_and_the_docs():
    for said in (" ".join(run_command.get_help(Context(run_command)).split()), DATASETS.read_text()):
        assert f"{', '.join(USUAL_TREES[:-1])} and {USUAL_TREES[-1]}" in said.replace("`", "")


def test_the_trigger_of_dileptons_is_decided_by_sample(client, tmp_path):
    import awkward as ak

    def write_pairs(name: str, **trigger) -> str:
        pairs = np.tile(np.array([[50.0, 0.0, 0.0, 1], [50.0, 0.0, 3.0, -1]]), (EVENTS, 1)).T
        fields = dict(zip(("pt", "eta", "phi", "charge"), pairs.astype(np.float32), strict=True))
        muons = ak.zip({n: ak.unflatten(v, np.full(EVENTS, 2)) for n, v in fields.items()})
        with uproot.recreate(tmp_path / name) as file:
            kinds = {n: v.dtype for n, v in trigger.items()}
            file.mktree("Events", {"Muon": f"var * {{{', '.join(f'{n}: float32' for n in fields)}}}", **kinds})
            file["Events"].extend({"Muon": muons, **trigger})
        return str(tmp_path / name)

    files = [write_pairs("with.root", HLT_IsoMu24=TENTH), write_pairs("other.root", HLT_Mu50=HALF)]
    told = client.run("dilepton", files, channel="mumu").report(timeout_s=120)
    assert told.status == "complete", told.failures
    assert told.cutflow["mumu"]["trigger"] == told.cutflow["mumu"]["opposite_sign"] == 10
    assert any("1 of 2 files lack HLT_IsoMu24" in w and files[1] in w for w in told.warnings)


class Lists(Analysis):
    name = "lists"

    def columns(self, source):
        return ["x", OptionalColumn("a", "b", absent=0), OptionalColumn("c")]


def view(*columns: str) -> SourceView:
    return SourceView(Sample("s", weight="w"), dict.fromkeys(columns, "float"), path="f.root")


def test_what_is_read_and_what_is_given():
    reading = reading_of(Lists(), view("x", "b", "c", "w"))
    assert reading.given == ("x", "b", "c")
    assert reading.columns == ("x", "b", "c", "w")
    assert reading.found == ("b", "c")
    reading = reading_of(Lists(), view("x", "b", "w"), {"a": "g.root", "b": "f.root"})
    assert reading.given == ("x", "a")
    assert reading.columns == ("x", "w")
    assert reading.absent == {"a": 0}
    with pytest.raises(MissingColumn, match=r"f\.root: it lacks 'c', which other files of sample 's' have \(g\.root\)"):
        reading_of(Lists(), view("x", "w"), {"c": "g.root"})


@pytest.mark.parametrize("absent", [float("nan"), float("inf"), float("-inf"), np.float32("nan"), 2.5, np.int8(3)])
def test_any_number_may_stand_for_a_column_that_a_file_lacks(client, tmp_path, absent):
    def values(events):
        return {"d": np.sort(events.flat("d")), "n": len(events)}

    files = [str(tmp_path / name) for name in ("with.root", "without.root")]
    for name, more in zip(files, ({"d": np.array([1.0, 2.0])}, {}), strict=True):
        with uproot.recreate(name) as file:
            file["Events"] = {"x": np.arange(2.0), **more}
    for computed in (2, 0):
        run = client.map(values, files, columns=["x", OptionalColumn("d", absent=absent)], takes="columns")
        result = run.result(timeout_s=60)["events"]
        assert result.counters == {"n": 4}
        np.testing.assert_array_equal(np.sort(result.arrays["d"].values), np.sort([1.0, 2.0, absent, absent]))
        assert run.report().chunks.computed == computed
        assert any(f"it counts as {absent} for all" in said for said in run.report().warnings)


@pytest.mark.parametrize("absent", ["nan", "x", [1], 2j, 10**30])
def test_what_is_no_number_stands_for_no_column(absent):
    class Odd(Lists):
        def columns(self, source):
            return [OptionalColumn("a", absent=absent)]

    with pytest.raises(AnalysisError, match=r"^OptionalColumn\('a', absent=.*\) has an absent that is no number"):
        reading_of(Odd(), view("a"))
