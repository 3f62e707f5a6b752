"""A run and `explain` say what made chunks new, by name and without opening anything."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.edits import ANALYSIS, CUTS, write_analysis
from tests.events import write_events
from vrecompute import Client
from vrecompute.reports.report import dumps, loads, summary_text

pytestmark = pytest.mark.usefixtures("lent_workers")

CHUNK_BYTES = 1200


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> str:
    return str(write_events(tmp_path_factory.mktemp("events") / "e.root", 400, clusters=4))


def test_what_changed_since_an_earlier_run_is_named(tmp_path, events):
    file = write_analysis(tmp_path / "mine")
    with Client(workers=1, threads=1, store=tmp_path / "store") as client:

        def report(**options):
            return client.run(str(file), events, chunk_bytes=CHUNK_BYTES, **options).report(timeout_s=120)

        first = report()
        assert first.recomputed == ""
        total = first.chunks.total
        assert total > 1
        assert report().recomputed == "", "all was reused"

        (file.parent / "cuts" / "__init__.py").write_text(CUTS.replace("25.0", "35.0"))
        known = client.explain(str(file), events, chunk_bytes=CHUNK_BYTES)
        assert known.why.startswith("cuts changed (LIMIT_GEV) since run ")
        assert "cuts changed (LIMIT_GEV)" in str(known)
        again = report()
        assert again.recomputed.startswith("cuts changed (LIMIT_GEV) since run ")
        assert again.recomputed.endswith(f": {total} of {total} chunks are computed anew")
        assert again.recomputed in summary_text(again)
        assert loads(dumps(again)) == again
        assert json.loads(dumps(again))["recomputed"] == again.recomputed

        file.write_text(ANALYSIS.replace("> PT_MIN_GEV + 1.0", "> PT_MIN_GEV + 2.0"))
        assert report().recomputed.startswith("the analysis changed (helper()) since run ")
        assert report(label="other").recomputed == "", "of finish alone"


def test_parameters_and_settings_are_named_too(tmp_path, events):
    (tmp_path / "ana.py").write_text(
        "from vrecompute import Analysis, Parameter, Result\n"
        "class Count(Analysis):\n"
        "    name = 'count'\n"
        "    parameters = (Parameter('pt_min_gev', 20.0, 'cut'),\n"
        "                  Parameter('range_gev', (1.0, 2.0), 'cut', type=tuple))\n"
        "    def columns(self, source):\n        return ['run']\n"
        "    def process(self, events):\n        return Result(counters={'n': len(events) * self['pt_min_gev']})\n"
    )
    with Client(workers=1, threads=1, store=tmp_path / "store") as client:
        client.run(str(tmp_path / "ana.py"), events).wait(120)
        why = client.explain(str(tmp_path / "ana.py"), events, pt_min_gev=30, range_gev="1,3").why
        assert why.startswith("pt_min_gev 20.0 -> 30.0, range_gev [1.0, 2.0] -> [1.0, 3.0] since run ")
        assert "chunk_bytes" in client.explain(str(tmp_path / "ana.py"), events, chunk_bytes=CHUNK_BYTES).why
        assert client.explain(str(tmp_path / "ana.py"), events).why == ""
        assert client.explain(str(tmp_path / "ana.py"), [events[:-6] + "other.root"]).why == ""


def test_of_files_that_are_unknown_nothing_is_said_of_what_is_computed_anew(tmp_path, events):
    """A copy of a file that was computed before the last edit, which the run then takes whole."""
    file, data, copy = write_analysis(tmp_path / "mine"), tmp_path / "data", tmp_path / "copy"
    for folder in (data, copy):
        folder.mkdir()
        shutil.copy(events, folder / "e.root")
        (folder / "dataset.yaml").write_text("schema: 1\nname: copied\nsamples:\n- {name: events, files: [e.root]}\n")
    before, after = CUTS, CUTS.replace("25.0", "35.0")
    cuts = file.parent / "cuts" / "__init__.py"
    with Client(workers=1, threads=1, store=tmp_path / "store") as client:
        for text in (before, after):
            cuts.write_text(text)
            assert client.run(str(file), str(data), chunk_bytes=CHUNK_BYTES).report(timeout_s=120).status == "complete"
        cuts.write_text(before)
        known = client.explain(str(file), str(copy), chunk_bytes=CHUNK_BYTES)
        assert (known.sources_unknown, known.chunks_new, known.why) == (1, 0, "")
        report = client.run(str(file), str(copy), chunk_bytes=CHUNK_BYTES).report(timeout_s=120)
        assert (report.chunks.reused, report.recomputed) == (report.chunks.total, "")
        cuts.write_text(CUTS.replace("25.0", "45.0"))
        both = [str(data), str(write_events(tmp_path / "new.root", 100, seed=9))]
        why = client.explain(str(file), both, chunk_bytes=CHUNK_BYTES).why
        total = report.chunks.total
        assert why.endswith(f": {total} of {total} chunks of files that are known are computed anew")


def test_a_file_that_was_replaced_is_named(tmp_path):
    file = str(write_analysis(tmp_path / "mine"))
    files = [str(write_events(tmp_path / f"{n}.root", 400, seed=n, clusters=4)) for n in range(2)]
    with Client(workers=1, threads=1, store=tmp_path / "store") as client:
        client.run(file, files, chunk_bytes=CHUNK_BYTES).wait(120)
        write_events(tmp_path / "1.root", 400, seed=9, clusters=4)
        again = client.run(file, files, chunk_bytes=CHUNK_BYTES).report(timeout_s=120)
    assert again.chunks.reused > 0
    assert again.recomputed.startswith(f"{files[1]} was replaced since run ")
    assert again.recomputed.endswith(f": {again.chunks.computed} of {again.chunks.total} chunks are computed anew")
