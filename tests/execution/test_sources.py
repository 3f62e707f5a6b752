"""Sources of other schemes than paths, and their replicas: the same bytes, from the first address that gives them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections import OrderedDict
from pathlib import Path

import pytest

from tests.events import SUM_ANALYSIS, write_events
from tests.sources import Doubles
from vrecompute import Client, plugins, reader, retries
from vrecompute.datasets.catalogue import resolve
from vrecompute.errors import (
    AnalysisError,
    BadInput,
    ChangedFile,
    CorruptFile,
    CredentialError,
    DatasetError,
    MiscountedSource,
    MissingColumn,
    MissingTree,
    TransientRead,
    UnreadableFile,
)
from vrecompute.execution import replicas
from vrecompute.execution.wholefile import digest_at
from vrecompute.reader import handles, rawfile

pytestmark = pytest.mark.usefixtures("lent_workers")

CHUNK_BYTES = 2000


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("files")
    for number in range(2):
        write_events(made / f"{number}.root", 300, number, clusters=4)
    (made / "sums.py").write_text(SUM_ANALYSIS)
    return made


@pytest.fixture
def doubles(folder, monkeypatch) -> Doubles:
    made = Doubles(folder)
    monkeypatch.setitem(plugins.SOURCE_SCHEMES, "double", made)
    monkeypatch.setattr(retries, "_WAITS", {"wait_initial": 0.001, "wait_max": 0.001, "wait_jitter": 0.0})
    monkeypatch.setattr(replicas, "_gave", {})
    for cache in (handles, rawfile):  # nothing is open yet
        monkeypatch.setattr(cache, "_cache", OrderedDict())
    return made


@pytest.fixture
def run(dask, folder, tmp_path):
    """`run(*files)` of a dataset, or of entries of its YAML, in a store of this test's own."""
    client = Client(dask=dask, store=tmp_path / "store")

    def ended(*files, **options):
        listed = list(files)
        if not isinstance(files[0], str):
            entries = "\n".join(f"    - {json.dumps(entry)}" for entry in files)
            (tmp_path / "d.yaml").write_text(f"schema: 1\nsamples:\n- name: events\n  files:\n{entries}\n")
            listed = [str(tmp_path / "d.yaml")]
        return client.run(str(folder / "sums.py"), listed, chunk_bytes=CHUNK_BYTES, task_chunks=2, **options).wait(120)

    with client:
        yield ended


@pytest.fixture(scope="module")
def right(dask, folder, tmp_path_factory) -> bytes:
    """The result of both files, as files."""
    with Client(dask=dask, store=tmp_path_factory.mktemp("right")) as client:
        files = [str(folder / f"{n}.root") for n in range(2)]
        ended = client.run(str(folder / "sums.py"), files, chunk_bytes=CHUNK_BYTES).wait(120)
        assert ended.status == "complete"
        return ended.result().to_bytes()


def entries(*hosts: str, **said):
    """Both files at these hosts, the first of which is their address."""
    return [
        {"path": f"double://{hosts[0]}/{n}.root", "replicas": [f"double://{h}/{n}.root" for h in hosts[1:]], **said}
        for n in range(2)
    ]


def elsewhere(report) -> str:
    return "; ".join(w for w in report.warnings if w.startswith("replicas were read"))


def test_another_scheme_gives_the_same_bytes_and_shares_parts_with_a_copy(run, right, doubles, folder):
    first = run("double://a/0.root", "double://a/1.root")
    assert first.status == "complete", first.report().failures
    assert first.result().to_bytes() == right
    assert first.report().warnings == ()
    looked = dict(doubles.reads)
    again = run("double://a/0.root", "double://a/1.root", label="y")
    assert again.report().chunks.computed == 0
    assert dict(doubles.reads) == looked, "a known source is not read again"
    staged = run(*(str(folder / f"{n}.root") for n in range(2)))
    assert (staged.report().chunks.computed, staged.result().to_bytes()) == (0, right)


@pytest.mark.parametrize("kind", ["ttree", "rntuple"])
def test_every_column_is_the_same_by_kernels_and_by_uproot(doubles, tmp_path, kind):
    import uproot

    path = write_events(tmp_path / "t.root", 500, 3, clusters=5)
    if kind == "rntuple":
        with uproot.open(path) as file, uproot.recreate(tmp_path / "n.root") as out:
            out.mkrntuple("Events", file["Events"].arrays(["run", "weight", "Muon_pt"]))
        path = tmp_path / "n.root"
    doubles.folder = tmp_path
    address, names = f"double://a/{path.name}", ["run", "weight", "Muon_pt"]
    assert reader.inspect(address).identity == reader.inspect(str(path)).identity
    assert reader.inspect(address).kind == kind
    for start, stop in ((0, 500), (120, 321)):
        mine, theirs = (reader.read(at, "Events", names, start, stop) for at in (address, str(path)))
        for name in names:
            assert (mine[name].values == theirs[name].values).all()
    assert digest_at(address, "sha256") == digest_at(str(path), "sha256")


def test_a_source_that_fails_once_is_tried_again_and_counted(run, right, doubles):
    doubles.failing["a"] = 3
    report = (ended := run(*entries("a", "b"))).report()
    assert (report.status, ended.result().to_bytes()) == ("complete", right)
    assert report.read_retries == 3
    assert "the connection was lost" in report.retried
    assert not any("//b/" in address for address in doubles.looks), "no replica is asked where the first one gives"


def test_a_replica_that_fails_for_good_is_followed_by_the_next_in_order_and_said(run, right, doubles):
    doubles.failing |= {"a": -1, "b": -1}
    report = (ended := run(*entries("a", "b", "c", "d"))).report()
    assert (report.status, ended.result().to_bytes()) == ("complete", right)
    assert report.read_retries == 2 * 2 * 5, "six tries of a, then of b, for each file"
    assert "double://c/0.root was read for double://a/0.root: double://a/0.root: the connection was lost" in elsewhere(
        report
    )
    assert not any("//d/" in address for address in doubles.looks)
    assert {f.file for f in report.files} == {"double://a/0.root", "double://a/1.root"}
    assert not any("rewritten" in warning for warning in report.warnings)


def test_a_replica_that_fails_after_preflight_is_followed_too_and_its_parts_are_reused(run, right, doubles):
    assert run(*entries("a", "b")).status == "complete"
    doubles.failing["a"] = -1
    report = (ended := run(*entries("a", "b"), pt_min_gev=10.5)).report()
    assert (report.status, report.chunks.reused) == ("complete", 0), report.failures
    assert "double://b/0.root was read for double://a/0.root" in elsewhere(report)
    assert not any("rewritten" in warning for warning in report.warnings), report.warnings
    again = run(*entries("a", "b"), pt_min_gev=10.5)
    assert (again.report().chunks.computed, again.result().to_bytes()) == (0, ended.result().to_bytes())


@pytest.mark.parametrize("wrong", ["absent", "cut", "another size", "another checksum", "other events"])
def test_a_replica_that_is_not_there_or_is_another_file_is_not_taken(run, right, doubles, folder, tmp_path, wrong):
    doubles.folder = tmp_path
    said = {}
    for n in range(2):
        shutil.copy(folder / f"{n}.root", tmp_path / f"good{n}.root")
        bad = tmp_path / f"bad{n}.root"
        if wrong == "cut":
            bad.write_bytes((folder / f"{n}.root").read_bytes()[:-100])
        elif wrong != "absent":
            write_events(bad, 300 if wrong != "other events" else 200, 7 + n, clusters=3)
    if wrong == "other events":
        said = {"entries": 300}
    listed = []
    for n in range(2):
        good = tmp_path / f"good{n}.root"
        if wrong == "another size":
            said = {"size_bytes": good.stat().st_size}
        if wrong == "another checksum":
            said = {"adler32": digest_at(str(good), "adler32")}
        listed.append({"path": f"double://a/bad{n}.root", "replicas": [str(good)], **said})
    report = (ended := run(*listed)).report()
    assert (report.status, ended.result().to_bytes()) == ("complete", right), report.failures
    assert f"{tmp_path}/good0.root was read for double://a/bad0.root" in elsewhere(report)


def test_where_no_replica_gives_the_source_the_report_names_all(run, doubles):
    doubles.failing |= {"a": -1, "b": -1}
    (failure,) = run(*entries("a", "b")[:1]).report().failures
    assert (failure.file, failure.kind) == ("double://a/0.root", "unreadable")
    assert failure.reason.startswith("the connection was lost; double://b/0.root: the connection was lost")


def test_what_is_wrong_with_the_file_is_not_looked_for_elsewhere(run, doubles):
    (failure,) = run({**entries("a", "b")[0], "tree": "Nothing"}).report().failures
    assert failure.kind == "missing-tree"
    assert not any("//b/" in address for address in doubles.looks)


def test_errors_know_what_is_at_fault():
    scopes = {e: e.scope for e in (BadInput, *BadInput.__subclasses__(), *UnreadableFile.__subclasses__())}
    assert {e for e, scope in scopes.items() if scope == "moment"} == {TransientRead}
    assert {e for e, scope in scopes.items() if scope == "replica"} == {
        *(UnreadableFile, CorruptFile, ChangedFile, MiscountedSource, CredentialError)
    }
    assert {e for e, scope in scopes.items() if scope == "file"} == {BadInput, MissingTree, MissingColumn}
    assert not issubclass(AnalysisError, BadInput)


def test_what_no_package_serves_is_refused_and_replicas_are_single_files(tmp_path, folder):
    with pytest.raises(DatasetError, match="scheme 'nothing' cannot be read yet"):
        resolve("nothing://a/0.root")
    for entry, match in (
        ('{path: "nothing://a/0.root"}', "scheme 'nothing'"),
        (f"{{path: {folder}/0.root, replicas: [{folder}]}}", "a replica is one file"),
        (f"{{path: {folder}, replicas: [{folder}/0.root]}}", "a replica is that of one file"),
    ):
        (tmp_path / "d.yaml").write_text(f"schema: 1\nsamples:\n- name: a\n  files:\n  - {entry}\n")
        with pytest.raises(DatasetError, match=match):
            resolve(str(tmp_path / "d.yaml"))
    (tmp_path / "d.yaml").write_text(
        "schema: 1\nsamples:\n- name: a\n  files:\n  - {path: x/0.root, size_bytes: 9, replicas: [y/0.root, 's://h/z']}\n"
    )
    (source,) = resolve(str(tmp_path / "d.yaml")).sources
    assert source.addresses == (f"{tmp_path}/x/0.root", f"{tmp_path}/y/0.root", "s://h/z")
    assert source.size == 9


SERVING = """
    from vrecompute.reader.localfile import LocalFile

    def serve(address):
        return LocalFile.look(address.removeprefix("folder://here"))
"""


def test_a_package_adds_a_scheme_for_workers_too(folder, tmp_path):
    """By its entry point, in processes of their own."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "serving.py").write_text(textwrap.dedent(SERVING))
    about = tmp_path / "served" / "serving-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: serving\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[vrecompute.sources]\nfolder = serving:serve\n")
    names = [f"folder://here{folder}/{n}.root" for n in range(2)]
    words = ["run", str(folder / "sums.py"), *names, "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "vrecompute", *words, "--store", "store", "--out", "out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "served"), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["status"], report["events"]["seen"]) == ("complete", 600)
