"""Whatever happens to an object in a store: right numbers, or an error that names it. Never a traceback or a hang."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.dataset
import pytest

from tests.conftest import ACCEPTANCE
from tests.events import write_events
from vrecompute import Client
from vrecompute.cli import main
from vrecompute.cli.runs import runs
from vrecompute.digest import sha256_of
from vrecompute.errors import VrecomputeError
from vrecompute.execution.wholefile import digest_at

ANALYSIS = """
import json
from pathlib import Path

import boost_histogram as bh
import numpy as np

from vrecompute import Analysis, Parameter, Result


class Kept(Analysis):
    name = "kept"
    parameters = (Parameter("pt_min_gev", 20.0, "cut"),)
    finish_function = "tamper_finish:finish"

    def columns(self, source):
        return ["Muon_pt", "weight"]

    def resources(self):
        return {"factor": Path(__file__).parent / "factor.json"}

    def process(self, events):
        factor = json.loads(Path(events.resources["factor"]).read_text())["factor"]
        pt = events.flat("Muon_pt").astype(float)
        pt = pt[pt > self["pt_min_gev"]]
        histogram = bh.Histogram(bh.axis.Regular(20, 0, 200), storage=bh.storage.Weight())
        histogram.fill(pt, weight=factor)
        return Result(
            histograms={"pt": histogram},
            cutflow={"mu": {"all": len(events), "hard": len(pt)}},
            counters={"sum": factor * len(pt)},
            tables={"muons": {"pt": pt}},
        )
"""
FINISH = """
def finish(results, analysis, context):
    hard = results["events"].cutflow["mu"]["hard"]
    (context.directory / "note.txt").write_text(f"{hard}")
    return {"hard": hard}
"""
# What a run leaves in a store: kind -> pattern, with the run's name and its work.
KINDS = {
    "manifest": "runs/{run}/manifest.json",
    "plan": "runs/{run}/plan.json",
    "outcome": "runs/{run}/outcomes/*.json",
    "event": "runs/{run}/events/*/*.json",
    "result": "runs/{run}/results/*.zip",
    "product": "runs/{run}/products/*/*.txt",
    "part": "work/{work}/parts/*.zip",
    "rows": "work/{work}/tables/*/*/*.parquet",
    "source": "sources/*.json",
    "layout": "sources/*.json",
    "digests": "sources/*.data",
    "sha256": "sources/*.sha256",
    "adler32": "sources/*.adler32",
    "sidecar": "sources/*.table",
    "resource": "blobs/*.json",
    "code": "blobs/*.py",
    "columns": "sources/*.columns",
}


# Those of one folder and ending that are documents of different kinds.
DOCUMENTS = {"source": "file", "layout": "layout"}


def flip(path: Path, other: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def folder(path: Path, other: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "x.json").write_text("{}")


def fifo(path: Path, other: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def nest(path: Path, other: Path) -> None:
    path.write_text('{"a":' * 100_000 + "1" + "}" * 100_000)


ACTIONS = {
    "flip": flip,
    "truncate": lambda path, other: os.truncate(path, path.stat().st_size // 2),
    "delete": lambda path, other: path.unlink(),
    "swap": lambda path, other: shutil.copy(other, path),
    "empty": lambda path, other: os.truncate(path, 0),
    "scalar": lambda path, other: path.write_text("[]"),
    "nest": nest,
    "fifo": fifo,
    "folder": folder,
    "mode": lambda path, other: path.chmod(0),
}
COMMANDS = ("list", "show", "report", "result", "logs", "explain", "again", "no-reuse", "resume")
# A hang is what waits for what never comes; a busy machine is none.
HANG_S = 30.0


class Site:
    """A client, an analysis, and a store with two runs of different works that are tampered with in copies."""

    def __init__(self, client: Client, place: Path) -> None:
        self.client, self.place = client, place
        (place / "kept.py").write_text(ANALYSIS)
        (place / "factor.json").write_text('{"factor": 1.25}')
        files = [write_events(place / f"{n}.root", 60, seed=n, clusters=3) for n in range(4)]
        checksums = [f"{a}: '{digest_at(str(f), a)}'" for f, a in zip(files, ("sha256", "adler32") * 2, strict=True)]
        listed = "\n".join(f"      - {{path: {f.name}, {c}}}" for f, c in zip(files, checksums, strict=True))
        (place / "dataset.yaml").write_text(f"schema: 1\nsamples:\n  - name: events\n    files:\n{listed}\n")
        self.files = str(place / "dataset.yaml")
        self.store = place / "store"
        client._store_given = self.store
        ended = [self.start(pt_min_gev=cut) for cut in (20.0, 60.0)]
        self.runs = [run.id for run in ended]
        os.utime(files[0])  # so that its columns are compared by their digests
        shutil.rmtree(self.store / "runs" / self.start().id)
        self.sha256 = ended[0].report().result_sha256
        self.cutflow = json.loads(json.dumps(ended[0].report().cutflow))
        self.rows = self.read(ended[0].tables("muons"))
        self.works = [json.loads((self.store / "runs" / run / "plan.json").read_text())["work"] for run in self.runs]

    def start(self, **options):
        options = {"chunk_bytes": 1200, "task_chunks": 2, "pt_min_gev": 20.0} | options
        return self.client.run(str(self.place / "kept.py"), self.files, **options).wait(60)

    @staticmethod
    def read(paths):
        return pyarrow.dataset.dataset(paths).to_table()["pt"].to_pylist()

    def objects(self, store: Path, kind: str) -> tuple[Path, Path]:
        """An object of the first run, and another of its kind."""
        mine, others = (
            [
                path
                for path in sorted(store.glob(KINDS[kind].format(run=run, work=work)))
                if kind not in DOCUMENTS or json.loads(path.read_bytes())["format"] == f"vrecompute-{DOCUMENTS[kind]}"
            ]
            for run, work in zip(self.runs, self.works, strict=True)
        )
        if kind in {"resource", "code"}:
            others = sorted(store.glob("blobs/*"))
        if kind in {"columns", "digests"}:  # there is but one
            others = sorted(store.glob("sources/*.json"))
        path = mine[-1]
        return path, next(p for p in others if p.read_bytes() != path.read_bytes())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, Client(workers=1, threads=2) as client:
        place = tmp_path_factory.mktemp("tamper")
        (place / "modules").mkdir()
        (place / "modules" / "tamper_finish.py").write_text(FINISH)
        patch.syspath_prepend(place / "modules")
        yield Site(client, place)


@pytest.fixture
def store(site, tmp_path, monkeypatch):
    """A copy of the store, which the client uses."""
    copied = Path(shutil.copytree(site.store, tmp_path / "store"))
    monkeypatch.setattr(site.client, "_store_given", copied)
    return copied


CASES = [
    (kind, action, command)
    for k, kind in enumerate(KINDS)
    for a, action in enumerate(ACTIONS)
    for c, command in enumerate(COMMANDS)
    if ACCEPTANCE or (k + a) % len(COMMANDS) == c  # each pair of any two at least once
]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("kind", "action", "command"), CASES)
def test_right_numbers_or_a_named_error(site, store, tmp_path, capsys, kind, action, command):
    path, other = site.objects(store, kind)
    ACTIONS[action](path, other)
    began = time.monotonic()
    if command in {"explain", "again", "no-reuse", "resume"}:
        in_process(site, command, kind)
    else:
        on_the_command_line(site, store, command, tmp_path / "out", capsys)
    assert time.monotonic() - began < HANG_S


def in_process(site: Site, command: str, kind: str) -> None:
    if command == "explain":
        site.client.explain(str(site.place / "kept.py"), site.files, chunk_bytes=1200)
        return
    if command == "resume":
        try:
            run = site.client.attach(site.runs[0])
            if run.status != "complete":
                run = run.resume().wait(60)
            sha256, rows = run.report().result_sha256, site.read(run.tables("muons"))
        except VrecomputeError as error:
            if any(word in str(error) for word in (site.runs[0], "work/", "blobs/")):
                return
            raise
    else:
        run = site.start(reuse=command == "again")
        assert run.status == "complete", run.report().failures
        sha256, rows = run.report().result_sha256, site.read(run.tables("muons"))
        assert run.products() == {"hard": site.cutflow["mu"]["hard"]}
    assert sha256 == site.sha256 == sha256_of(run.result().to_bytes())
    assert rows == site.rows


def on_the_command_line(site: Site, store: Path, command: str, out: Path, capsys) -> None:
    capsys.readouterr()
    arguments = {"list": ["list", "--json"], "report": ["report", site.runs[0], "--json"]}.get(
        command, [command, site.runs[0]]
    )
    with pytest.raises(SystemExit) as ended:
        main(["runs", *arguments, "--store", str(store), *(["--out", str(out)] if command == "result" else [])])
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    if command == "list":
        assert ended.value.code == 0
        found = {row["run"]: row for row in json.loads(said.out)}
        assert set(found) == set(site.runs)
        assert (found[site.runs[1]]["state"], found[site.runs[1]]["trouble"]) == ("complete", "")
        assert (
            found[site.runs[0]]["state"] == "complete"
            or site.runs[0] in found[site.runs[0]]["trouble"]
            or (found[site.runs[0]]["state"] == "interrupted")
        )
    elif ended.value.code != 0:
        assert ended.value.code in {2, 3, 4, 5}  # not 130: its Runner was not interrupted
        assert said.err.startswith("Error: ")
        assert not (out / "report.json").exists()
    elif command == "report":
        assert json.loads(said.out)["status"] == "complete"
        assert json.loads(said.out)["cutflow"] == site.cutflow
    elif command == "result":
        assert sha256_of((out / "result" / "result.zip").read_bytes()) == site.sha256
        assert site.read(sorted((out / "result" / "tables" / "muons").glob("*"))) == site.rows
        assert (out / "products" / "note.txt").read_text() == f"{int(site.cutflow['mu']['hard'])}"


@pytest.mark.parametrize("kind", ["result", "product"])
def test_what_a_complete_run_ended_with_is_made_again_where_it_is_lost(site, store, tmp_path, capsys, kind):
    """`runs result` says how, and that is so; no chunk is computed for it."""
    path, _ = site.objects(store, kind)
    path.unlink()
    arguments = ["--store", str(store), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main(["runs", "result", site.runs[0], *arguments])
    said = capsys.readouterr().err
    assert ended.value.code in {4, 5}, said
    assert f"`vrecompute runs attach {site.runs[0]}` makes what run" in said
    run = site.client.attach(site.runs[0]).resume().wait(60)
    assert (run.status, run.report().chunks.computed) == ("complete", 0)
    assert run.report().result_sha256 == site.sha256 == sha256_of(run.result().to_bytes())
    with pytest.raises(SystemExit) as ended:
        main(["runs", "result", site.runs[0], *arguments])
    assert ended.value.code == 0
    assert (tmp_path / "out" / "products" / "note.txt").exists()


def test_a_run_whose_manifest_is_lost_says_so_and_can_be_deleted(site, store, capsys):
    (store / "runs" / site.runs[0] / "manifest.json").unlink()
    for command in ("show", "attach"):
        with pytest.raises(SystemExit) as ended:
            main(["runs", command, site.runs[0], "--store", str(store)])
        said = capsys.readouterr().err
        assert ended.value.code == 2, said
        assert f"the manifest of run '{site.runs[0]}'" in said
        assert f"`vrecompute runs delete {site.runs[0]}` removes what is left" in said
    with pytest.raises(SystemExit) as ended:
        main(["runs", "delete", site.runs[0], "--store", str(store)])
    assert ended.value.code == 0, capsys.readouterr().err
    assert [run.run for run in site.client.runs()] == [site.runs[1]]


AS_ANOTHER = """
import os, sys
from vrecompute.cli import main
import vrecompute.client, vrecompute.run
if os.getuid() == 0:
    os.seteuid(65534)
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("closed", "code", "says"),
    [
        ("runs/{run}/outcomes/{outcome}", 0, "outcomes/{outcome}': Permission denied"),
        ("runs/{run}/manifest.json", 0, "manifest.json': Permission denied"),
        ("runs/{run}", 0, "{run}"),
        ("runs", 4, "'runs': Permission denied"),
    ],
)
def test_what_may_not_be_read_breaks_its_own_run_only(site, store, closed, code, says):
    (outcome,) = os.listdir(store / "runs" / site.runs[0] / "outcomes")
    names = {"run": site.runs[0], "outcome": outcome}
    with tempfile.TemporaryDirectory(prefix="vrecompute-tamper-") as place:
        Path(place).chmod(0o755)
        there = Path(shutil.copytree(store, Path(place) / "store"))
        subprocess.run(["chmod", "-R", "a+rX", str(there)], check=True)  # a store is private, unless it is shared
        (there / closed.format(**names)).chmod(0)
        command = [sys.executable, "-c", AS_ANOTHER, "runs", "list", "--store", str(there)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        (there / closed.format(**names)).chmod(0o755)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert says.format(**names) in done.stdout + done.stderr
    if code == 0:
        assert f"{site.runs[1]}  complete" in done.stdout


@pytest.mark.parametrize("below", ["", "/store"])
@pytest.mark.parametrize(
    "command",
    ["run", "run --detach", "explain", "work", *(f"runs {name}" for name in sorted(runs.commands))],
)
def test_a_store_that_is_a_file_is_refused_by_every_command(site, tmp_path, capsys, command, below):
    (tmp_path / "store").write_text("no store")
    given = {"run": [str(site.place / "kept.py"), site.files], "runs list": []}
    given |= {"run --detach": given["run"], "explain": given["run"], "runs result": ["r", "--out", str(tmp_path / "o")]}
    given |= {"runs compare": ["r", "r"]}
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), *given.get(command, ["r"]), "--store", f"{tmp_path}/store{below}"])
    assert ended.value.code == 2
    assert f"{tmp_path}/store is not a folder" in capsys.readouterr().err


def test_an_older_store_is_named_and_left_as_it_is(site, store, capsys):
    for path in store.glob(f"runs/{site.runs[0]}/**/*.json"):
        document = json.loads(path.read_bytes())
        document.pop("sha256")
        document["version"] = 1
        sha256 = sha256_of(json.dumps(document, separators=(",", ":")).encode())
        path.write_text(json.dumps({**document, "sha256": sha256}))
    before = {p: p.read_bytes() for p in store.rglob("*") if p.is_file() and site.runs[0] in str(p)}
    found = {facts.run: facts for facts in site.client.runs()}
    assert (found[site.runs[0]].state, found[site.runs[1]].state) == ("other-format", "complete")
    assert "format 1" in found[site.runs[0]].trouble
    with pytest.raises(VrecomputeError, match=r"has format 1.*it is left as it is"):
        site.client.attach(site.runs[0])
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.parametrize("command", ["report", "result"])
def test_a_run_whose_outcome_is_gone_was_not_interrupted(site, store, tmp_path, capsys, command):
    (outcome,) = (store / "runs" / site.runs[0] / "outcomes").iterdir()
    outcome.unlink()
    words = ["--out", str(tmp_path / "out")] if command == "result" else []
    with pytest.raises(SystemExit) as ended:
        main(["runs", command, site.runs[0], "--store", str(store), *words])
    assert ended.value.code == 4
    assert f"its outcome in runs/{site.runs[0]}/outcomes is missing" in capsys.readouterr().err
