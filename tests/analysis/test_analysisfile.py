"""FILE.py with modules beside it: found live, detached and by `finish`, and never in place of a library."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile

import pytest

from tests.edits import write_analysis
from tests.events import write_events
from vrecompute import Client
from vrecompute.analysis.analysisfile import load_file, restore, sources_of
from vrecompute.digest import file_sha256
from vrecompute.errors import StoreError, UsageError
from vrecompute.stores.directory import DirStore


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> str:
    return str(write_events(tmp_path_factory.mktemp("events") / "e.root", 200, clusters=2))


def test_modules_beside_the_file_work_live_and_detached_without_any_path(tmp_path, events):
    file = write_analysis(tmp_path / "mine")
    with Client(workers=1, threads=1, store=tmp_path / "store") as client:
        live = client.run(str(file), events)
        result = live.result(timeout_s=120)
        assert live.products() == {"weight": 1.0, "limit": 25.0}
        assert not live.report().warnings
        detached = client.submit(str(file), events, reuse=False)
        deadline = time.monotonic() + 300
        while detached.status not in {"complete", "failed", "interrupted"} and time.monotonic() < deadline:
            time.sleep(0.5)
        assert detached.status == "complete", detached.logs()
        assert detached.result().to_bytes() == result.to_bytes()
        assert detached.report().chunks.reused == 0
        assert detached.report().analysis.digest == live.report().analysis.digest
        assert detached.products() == live.products()
        sources = detached.manifest.source_files
        assert not detached.manifest.resources
    assert sources == {name: f"blobs/{file_sha256(path)}.py" for name, path in sources_of(file).items()}
    assert set(sources) == {
        *("analysis-file.py", "cuts/__init__.py", "cuts/far.py", "cuts/late.py", "myfinish.py"),
    }
    # from another process, which has none of the files
    for path in sources_of(file).values():
        path.unlink()
    code = (
        f"from vrecompute import Client; Client(store={str(tmp_path / 'store')!r}).attach({detached.id!r}).save('out')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env={"PYTHONPATH": ":".join(sys.path)})
    assert (tmp_path / "out" / "report.html").is_file()


def test_no_module_beside_the_file_stands_for_an_installed_or_standard_one(tmp_path):
    for name in ("json", "numpy", "vrecompute", "secrets"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('the wrong one')\n")
    (tmp_path / "own.py").write_text("import json, secrets\nVALUE = json.dumps(1)\n")
    (tmp_path / "ana.py").write_text("import numpy, json, own\nimport vrecompute\nVALUE = own.VALUE\n")
    assert load_file(tmp_path / "ana.py").VALUE == "1"
    assert set(sources_of(tmp_path / "ana.py")) == {"analysis-file.py", "own.py"}


def test_files_of_two_folders_have_modules_of_one_name_and_the_user_keeps_their_own(tmp_path, monkeypatch):
    for folder in ("a", "b", "user"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "siblings.py").write_text(f"NAME = {folder!r}\n")
        (tmp_path / folder / "ana.py").write_text("import siblings\nNAME = siblings.NAME\n")
    first = load_file(tmp_path / "a" / "ana.py")
    assert (first.NAME, load_file(tmp_path / "b" / "ana.py").NAME) == ("a", "b")
    assert load_file(tmp_path / "a" / "ana.py") is first
    assert sys.modules["siblings"].NAME == "a"
    monkeypatch.delitem(sys.modules, "siblings")
    monkeypatch.syspath_prepend(tmp_path / "user")
    import siblings

    assert siblings.NAME == "user"
    (tmp_path / "a" / "siblings.py").write_text("NAME = 'A'\n")
    assert load_file(tmp_path / "a" / "ana.py").NAME == "A"
    assert sys.modules["siblings"] is siblings


def test_a_file_that_cannot_be_imported_says_why(tmp_path):
    file = tmp_path / "ana.py"
    file.write_text("import no_such_module_anywhere\n")
    with pytest.raises(UsageError, match=r"ana\.py cannot be imported: ModuleNotFoundError: .*no_such_module"):
        load_file(file)
    file.write_text("def broken(:\n")
    with pytest.raises(UsageError, match="cannot be imported: SyntaxError"):
        load_file(file)
    file.write_text("raise BaseException('no')\n")
    with pytest.raises(UsageError, match="cannot be imported: BaseException: no"):
        load_file(file)
    file.write_text("VALUE = 1\n")
    assert load_file(file).VALUE == 1


@pytest.mark.parametrize("ends", ["sys.exit()", "sys.exit(0)", "exit(3)", "argparse.ArgumentParser().error('no')"])
def test_a_file_that_exits_when_it_is_imported_is_told_so(tmp_path, ends):
    file = tmp_path / "ana.py"
    file.write_text(f"import argparse\nimport sys\n{ends}\n")
    with pytest.raises(UsageError, match=r"ana\.py cannot be imported: it exits in line 3, .*__main__"):
        load_file(file)


def test_a_module_beside_the_file_may_have_any_name(tmp_path):
    store = DirStore(tmp_path / "store")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "analysis.py").write_text("VALUE = 3\n")
    file = tmp_path / "mine" / "ana.py"
    file.write_text("import analysis\nVALUE = analysis.VALUE\n")
    kept = {name: f"blobs/{file_sha256(path)}.py" for name, path in sources_of(file).items()}
    for name, path in sources_of(file).items():
        store.create(kept[name], path.read_bytes())
    restored = restore(store, kept, tmp_path / "there")
    assert restored.read_text() == file.read_text()
    assert load_file(restored).VALUE == 3


@pytest.mark.parametrize("name", ["../evil.py", "/tmp/evil.py", "a/../../evil.py", "evil.so", "a//b.py"])
def test_a_manifest_decides_not_where_a_source_is_written(tmp_path, name):
    store = DirStore(tmp_path / "store")
    store.create("blobs/aa.py", b"1")
    with pytest.raises(StoreError):
        restore(store, {"analysis-file.py": "blobs/aa.py", name: "blobs/aa.py"}, tmp_path / "x" / "y")
    assert not list(tmp_path.rglob("evil*"))


def test_a_source_that_was_altered_in_the_store_is_not_run(tmp_path):
    store = DirStore(tmp_path / "store")
    (tmp_path / "a.py").write_text("1\n")
    name = f"blobs/{file_sha256(tmp_path / 'a.py')}.py"
    store.create(name, b"2\n")
    with pytest.raises(StoreError):
        restore(store, {"analysis-file.py": name}, tmp_path / "x")


NAMED = {
    "ana.py": """
import tools
from vrecompute import Analysis, Result


class Named(Analysis):
    name = "named"

    def columns(self, source):
        return ("Muon_pt",)

    def process(self, events):
        return Result(counters={"x": tools.cut()})
""",
    "tools/__init__.py": """
import importlib
from importlib import import_module


def cut():
    loose = importlib.import_module("tools.loose")
    return loose.CUT + import_module(".tight", __package__).CUT + __import__("beside").CUT
""",
    "tools/loose.py": "CUT = 1.0\n",
    "tools/tight.py": "CUT = 2.0\n",
    "beside.py": "CUT = 4.0\n",
}
MADE_UP = """
from importlib import import_module

def cut():
    return import_module("lo" + "ose").CUT
"""


def test_modules_that_are_imported_by_a_name_written_as_text_travel_and_count(tmp_path, events):
    def write(name, text):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    for name, text in NAMED.items():
        write(name, text)
    file = tmp_path / "ana.py"
    beside = {name for name in NAMED if name != "ana.py"}
    assert set(sources_of(file)) == {"analysis-file.py", *beside}
    with Client(workers=1, threads=1, store=tmp_path / "store") as client:
        for edited, right in ((None, 7.0), ("tools/loose.py", 106.0), ("tools/tight.py", 204.0), ("beside.py", 300.0)):
            if edited is not None:
                write(edited, "CUT = 100.0\n")
            run = client.run(str(file), events)
            chunks = run.report(timeout_s=120).chunks
            assert (chunks.reused, chunks.failed) == (0, 0), run.report().failures
            assert run.result().total.counters["x"] == right * chunks.total
        write("loose.py", "CUT = 1.0\n")
        write("tools/__init__.py", MADE_UP)
        run = client.run(str(file), events)
        assert run.report(timeout_s=120).status == "failed"
        (said, *_) = (f.reason for f in run.report().failures)
        assert said.startswith("__init__.py:5 in cut: ModuleNotFoundError: No module named 'loose'; workers get those")


@pytest.mark.parametrize("name", ["ana.py", "beside.py"])
def test_a_file_that_no_person_wrote_is_refused_before_it_is_read(tmp_path, name):
    (tmp_path / "ana.py").write_text("import beside\n")
    (tmp_path / "beside.py").write_text("")
    os.truncate(tmp_path / name, 8 << 30)
    with pytest.raises(UsageError, match=rf"{name} has 8.6 GB, and an analysis file, .*, has at most 2.1 MB"):
        load_file(tmp_path / "ana.py")


@pytest.mark.parametrize("text", ["-" * 100_000 + "1", "x = " + "a." * 100_000 + "b", "x = " + "1+" * 100_000 + "1"])
def test_a_text_that_nests_too_deeply_cannot_be_imported(tmp_path, text):
    (tmp_path / "ana.py").write_text(text)
    with pytest.raises(UsageError, match=r"ana.py cannot be imported: (Memory|Recursion)Error"):
        load_file(tmp_path / "ana.py")


@pytest.mark.parametrize("module", ["zcuts", "zpackage.cuts"])
def test_a_module_in_an_archive_is_named_with_what_to_do(tmp_path, monkeypatch, module):
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as archive:
        archive.writestr("zcuts.py", "CUT = 40\n")
        archive.writestr("zpackage/__init__.py", "")
        archive.writestr("zpackage/cuts.py", "CUT = 40\n")
    monkeypatch.syspath_prepend(tmp_path / "lib.zip")
    (tmp_path / "a.py").write_text(f"from {module} import CUT\n")
    said = rf"^a\.py imports {module.partition('.')[0]}, which lies in the archive {tmp_path}/lib\.zip; .*: unpack it"
    with pytest.raises(UsageError, match=said):
        load_file(tmp_path / "a.py")
