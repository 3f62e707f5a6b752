"""What runs say of where they come from, in what two of them differ, and the last one by that word."""

from __future__ import annotations

import getpass
import json
import subprocess
import sys

import jsonschema
import pytest
from click.testing import CliRunner

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Client
from vrecompute.cli import cli
from vrecompute.errors import UnknownRun
from vrecompute.execution.provenance import provenance
from vrecompute.reports.report import schema

pytestmark = pytest.mark.usefixtures("lent_workers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    write_events(folder / "a.root", 400)
    (folder / "sums.py").write_text(SUM_ANALYSIS)
    return folder


@pytest.fixture(scope="module")
def runs(folder):
    with Client(workers=1, store=folder / "store") as client:
        with pytest.raises(UnknownRun, match="there is no run in"):
            client.attach("last")
        given = [{"pt_min_gev": 10}, {"pt_min_gev": 20, "labels": {"campaign": "2026a"}}, {"pt_min_gev": 10}]
        yield client, [client.run(str(folder / "sums.py"), folder / "a.root", **each).wait(120) for each in given]


def test_two_runs_differ_in_what_went_in_and_what_came_out(runs, folder):
    client, (first, second, third) = runs
    found = client.compare(first.id, second.id)
    assert not found.same_result
    kinds = {(d.kind, d.name) for d in found.differences}
    assert kinds == {("parameter", "pt_min_gev"), ("cut", "mu pt"), ("histogram", "events pt")}
    (parameter,) = (d for d in found.differences if d.kind == "parameter")
    assert (parameter.first, parameter.second) == ("10.0", "20.0")
    (cut,) = (d for d in found.differences if d.kind == "cut")
    assert float(cut.first) > float(cut.second) > 0
    assert "different results" in found._repr_html_()
    same = client.compare(first.id, third.id)
    assert (same.same_result, same.differences) == (True, ())
    words = ["runs", "compare", first.id, "last", "--store", str(folder / "store")]
    assert "the same result, bit by bit" in CliRunner().invoke(cli, words).output
    told = json.loads(CliRunner().invoke(cli, [*words[:3], second.id, *words[4:], "--json"]).output)
    assert told == found.to_data()


def test_the_last_run_is_the_one_that_was_asked_for_last(runs):
    client, all_of_them = runs
    assert client.attach("last").id == max(run.id for run in all_of_them) == all_of_them[-1].id


def test_the_list_has_parameters_and_labels(runs, folder):
    done = CliRunner().invoke(cli, ["runs", "list", "--store", str(folder / "store")])
    (line,) = (line for line in done.output.splitlines() if "campaign=2026a" in line)
    assert "pt_min_gev=20.0" in line
    again = CliRunner().invoke(cli, ["runs", "list", "--store", str(folder / "store")])  # from what was kept
    assert again.output == done.output


def test_report_and_page_say_who_asked_how_and_from_which_commit(folder, runs, tmp_path):
    client, _ = runs
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["add", "sums.py"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    run = client.run(str(tmp_path / "sums.py"), folder / "a.root").wait(120)
    told = run.report().provenance
    assert (told["user"], told["commit"], told["date"]) == (getpass.getuser(), commit, run.manifest.created)
    run.save(tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    assert commit in page
    assert "Provenance" in page
    jsonschema.validate(json.loads((tmp_path / "out/report.json").read_text()), schema())
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS + "\n")
    assert provenance(tmp_path / "sums.py")["commit"] == f"{commit}, and sums.py was edited since"
    (tmp_path / "new.py").write_text("")
    assert "commit" not in provenance(tmp_path / "new.py")
    assert "commit" not in provenance(None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["/usr/bin/vrecompute", "run", "a b.py", "d"], "vrecompute run 'a b.py' d"),
        (["/home/x/fit.py", "--password", "canary"], "fit.py"),
    ],
)
def test_only_words_of_our_own_command_are_kept(words, said, monkeypatch):
    monkeypatch.setattr("sys.argv", words)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert provenance(None)["command"] == said
