"""The command line as a user meets it: exit codes, one clear message and no traceback, facts apart from progress."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import awkward as ak
import click
import jsonschema
import numpy as np
import pytest
import uproot

from tests.patience import comes_true
from vrecompute import Client, errors
from vrecompute.cli import cli, main
from vrecompute.cli.options import PathType
from vrecompute.errors import EXIT_CODES, UsageError
from vrecompute.reports.report import schema

pytestmark = pytest.mark.usefixtures("lent_workers")

README = Path(__file__).parents[2] / "README.md"


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture
def vrecompute(capsys, tmp_path, monkeypatch):
    """`vrecompute(*words)`: what the command printed and exited with, in an empty folder with a store of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VRECOMPUTE_STORE", str(tmp_path / "store"))

    def call(*words: object) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return call


@pytest.fixture(scope="session")
def muons(tmp_path_factory) -> Path:
    """A folder with three files of 1000 events, two muons each."""
    folder = tmp_path_factory.mktemp("muons")
    rng = np.random.default_rng(7)
    counts = np.full(1000, 2, np.int32)
    for number in range(3):
        with uproot.recreate(folder / f"{number}.root") as file:
            file.mktree(
                "Events", {"nMuon": "int32", "Muon": "var * {pt: float32, eta: float32, phi: float32, charge: int32}"}
            )
            columns = {
                "pt": rng.exponential(40, 2000).astype(np.float32),
                "eta": rng.normal(0, 1, 2000).astype(np.float32),
                "phi": rng.uniform(-3, 3, 2000).astype(np.float32),
                "charge": rng.choice([-1, 1], 2000).astype(np.int32),
            }
            file["Events"].extend({"Muon": ak.unflatten(ak.zip(columns), counts)})
    return folder


@pytest.fixture(scope="session")
def analysis(tmp_path_factory) -> Path:
    """The analysis that the README shows, as a file."""
    (code,) = re.findall(r'```python\n("""The mass of opposite-sign.*?)```', README.read_text(), re.DOTALL)
    path = tmp_path_factory.mktemp("analysis") / "zmumu.py"
    path.write_text(code)
    return path


@pytest.mark.parametrize("counts", [[], [0, 0], [1, 3, 0], [2, 0, 2]])
def test_the_readme_s_analysis_takes_any_chunk(analysis, counts):
    from vrecompute.analysis.loading import load_analysis
    from vrecompute.datasets.columns import Column, Columns
    from vrecompute.datasets.dataset import Sample

    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    values = {"pt": 45.0, "eta": 0.1, "phi": 0.2, "charge": 1}
    columns = {
        f"Muon_{name}": Column(np.full(offsets[-1], value, np.int32 if name == "charge" else np.float32), offsets)
        for name, value in values.items()
    }
    columns["Muon_charge"].values[::2] = -1
    columns["Muon_phi"].values[::2] += 3
    made, _ = load_analysis(str(analysis), {})
    result = made.process(Columns(columns, Sample("s"), 0, len(counts)))
    assert result.cutflow["mumu"]["opposite_sign"] == counts.count(2)
    assert result.histograms["mass"].sum(flow=True).value == counts.count(2)


def test_help_is_quick_because_it_imports_nothing_heavy():
    code = (
        "import sys\nfrom vrecompute.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'dask', 'distributed', 'uproot', 'awkward', 'rich', 'yaml', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(','.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("run", "explain", "runs", "analyses", "site", "demo", "generate"):
        assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE), command
    assert "unavailable" not in done.stdout.split("Exit codes")[0]


def test_looking_at_runs_imports_no_compiler_and_no_reader_of_events():
    code = (
        "import sys, vrecompute.client\n"
        "sys.exit(','.join(sorted({'numba', 'scipy', 'awkward', 'uproot', 'pyarrow'} & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu"], "did you mean 'run'?"),
        (["run"], "Missing argument"),
        (["run", "dilepton"], "Missing argument"),
        (["run", "dileptn", "a.root"], "did you mean 'dilepton'?"),
        (["run", "dilepton", "a.root", "-p", "pt_min_gev"], "write KEY=VALUE"),
        (["run", "dilepton", "a.root", "-p", "pt_min=3"], "did you mean 'pt_min_gev'?"),
        (["run", "dilepton", "a.root", "-p", "channel=ee", "-p", "channel=ee"], "given twice"),
        (["run", "dilepton", "a.root", "-p", "pt_min_gev=low"], "is not a float"),
        (["run", "dilepton", "nothing/*.root"], "no file matches"),
        (["run", "dilepton", "a.root", "./a.root"], "listed twice"),
        (["run", "dilepton", "a.root", "--on-bad", "ignore"], "--on-bad"),
        (["run", "dilepton", "a.root", "--chunk-bytes", "100kib"], "did you mean '100KiB'?"),
        (["store", "gc", "--max-size", "100"], "has no unit"),
        (["run", "dilepton", "a.root", "--workers", "0"], "--workers"),
        (["run", "dilepton", "a.root", "--site", "nowhere"], "no site 'nowhere'"),
        (["run", "absent.py", "a.root"], "absent.py"),
        (["run", "dilepton", "a.root", "--walltime", "2h"], "add --detach"),
        (["explain", "dilepton", "a.root", "--walltime", "2h"], "add --detach"),
        (["explain", "dilepton", "gsiftp://server/a.root"], "cannot be read yet"),
        (["explain", "dilepton", "http://127.0.0.1:182029/a.root"], "the port '182029' is no number from 1 to 65535"),
        (["explain", "dilepton", "root://site.example.org:1094x//a.root"], "the port '1094x' is no number"),
        (["explain", "dilepton", "s3://data/a.root?endpoint=https://s3.example.org:0"], "the port '0' is no number"),
        (["explain", "dilepton", "https://site.example.org:99999/data/"], "the port '99999' is no number"),
        (["analyses", "nonsense"], "there is no analysis"),
        (["runs", "list", "--store", ""], "'--store': it is empty; give a name, or leave the option out"),
        (["explain", "dilepton", "a.root", "--site", " "], "'--site': it is empty"),
        (["columns", "a.root", "--tree", ""], "'--tree': it is empty"),
        (["run", "dilepton", "a.root", "--out", ""], "'--out': it is empty"),
        (["runs", "result", "last", "--out", ""], "'--out': it is empty"),
        (["campaign", "check", ""], "it is empty"),
        (["runs", "list", "--store", "\udcff\udcfe"], r"'--store': '\xff\xfe': it is not UTF-8 text"),
        (["generate", "sample", "--events", "9" * 30], "free; ask for fewer, or name a folder on another disk"),
        (["generate", "sample", "--events", "9" * 12, "--files", "9" * 12], "free; ask for fewer"),
        (["site", "show", "nowhere.yaml"], "nowhere.yaml"),
        (["generate", "sample", "--events", "3", "--files", "9"], "files=9"),
        (["generate", "sample", "--signal-mass-gev", "1"], "signal mass"),
    ],
)
def test_usage_errors_exit_2_and_say_what_to_do(vrecompute, words, said):
    ended = vrecompute(*words)
    assert ended.code == 2, ended.err
    assert said in ended.err
    assert ended.out == ""


def test_every_word_that_names_a_file_or_a_folder_refuses_an_empty_one():
    """An unset variable of a script would be the working directory."""

    def commands(command):
        if not isinstance(command, click.Group):
            return [command]
        within = click.Context(command)
        names = command.list_commands(within)
        return [each for name in names for each in commands(command.get_command(within, name))]

    paths = [word for each in commands(cli) for word in each.params if isinstance(word.type, click.Path)]
    assert len(paths) > 8
    assert {word.name for word in paths if not isinstance(word.type, PathType)} == set()


def test_a_run_that_does_not_exist(vrecompute):
    ended = vrecompute("runs", "show", "20260101")
    assert ended.code == 2
    assert "there is no run" in ended.err
    assert vrecompute("runs", "list").code == 0


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "a" * 300, "/etc", "x\0y"])
@pytest.mark.parametrize("command", ["show", "report", "cancel", "logs", "delete"])
def test_what_is_no_name_of_a_run_is_said(vrecompute, command, name):
    ended = vrecompute("runs", command, name)
    assert ended.code == 2
    assert "is not a name of a run" in ended.err


def test_run_then_look_at_it_in_every_way(vrecompute, analysis, muons, tmp_path):
    explained = vrecompute("explain", analysis, muons, "--json")
    assert json.loads(explained.out)["sources_unknown"] == 3

    ended = vrecompute("run", analysis, muons, "-p", "pt_min_gev=25", "--workers", 1, "--out", "mine", "--json")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    jsonschema.validate(report, schema())
    assert (report["status"], report["events"]) == ("complete", {"seen": 3000, "expected": 3000})
    assert report["parameters"] == {"pt_min_gev": 25.0}
    assert report["cutflow"]["mumu"]["pairs"] == 3000
    written = json.loads((tmp_path / "mine" / "report.json").read_text())
    assert written["result_sha256"] == report["result_sha256"]
    assert (tmp_path / "mine" / "report.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "mine" / "result" / "result.zip").is_file()

    again = vrecompute("run", analysis, muons, "-p", "pt_min_gev=25", "--workers", 1)
    assert again.code == 0
    assert "0 computed, 3 reused" in again.out
    assert report["result_sha256"] in again.out

    name = report["run"]
    listed = json.loads(vrecompute("runs", "list", "--json").out)
    assert [run["state"] for run in listed] == ["complete", "complete"]
    assert f"run: {name}" in vrecompute("runs", "show", name).out
    assert json.loads(vrecompute("runs", "show", name, "--json").out)["parameters"] == {"pt_min_gev": 25.0}
    assert json.loads(vrecompute("runs", "report", name, "--json").out)["run"] == name
    assert "COMPLETE" in vrecompute("runs", "report", name[-6:]).out
    assert vrecompute("runs", "result", name, "--out", "copy").code == 0
    assert (tmp_path / "copy" / "report.json").read_text() == (tmp_path / "mine" / "report.json").read_text()
    assert " started " in vrecompute("runs", "logs", name).out
    assert "is not running: complete" in vrecompute("runs", "cancel", name).out
    assert "COMPLETE" in vrecompute("runs", "attach", name).out
    assert json.loads(vrecompute("explain", analysis, muons, "-p", "pt_min_gev=25", "--json").out)["chunks_stored"] == 3


def test_labels_name_a_run_and_change_nothing(vrecompute, analysis, muons, tmp_path):
    """Kept, shown, found again and reported; of two runs that differ in them alone the second computes nothing."""
    again = ["run", analysis, muons, "--json"]
    first = vrecompute(*again, "--label", "campaign=2026a", "--label", "note=a=b c", "--out", tmp_path / "out")
    second = vrecompute(*again, "--label", "campaign=2026b")
    third = vrecompute(*again)
    reports = [json.loads(ended.out) for ended in (first, second, third)]
    for report in reports:
        jsonschema.validate(report, schema())
    assert [r["labels"] for r in reports] == [{"campaign": "2026a", "note": "a=b c"}, {"campaign": "2026b"}, {}]
    assert len({r["result_sha256"] for r in reports}) == 1
    assert [r["chunks"]["computed"] > 0 for r in reports] == [True, False, False]
    shown = json.loads(vrecompute("runs", "show", reports[0]["run"], "--json").out)
    assert shown["labels"] == {"campaign": "2026a", "note": "a=b c"}
    assert "campaign=2026a, note=a=b c" in vrecompute("runs", "report", reports[0]["run"]).out
    for words, numbers in ((["campaign=2026a"], [0]), (["campaign=2026a", "note=x"], []), (["note=a=b c"], [0])):
        options = [word for label in words for word in ("--label", label)]
        listed = json.loads(vrecompute("runs", "list", *options, "--json").out)
        assert [run["run"] for run in listed] == [reports[n]["run"] for n in numbers], words
    assert len(json.loads(vrecompute("runs", "list", "--json").out)) == 3


def test_a_label_that_could_not_be_found_again_is_refused(vrecompute, analysis, muons, tmp_path):
    assert vrecompute("run", analysis, muons, "--label", "campaign").code == 2
    assert vrecompute("run", analysis, muons, "--label", "a=1", "--label", "a=2").code == 2
    for labels in ({"a": 1}, {1: "a"}, {"a=b": "c"}, {" a": "b"}, {"": "b"}, {"a": "\ud800"}):
        with Client(store=tmp_path / "store") as client, pytest.raises(errors.UsageError):
            client.run(str(analysis), str(muons), labels=labels)


def test_a_beginning_that_fits_several_runs_is_a_usage_error(vrecompute, tmp_path):
    for name in ("20260101-a", "20260101-b"):
        (tmp_path / "store" / "runs" / name).mkdir(parents=True)
    ended = vrecompute("runs", "show", "20260101")
    assert ended.code == 2
    assert "fits 2 runs" in ended.err


def test_a_missing_column_is_one_line_for_all_files_and_preflight_counts_what_it_has(
    vrecompute, analysis, muons, tmp_path, monkeypatch
):
    monkeypatch.setattr("vrecompute.cli.follow._LOOK_S", 0.005)  # three small files are soon opened
    (tmp_path / "mine.py").write_text(analysis.read_text().replace('"Muon_eta", ', '"Muon_eta", "Muon_quality", '))
    ended = vrecompute("run", "mine.py", muons, "--workers", 1)
    assert ended.code == 4
    (line,) = [line for line in ended.out.splitlines() if line.startswith("  missing")]
    assert "3 files: missing-column: tree 'Events' lacks 'Muon_quality'" in line
    assert all(f"{n}.root" in line for n in range(3))
    assert "0 of 0" not in ended.err
    assert "preflight" in ended.err


FAILS = """
import json
from vrecompute import Analysis, Result

class Fails(Analysis):
    name = "fails"
    def columns(self, source):
        return ["Muon_pt"]
    def process(self, events):
        return Result(counters=json.loads("{"))
"""


def test_an_error_in_a_library_names_the_user_s_line_and_the_log_has_the_traceback(vrecompute, muons, tmp_path, capsys):
    (tmp_path / "fails.py").write_text(FAILS)
    ended = vrecompute("run", "fails.py", muons, "--workers", 1)
    assert ended.code == 4
    assert "fails.py:10 in process: JSONDecodeError" in ended.out
    (run,) = json.loads(vrecompute("runs", "list", "--json").out)
    assert 'fails.py", line 10, in process' in ended.out
    assert "process_chunk" not in ended.out  # how vrecompute came there
    with pytest.raises(SystemExit):
        main(["runs", "logs", run["run"]])
    said = capsys.readouterr().out
    assert said.count("Traceback") == 1
    assert "(events 0-" in said.split("Traceback")[0]
    assert "fails.py:10 in process: JSONDecodeError" in said.split("Traceback")[0]
    assert 'fails.py", line 10, in process' in said
    assert "json/decoder.py" in said


def test_why_a_sample_is_not_normalised_is_said_on_the_terminal(vrecompute, analysis, muons, tmp_path):
    (tmp_path / "d.yaml").write_text(
        f"schema: 1\nname: d\nsamples:\n  - {{name: dy, cross_section_pb: 2.0, files: ['{muons}/0.root']}}\n"
    )
    ended = vrecompute("run", analysis, "d.yaml", "--workers", 1)
    assert ended.code == 0, ended.err
    assert "  unscaled  dy: the dataset gives no cross_section_pb and luminosity_ifb" in ended.out


def test_damage_of_the_store_is_told_once(vrecompute, analysis, muons, tmp_path, caplog):
    assert vrecompute("run", analysis, muons, "--workers", 1).code == 0
    part = next((tmp_path / "store").glob("work/*/parts/*.zip"))
    part.write_bytes(part.read_bytes()[:-1])
    again = vrecompute("run", analysis, muons, "--workers", 1)
    assert again.code == 0
    assert f"{part.name} was damaged in the store; it was set aside" in again.out
    assert part.name not in again.err
    assert not [r for r in caplog.records if r.levelname == "WARNING" and part.name in r.getMessage()]


@pytest.fixture
def damaged(muons, tmp_path) -> Path:
    """The three files, the second of them cut in the middle."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    for file in muons.iterdir():
        data = file.read_bytes()
        (folder / file.name).write_bytes(data[: len(data) // 2] if file.name == "1.root" else data)
    return folder


def test_a_damaged_file_fails_the_run_or_leaves_it_partial(vrecompute, analysis, damaged):
    failed = vrecompute("run", analysis, damaged, "--workers", 1)
    assert failed.code == 4
    assert "FAILED" in failed.out
    assert "1.root" in failed.out
    skipped = vrecompute(
        "run", analysis, damaged, "--workers", 1, "--on-bad", "skip", "--max-bad", 0.5, "--out", "part"
    )
    assert skipped.code == 3
    assert "PARTIAL" in skipped.out
    assert "and 1 file of unknown size not read" in skipped.out
    name = vrecompute("runs", "list", "--json").out
    assert vrecompute("runs", "report", json.loads(name)[-1]["run"]).code == 3
    over = vrecompute("run", analysis, damaged, "--workers", 1, "--on-bad", "skip", "--max-bad", 0.1)
    assert over.code == 4


def test_an_absent_file_is_named(vrecompute, analysis):
    ended = vrecompute("run", analysis, "absent/a.root", "--workers", 1)
    assert ended.code == 4
    assert "absent/a.root" in ended.out


SLOW = """
import time
from vrecompute import Analysis, Result

class Slow(Analysis):
    name = "slow"
    def columns(self, source):
        return ["Muon_pt"]
    def process(self, events):
        time.sleep(0.5)
        return Result(counters={"events": float(len(events))})
"""


@pytest.mark.parametrize(
    "number", [signal.SIGINT, *(pytest.param(n, marks=pytest.mark.acceptance) for n in (signal.SIGTERM, signal.SIGHUP))]
)
def test_interrupted_it_stops_soon_and_keeps_what_is_finished(vrecompute, muons, tmp_path, number):
    (tmp_path / "slow.py").write_text(SLOW)
    command = [
        sys.executable,
        "-m",
        "vrecompute",
        "run",
        "slow.py",
        str(muons),
        "--workers",
        "1",
        "--chunk-bytes",
        "1KB",
    ]

    def listen():
        signal.signal(number, signal.SIG_DFL)  # a shell has whatever it starts in the background ignore it

    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listen
    ) as process:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "store").glob("work/*/parts/*")):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "what is finished is kept" in err
    assert "cancelled by its user" in out
    assert "Traceback" not in out + err
    (listed,) = json.loads(vrecompute("runs", "list", "--json").out)
    assert (
        listed["state"] == json.loads(vrecompute("runs", "show", listed["run"], "--json").out)["state"] == "cancelled"
    )
    told = vrecompute("runs", "report", listed["run"], "--json")
    jsonschema.validate(report := json.loads(told.out), schema())
    assert (told.code, report["status"], report["exit_code"]) == (130, "cancelled", 130)


def test_ctrl_c_replaces_no_complete_result_and_what_there_is_says_what_it_is(vrecompute, muons, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "fast.py").write_text(SLOW.replace("time.sleep(0.5)", "pass").replace('"slow"', '"fast"'))
    assert vrecompute("run", "fast.py", muons, "--workers", 1, "--out", "out").code == 0
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    parts = set((tmp_path / "store").glob("work/*/parts/*"))
    words = ["run", "slow.py", str(muons), "--workers", "1", "--chunk-bytes", "1KB", "--out", "out"]
    command = [sys.executable, "-m", "vrecompute", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert comes_true(lambda: len(set((tmp_path / "store").glob("work/*/parts/*")) - parts) > 1, 60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == before
    (run,) = re.findall(r"`vrecompute runs result (\S+) --out DIR`", err)
    assert "report.html" not in out
    assert vrecompute("runs", "result", run, "--out", "out").code == 2
    assert vrecompute("runs", "result", run, "--out", "other").code == 130
    head = json.loads(zipfile.ZipFile("other/result/result.zip").read("results.json"))
    events = json.loads((tmp_path / "other" / "report.json").read_text())["events"]
    said = head["completeness"]
    assert (said["status"], said["events_seen"], said["events_expected"]) == ("cancelled", *events.values())
    assert 0 < events["seen"] < events["expected"] == 3000
    assert vrecompute("runs", "attach", run, "--workers", 1).code == 0


def test_a_run_whose_runner_is_gone_is_interrupted_by_every_door(vrecompute, muons, tmp_path, monkeypatch):
    (tmp_path / "fast.py").write_text(SLOW.replace("time.sleep(0.5)", "pass"))
    assert vrecompute("run", "fast.py", muons, "--workers", 1).code == 0
    # as a kill would leave it
    for name in ("outcomes", "events"):
        for path in (tmp_path / "store").glob(f"runs/*/{name}"):
            shutil.rmtree(path)
    for path in (tmp_path / "store").glob("runs/*/head.json"):
        path.unlink()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))  # where no run is known to be complete
    (listed,) = json.loads(vrecompute("runs", "list", "--json").out)
    assert listed["state"] == "interrupted"
    for words in (("report", listed["run"]), ("result", listed["run"], "--out", "out")):
        ended = vrecompute("runs", *words)
        assert ended.code == 130
        assert "runs attach" in ended.err


def test_every_exit_code_is_in_the_table_of_the_readme_and_in_the_help(vrecompute):
    table = re.findall(r"^\| (\d+) \| .*\|$", README.read_text(), re.MULTILINE)
    assert [int(code) for code in table] == list(EXIT_CODES)
    kinds = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert kinds <= set(EXIT_CODES)
    told = " ".join(vrecompute("-h").out.split())
    assert all(f"{code} {meaning}" in told for code, meaning in EXIT_CODES.items())


def test_the_tree_of_errors_is_drawn_as_it_is():
    parents: list[type] = []
    for drawn in re.finditer(r"^ {4}([│├└─ ]*)(\w+)(.*)$", errors.__doc__, re.MULTILINE):
        above, name, words = drawn.groups()
        kind = getattr(errors, name)
        mark = re.search(r"\(exit (\d+)\)", words)
        del parents[len(above) // 4 :]
        inherited = parents[-1].exit_code if parents else 4
        assert kind.__bases__[0] in {*parents[-1:], Exception, UsageError}, name
        assert kind.exit_code == (int(mark[1]) if mark else inherited), name
        parents.append(kind)
    assert len(re.findall(r"^ {4}.*[├└]", errors.__doc__, re.MULTILINE)) + 1 == len(
        [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    )


def test_what_nobody_expected_is_a_sentence_a_log_and_a_code_of_its_own(vrecompute, monkeypatch):
    def surprise(self, **given):
        raise KeyError("nobody expected this")

    monkeypatch.setattr("vrecompute.client.Client.runs", surprise)
    ended = vrecompute("runs", "list")
    assert (ended.code, ended.out) == (70, "")
    assert "this is a bug in vrecompute: KeyError: 'nobody expected this'" in ended.err
    log = Path(re.search(r"the log is (\S+)", ended.err)[1])
    assert "in surprise" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
    log.unlink()


def elsewhere(command, tmp_path, **streams):
    command = f"{sys.executable} -m vrecompute {command}"
    return subprocess.run(["sh", "-c", command], cwd=tmp_path, text=True, check=False, **streams)


@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.acceptance)])
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("analyses > /dev/full", 4, "Error: standard output cannot be written: No space left on device\n"),
        ("no-such-command 2> /dev/full", 2, ""),
        ("runs show no-such-run 2>&-", 2, ""),
        ("analyses >&-", 0, ""),
        ("analyses 1<&- 2>&-", 0, ""),
    ],
)
def test_a_stream_that_is_full_or_closed_is_no_traceback(tmp_path, command, code, said, unbuffered):
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered, "VRECOMPUTE_STORE": str(tmp_path / "store")}
    ended = elsewhere(command, tmp_path, capture_output=True, env=environment)
    assert (ended.returncode, ended.stderr) == (code, said)


def test_a_reader_that_has_enough_does_not_change_how_a_command_ended(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    ended = elsewhere("runs show no-such-run 2>&1", tmp_path, stdout=writing)
    os.close(writing)
    assert ended.returncode == 2


LEAVES = """
import threading, time
threading.Thread(target=time.sleep, args=[600], name="of mine").start()
"""


def test_an_analysis_file_that_exits_or_leaves_threads_neither_chooses_the_code_nor_keeps_the_command(tmp_path):
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(0)\n")
    ended = elsewhere("explain exits.py .", tmp_path, capture_output=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "exits.py cannot be imported: it exits in line 2" in ended.stderr
    (tmp_path / "leaves.py").write_text(LEAVES)
    ended = elsewhere("explain leaves.py .", tmp_path, capture_output=True, timeout=120)
    assert ended.returncode == 2
    assert "threads of the analysis do not end: of mine; start them with daemon=True" in ended.stderr


def test_an_exit_anywhere_in_an_analysis_is_no_success(vrecompute, monkeypatch):
    monkeypatch.setattr("vrecompute.client.Client.runs", lambda self, **given: sys.exit(0))
    ended = vrecompute("runs", "list")
    assert (ended.code, ended.out) == (2, "")
    assert "the code of the analysis exits, in line" in ended.err


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "a\x1b[31mb", "a.root"],
        ["explain", "a\x1b[31mb.py", "a.root"],
        ["explain", "dilepton", "a\x1b[31mb.root"],
        ["explain", "dilepton", "a.root", "-p", "pt_min_gev=\x1b[31m"],
        ["explain", "dilepton", "a.root", "-p", "a\x1b[31mb=1"],
        ["explain", "dilepton", "a.root", "-p", "\x1b[31m"],
        ["explain", "dilepton", "a.root", "--store", "x\x1b[31m://y"],
        ["explain", "dilepton", "a.root", "--store", "file/a\x1b[31mb"],
        ["explain", "dilepton", "a.root", "--chunk-bytes", "\x1b[31m"],
        ["explain", "dilepton", "a.root", "--\x1b[31m"],
        ["run", "dilepton", "a.root", "--out", "file/a\x1b[31mb"],
        ["generate", "file/a\x1b[31mb", "--events", "4", "--files", "1"],
        ["\x1b[31m"],
    ],
)
def test_what_is_given_writes_no_control_characters_to_the_terminal(vrecompute, tmp_path, words):
    (tmp_path / "file").touch()
    ended = vrecompute(*words)
    assert ended.code in (2, 4), ended.err
    assert "\x1b" not in ended.out + ended.err
    assert "\\x1b" in ended.err


@pytest.mark.parametrize(
    "words", [["-p", "pt_min_gev=" + "9" * 100_000], ["-p", "9" * 100_000 + "=1"], ["9" * 100_000]]
)
def test_what_is_given_is_not_shown_in_a_hundred_thousand_letters(vrecompute, words):
    ended = vrecompute("explain", "dilepton", "a.root", *words)
    assert ended.code == 2, ended.err[:1000]
    assert "letters left out" in ended.err
    assert len(ended.err) < 20_000
