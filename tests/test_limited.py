"""Runs of the first events or files of each sample: they end `test`, and nothing takes them for the whole."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Client
from vrecompute.cli import main
from vrecompute.errors import ResultKept, UsageError
from vrecompute.execution.runlog import run_state
from vrecompute.reports.report import loads, schema, summary_text

YAML = """schema: 1
luminosity_ifb: 2
samples:
- {name: data, is_data: true, files: [a.root, b.root]}
- {name: dy, files: [c.root, d.root], cross_section_pb: 1.9}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("limited")
    for seed, name in enumerate("abcd"):
        write_events(folder / f"{name}.root", 1000, seed=seed)
    (folder / "set.yaml").write_text(YAML)
    (folder / "sums.py").write_text(SUM_ANALYSIS)
    return folder


@pytest.fixture(scope="module")
def client(folder):
    with Client(workers=1, store=folder / "store") as client:
        yield client


def test_a_run_of_the_first_events_is_a_test_and_says_so_everywhere(folder, client, tmp_path):
    run = client.run(str(folder / "sums.py"), folder / "set.yaml", max_events=1250, chunk_bytes=4000)
    report = run.report(timeout_s=120)
    assert (report.status, run.status, run.exit_code) == ("test", "test", 0)
    assert report.limits_given == {"max_events": 1250}
    assert (report.events.seen, report.events.expected) == (2500, 2500)
    assert [s.events.seen for s in report.samples] == [1250, 1250]
    results = run.result()
    assert {name: result.events for name, result in results.items()} == {"data": 1250, "dy": 1250}
    assert (results.incomplete.status, results.incomplete.events_seen) == ("test", 2500)
    with pytest.raises(UsageError, match="'data': this is a test"):
        results.scaled()
    assert "at most 1 250 events of each sample" in summary_text(report)
    run.save(tmp_path / "out")
    written = json.loads((tmp_path / "out/report.json").read_text())
    jsonschema.validate(written, schema())
    assert loads(json.dumps(written)) == report
    assert "This is a test" in (tmp_path / "out/report.html").read_text()
    assert run_state(client.store, run.id) == "test"
    assert [r.state for r in client.runs() if r.run == run.id] == ["test"]
    again = client.attach(run.id)
    assert again.resume() is again


def test_events_of_a_test_are_the_first_ones_of_the_whole_and_chunks_are_reused(folder, client):
    test = client.run(str(folder / "sums.py"), folder / "a.root", max_events=550, chunk_bytes=4000)
    assert test.report(timeout_s=120).status == "test"
    counted = test.result()["events"].cutflow["mu"]["all"]
    assert counted == 550
    whole = client.run(str(folder / "sums.py"), folder / "a.root", chunk_bytes=4000, max_events=10**6)
    assert whole.report(timeout_s=120).events.seen == 1000
    # a limit that is larger than the sample changes no number, and the run stays a test
    plain = client.run(str(folder / "sums.py"), folder / "a.root", chunk_bytes=4000)
    assert (plain.report(timeout_s=120).status, plain.report().chunks.computed) == ("complete", 0)
    np.testing.assert_array_equal(
        plain.result()["events"].histograms["pt"].values(), whole.result()["events"].histograms["pt"].values()
    )


def test_files_beyond_the_limit_are_not_opened(folder, client, tmp_path):
    for name in ("a.root", "c.root", "set.yaml"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    run = client.run(str(folder / "sums.py"), tmp_path / "set.yaml", max_files=1)
    assert [f.file.rpartition("/")[2] for f in run.report(timeout_s=120).files] == ["a.root", "c.root"]
    assert run.report().status == "test"
    missing = client.run(str(folder / "sums.py"), tmp_path / "set.yaml", max_files=2, on_bad="skip")
    assert missing.report(timeout_s=120).status == "partial"


def test_a_test_does_not_replace_a_complete_result(folder, client, tmp_path):
    client.run(str(folder / "sums.py"), folder / "a.root").wait(120).save(tmp_path / "out")
    test = client.run(str(folder / "sums.py"), folder / "a.root", max_events=10).wait(120)
    with pytest.raises(ResultKept, match="ended test"):
        test.save(tmp_path / "out")
    client.run(str(folder / "sums.py"), folder / "a.root").wait(120).save(tmp_path / "out")


def test_the_command_line_has_both_limits(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    words = ["run", "sums.py", "set.yaml", "--max-events", "10", "--max-files", "1", "--store", "store", "--json"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--workers", "1"])
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["exit_code"]) == ("test", 0)
    assert told["limits_given"] == {"max_events": 10, "max_files": 1}
    with pytest.raises(SystemExit) as ended:
        main(["explain", "sums.py", "set.yaml", "--max-events", "10", "--store", "store", "--json"])
    assert ended.value.code == 0


def test_a_limit_is_a_number_above_0(folder, client):
    with pytest.raises(UsageError, match="max_events=0: choose a number above 0"):
        client.run(str(folder / "sums.py"), folder / "a.root", max_events=0)
