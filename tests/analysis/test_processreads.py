"""Whatever way `process` reads something, it is told by name and line, and no other run takes what came of it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.events import write_events
from tests.readers import HEARD, OWN, READERS, write_readers
from vrecompute import Client
from vrecompute.analysis.analysisfile import load_file
from vrecompute.analysis.processreads import Reads, forget

LINES = {
    match[1]: READERS[: match.start()].count("\n") + 1 for match in re.finditer(r"^def (\w+)", READERS, re.MULTILINE)
}
# They ask for a port, or find what an earlier one left in the process.
NETWORK = ("url", "connected")
ALONE = (*NETWORK, "imported", "from_package")


def heard(folder: Path, *names: str, **given) -> tuple[str, ...]:
    """What is told while these are called one after another, in a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        patch.delitem(sys.modules, "cuts", raising=False)
        readers = load_file(write_readers(folder))
        forget()  # as a new run does
        reads = Reads()
        with reads.watching(""):
            for name in names:
                try:
                    readers.call(name, **given)
                except Exception:
                    assert name in HEARD
        sys.modules.pop("cuts", None)
    return reads.told


def lines(told: tuple[str, ...]) -> set[str]:
    """The functions that they are told of."""
    found = {int(re.search(r" at readers\.py:(\d+), inside process; ", one)[1]) for one in told}
    return {max((n for n in LINES if LINES[n] <= line), key=LINES.get) for line in found}


@pytest.mark.parametrize("name", HEARD)
def test_every_way_to_read_is_told_by_name_and_line(tmp_path, name):
    with socket.create_server(("127.0.0.1", 0)) as server:
        if name == "url":
            threading.Thread(target=_answer, args=(server,), daemon=True).start()
        told = heard(tmp_path, name, **({"port": server.getsockname()[1]} if name in NETWORK else {}))
    assert any(one.startswith(HEARD[name]) for one in told), told
    assert lines(told) == {"in_thread" if name == "in_thread_of_a_thread" else name}


def _answer(server: socket.socket) -> None:
    connection, _ = server.accept()
    connection.recv(4096)
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n20")
    connection.close()


@pytest.mark.parametrize("name", OWN)
def test_what_process_makes_and_what_is_no_users_is_not_told(tmp_path, name):
    assert heard(tmp_path, name) == ()


@given(st.lists(st.sampled_from([n for n in (*HEARD, *OWN) if n not in ALONE]), max_size=6, unique=True))
@settings(max_examples=15, deadline=None)
def test_each_of_several_is_told_and_nothing_else(tmp_path_factory, names):
    told = heard(tmp_path_factory.mktemp("readers"), *names)
    wanted = {"in_thread" if n == "in_thread_of_a_thread" else n for n in names if n in HEARD}
    assert lines(told) == wanted


ANALYSIS = """
import importlib
import linecache
import os
import subprocess
import sys
import threading
from pathlib import Path

from vrecompute import Analysis, Result

HERE = Path(__file__).parent
FILE = HERE / "cuts.txt"
held = {"open": open}
known = {}


def in_a_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(held["open"](FILE).read()))
    thread.start()
    thread.join()
    return found[0]


def from_a_module():
    sys.path.insert(0, str(HERE))
    try:
        return importlib.import_module("li" + "mits").CUT
    finally:
        sys.path.remove(str(HERE))


class Cut(Analysis):
    name = "cut"

    def columns(self, source):
        return ("Muon_pt",)

    def variations(self, sample):
        return ("nominal", VARIATION)

    def process(self, events):
        value = VALUE
        return Result(counters={"cut": float(value)})
"""
CHUNK_BYTES = 1200
# By what is in a line of the analysis.
EDITED = {
    "held['open'](FILE).read()": ("cuts.txt is read", "value = "),
    "known.get('cut') or known.setdefault('cut', held['open'](FILE).read())": ("cuts.txt is read", "value = "),
    "vars(Cut).get('cut') or setattr(Cut, 'cut', held['open'](FILE).read()) or Cut.cut": (
        "cuts.txt is read",
        "value = ",
    ),
    "in_a_thread()": ("cuts.txt is read", "target="),
    "from_a_module()": ("limits.py is read", "import_module("),
    "linecache.getline(str(FILE), 1)": ("cuts.txt is read", "value = "),
    "subprocess.run(['cat', FILE], capture_output=True).stdout": ("another program (cat) is run", "value = "),
    "events.variations[1]": ("cuts.txt is read", "nominal"),
}


def at(what: str, text: str) -> str:
    (line,) = (n for n, line in enumerate(ANALYSIS.splitlines(), 1) if text in line)
    return f"{what} at analysis.py:{line}"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Client(workers=1, threads=1, store=tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> str:
    """Eight chunks."""
    return str(write_events(tmp_path_factory.mktemp("events") / "e.root", 400, clusters=4))


@pytest.fixture
def run(client, events, tmp_path, monkeypatch):
    """`run(value, cut)`: a run that has ended of an analysis with this text as its value, while a file says `cut`."""
    monkeypatch.setattr(client, "_store_given", tmp_path / "store")

    def ended(value: str, cut: float, variation: str = "'up'", more: str = "", **options):
        (tmp_path / "cuts.txt").write_text(str(cut))
        (tmp_path / "limits.py").write_text(f"CUT = {cut}\n")
        text = ANALYSIS.replace("VALUE", value).replace("VARIATION", variation) + more
        (tmp_path / "analysis.py").write_text(text)
        options = {"chunk_bytes": CHUNK_BYTES, "task_chunks": 1} | options
        return client.run(str(tmp_path / "analysis.py"), events, **options).wait(120)

    return ended


def cut(run) -> float:
    total = run.report().chunks.total
    assert total == 8
    return run.result().total.counters["cut"] / total


@pytest.mark.parametrize("value", EDITED)
def test_an_edit_of_what_process_reads_gives_its_own_number(run, client, events, tmp_path, value):
    told = at(*EDITED[value])
    for number in (20.0, 30.0):
        ended = run(value, number, "held['open'](FILE).read()" if "variations" in value else "'up'")
        assert cut(ended) == number
        assert ended.report().chunks.reused == 0
        not_reused = f"the parts of this run will not be reused by another run: {told}, inside process; "
        assert any(warning.startswith(not_reused) for warning in ended.report().warnings)
    why = f"{told}, inside process: 8 of 8 chunks are computed anew"
    assert ended.report().recomputed == why
    assert client.explain(str(tmp_path / "analysis.py"), events, chunk_bytes=CHUNK_BYTES).why == why


@pytest.mark.parametrize(
    "value", ["20.0", "events.resources['cuts'].read_text()", "(HERE / 'own').write_text('1') * 20"]
)
def test_what_reads_nothing_of_its_own_is_reused(run, value):
    declared = "\n    def resources(self):\n        return {'cuts': FILE}\n"
    for reused in (0, 8):
        ended = run(value, 20.0, more=declared)
        assert cut(ended) == 20.0
        assert ended.report().chunks.reused == reused
        assert ended.report().recomputed == ""
        assert not [w for w in ended.report().warnings if "reused" in w]


def test_once_mended_it_is_reused_again(run):
    assert cut(run("held['open'](FILE).read()", 20.0)) == 20.0
    mended = run("20.0", 30.0)
    assert mended.report().recomputed.startswith("the analysis changed (Cut.process(), ")
    assert not [w for w in mended.report().warnings if "reused" in w]
    assert run("20.0", 40.0).report().chunks.reused == 8


def test_parts_of_before_the_first_read_are_reused(run):
    value = "held['open'](FILE).read() if events.stop == 400 else 20.0"
    assert run(value, 20.0).result().total.counters["cut"] == 160.0
    again = run(value, 30.0)
    assert again.result().total.counters["cut"] == 170.0
    assert (again.report().chunks.reused, again.report().chunks.computed) == (7, 1)


def test_a_run_that_is_taken_up_again_goes_on_from_its_own_parts(run, client, tmp_path):
    value = f"held['open']({str(tmp_path / 'cuts.txt')!r}).read()"
    first = run(value, 20.0)
    whole = first.result().to_bytes()
    home = Path(first.store.url)
    parts = sorted(home.glob(f"work/*/runs/{first.id}/*.zip"))
    assert len(parts) == 8
    assert not list(home.glob("work/*/parts/*"))
    # What a killed client leaves.
    shutil.rmtree(home / "runs" / first.id / "outcomes")
    shutil.rmtree(home / "runs" / first.id / "events")
    for part in parts[:3]:
        part.unlink()
    attached = client.attach(first.id)
    assert attached.status == "interrupted"
    report = attached.resume().report(timeout_s=60)
    assert (report.chunks.reused, report.chunks.computed) == (5, 3)
    assert attached.result().to_bytes() == whole
    assert any(at("cuts.txt is read", "value = ") in warning for warning in report.warnings)
    # Where every run looks, it is not what was written there.
    stranger = parts[3].parents[2] / "parts" / parts[3].name
    stranger.parent.mkdir()
    shutil.copy(parts[3], stranger)
    other = run(value, 30.0)
    assert cut(other) == 30.0
    assert other.report().chunks.reused == 0


@pytest.fixture
def folders(tmp_path):
    """Two folders with a file of one name that says another number."""
    for name, number in (("a", 20.0), ("b", 30.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "where.txt").write_text(str(number))
    return tmp_path / "a", tmp_path / "b"


READ_HERE = {
    "open('where.txt').read()": "where.txt is read at analysis.py:",
    "held['open']('./where.txt').read()": "where.txt is read at analysis.py:",
    "max(Path(n).read_text() for n in os.listdir() if n == 'where.txt')": "folder . is listed at analysis.py:",
    "subprocess.run(['cat', 'where.txt'], capture_output=True).stdout or 1": "another program (cat) is run at analysis",
    "Path('nowhere.txt').read_text() if Path.exists(Path('nowhere.txt')) else 20.0": "nowhere.txt is looked for at ana",
    "[os.chdir('.'), open('where.txt').read()][1]": "folder . is entered at analysis.py:",
    "20.0 if os.getcwd().endswith('a') else 30.0": "the working directory is asked for at analysis.py:",
    "20.0 if Path.cwd().name == 'a' else 30.0": "the working directory is asked for at analysis.py:",
    "20.0 if os.path.abspath('.').endswith('a') else 30.0": ". is looked for in the working directory at analysis",
    "held['open'](os.path.realpath('where.txt')).read()": "where.txt is looked for in the working directory at ana",
    "held['open'](Path('where.txt').resolve()).read()": "where.txt is looked for in the working directory at ana",
}


@pytest.mark.parametrize("value", READ_HERE)
def test_a_relative_path_is_of_the_folder_where_the_run_was_asked_for(run, client, folders, monkeypatch, value):
    mine, other = folders
    client.dask.run(os.chdir, str(mine))
    monkeypatch.chdir(mine)
    here = run(value, 1.0)
    assert cut(here) == 20.0
    assert any(f": {READ_HERE[value]}" in w for w in here.report().warnings) or "chdir" in value
    monkeypatch.chdir(other)
    there = run(value, 1.0)
    report = there.report()
    assert report.status == "failed"
    assert report.chunks.reused == 0
    (failure,) = {f.reason for f in report.failures}
    assert failure.startswith(READ_HERE[value]), failure
    assert f"The worker runs in {mine}, and the run was asked for in {other}: " in failure


ANYWHERE = [
    "[os.chdir(HERE), held['open']('cuts.txt').read()][1]",
    "held['open'](os.path.abspath(events.resources['cuts'])).read()",
    "Path(events.resources['cuts']).resolve().read_text()",
    "Path('/').resolve() and (HERE / 'cuts.txt').read_text()",
    "[open('own.txt', 'w').write('20'), open('own.txt').read()][1]",
    "subprocess.run(['cat', FILE], capture_output=True).stdout",
]


@pytest.mark.parametrize("value", ANYWHERE)
def test_what_is_the_same_file_from_everywhere_is_read(run, client, folders, monkeypatch, value):
    client.dask.run(os.chdir, str(folders[0]))
    monkeypatch.chdir(folders[1])
    assert cut(run(value, 20.0, more="\n    def resources(self):\n        return {'cuts': FILE}\n")) == 20.0


def test_the_place_of_the_code_is_in_no_key(run):
    ended = run("20.0 if '/' in __file__ else 30.0", 1.0)
    assert cut(ended) == 20.0
    assert any(": the place of its file (__file__) is read at analysis.py:" in w for w in ended.report().warnings)
    assert run("20.0 if '/' in __file__ else 30.0", 1.0).report().chunks.reused == 0


def test_a_mapped_function_is_listened_to(client, events, tmp_path):
    (tmp_path / "cuts.txt").write_text("20")
    read = {"it": (tmp_path / "cuts.txt").read_text}
    ended = client.map(lambda batch: float(read["it"]()), events)
    assert any("cuts.txt is read at test_processreads.py:" in w for w in ended.report(timeout_s=60).warnings)


def test_the_analysis_own_package_counts_by_its_text_and_its_data_do_not(tmp_path, monkeypatch):
    home = tmp_path / "ownpackage"
    home.mkdir()
    (home / "__init__.py").touch()
    (home / "cuts.py").write_text("from pathlib import Path\nDATA = (Path(__file__).parent / 'cuts.txt').read_text()\n")
    (home / "cuts.txt").write_text("20")
    monkeypatch.syspath_prepend(str(tmp_path))
    reads = Reads()
    with reads.watching("ownpackage"):
        import ownpackage.cuts
    assert ownpackage.cuts.DATA == "20"
    (told,) = reads.told
    assert told.startswith("cuts.txt is read at cuts.py:2")
