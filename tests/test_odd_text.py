"""Text from an analysis or a command line may hold anything, half of a surrogate pair too (a byte that is not UTF-8).

What it says is spelled out, names that no document could hold are refused, and a store holds strict JSON alone.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.events import write_events
from tests.fuzz.commandline import command
from vrecompute import Client
from vrecompute.campaign.ledger import Ledger
from vrecompute.cli import bug
from vrecompute.cli.bug import BUG
from vrecompute.errors import EXIT_CODES, Unavailable, UsageError, VrecomputeError
from vrecompute.stores.directory import DirStore
from vrecompute.stores.objects import read_document, write_document
from vrecompute.utf8text import is_utf8, utf8, utf8_data

pytestmark = pytest.mark.usefixtures("lent_workers")

BYTE = os.fsdecode(b"caf\xe9")
ANALYSIS = """
import warnings

import boost_histogram as bh
import numpy as np

from vrecompute import Analysis, Array, Result

TEXT = {text}


def drawn(*axes, **options):
    return bh.Histogram(*(axes or (bh.axis.Regular(2, 0, 1),)), **options)


class Odd(Analysis):
    name = "odd"
    {declared}

    def columns(self, source):
        return ["Muon_pt"]

    def variations(self, sample):
        return {variations}

    def process(self, events):
        {process}


def finish(results, analysis, context):
    {finish}
"""
FINE = 'return Result(counters={"n": len(events)})'
# Of each place for the text: what it stands in, and the statement.
PLACES = {
    "message": ("process", "raise RuntimeError(f'{TEXT} has no corrections')"),
    "note": ("process", "error = ValueError('x'); error.add_note(TEXT); raise error"),
    "exit": ("process", "raise SystemExit(TEXT)"),
    "memory": ("process", "raise MemoryError(TEXT)"),
    "warning": ("process", f"warnings.warn(TEXT); {FINE}"),
    "counter": ("process", "return Result(counters={TEXT: 1})"),
    "channel": ("process", "return Result(cutflow={TEXT: {'x': 1}})"),
    "cut": ("process", "return Result(cutflow={'x': {TEXT: 1}})"),
    "histogram": ("process", "return Result(histograms={TEXT: drawn()})"),
    "array": ("process", "return Result(arrays={TEXT: Array(np.ones(2))})"),
    "table": ("process", "return Result(tables={TEXT: {'x': np.ones(2)}})"),
    "column": ("process", "return Result(tables={'x': {TEXT: np.ones(2)}})"),
    "row": ("process", "return Result(tables={'x': {'x': np.array([TEXT, 'x'])}})"),
    "category": ("process", "return Result(histograms={'x': drawn(bh.axis.StrCategory(['x' + TEXT, 'x']))})"),
    "axis": ("process", "return Result(histograms={'x': drawn(bh.axis.Regular(2, 0, 1, metadata=TEXT))})"),
    "metadata": ("process", "return Result(histograms={'x': drawn(metadata={'x': [TEXT]})})"),
    "version": ("declared", "version = TEXT"),
    "name": ("declared", "name = TEXT"),
    "title": ("declared", "title = TEXT"),
    "variation": ("variations", '("nominal", TEXT)'),
    "product": ("finish", "return {'x': {'x': TEXT}}"),
    "product name": ("finish", "return {'x': {TEXT: 1}}"),
    "message of finish": ("finish", "raise ValueError(TEXT)"),
}
# Those of which the text is told, rather than kept.
TOLD = {"message", "note", "exit", "memory", "warning", "title", "variation", "message of finish"}
TEXTS = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ["", BYTE, "\ud800", "\udfff\ud800", "\x1b[31m", "a\nb", "\0", "/", "::", "..", "x" * 50_000, "\U0001f600"]
)


def source(place: str, text: str) -> str:
    """An analysis with the text in that place."""
    parts = {"declared": "", "variations": '("nominal",)', "process": FINE, "finish": "return {'x': 1}"}
    parts |= dict([PLACES[place]])
    return ANALYSIS.format(text=ascii(text), **parts)


def strict(folder: Path) -> None:
    """AssertionError where JSON below a folder is none to a reader that keeps to the letter of UTF-8."""
    for path in folder.rglob("*"):
        if path.suffix == ".json":
            assert_strict(path, path.read_bytes())
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith(".json"):
                        assert_strict(path / name, archive.read(name))


def assert_strict(path: Path, data: bytes) -> None:
    assert utf8_data(read := json.loads(data.decode())) == read, path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    write_events(folder / "a.root", 40, 1, clusters=2)
    return folder / "a.root"


@pytest.fixture
def ended(client: Client, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`ended(place, text)`: the summary of a run with the text in that place, or why it was refused."""
    monkeypatch.setattr(client, "_store_given", tmp_path / "store")

    def carried_out(place: str, text: str) -> Any:
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        (tmp_path / "odd.py").write_text(source(place, text))
        try:
            run = client.run(str(tmp_path / "odd.py"), str(data)).wait(60)
            run.save(tmp_path / "out")
            told = run.report()
            assert [(r.run, r.state) for r in client.runs()] == [(run.id, told.status)]
        except VrecomputeError as refused:
            told = refused
        strict(tmp_path)
        return told

    return carried_out


@given(place=st.sampled_from(sorted(PLACES)), text=TEXTS)
@example(place="histogram", text="x" * 50_000)
@example(place="name", text="")
def test_any_text_of_an_analysis_ends_with_a_documented_exit_code(ended, place, text):
    told = ended(place, text)
    assert told.exit_code in EXIT_CODES
    assert told.exit_code != BUG
    if place in TOLD or (is_utf8(text) and text.isprintable() and 0 < len(text) < 50 and text.isidentifier()):
        assert not isinstance(told, UsageError)


@pytest.mark.parametrize("place", sorted(PLACES))
def test_a_byte_that_is_not_utf8_is_spelled_out_or_refused_by_name(ended, place):
    told = ended(place, BYTE)
    if place in {"warning", "title", "variation"}:
        assert told.status == "complete"
        return
    if isinstance(told, UsageError):
        assert place in {"version", "name"}
        assert f"Odd.{place} is 'caf\\xe9', which is not UTF-8 text" in str(told)
        return
    [failure] = told.failures
    assert told.status == "failed"
    if place == "category":  # boost-histogram takes none
        assert "StrCategory" in failure.traceback
        return
    assert "caf\\xe9" in failure.reason + failure.traceback
    if place == "message":
        assert failure.reason.startswith("odd.py:")
        assert failure.reason.endswith("in process: RuntimeError: caf\\xe9 has no corrections")
    if place not in TOLD:
        assert "not UTF-8" in failure.reason


@pytest.mark.parametrize(
    ("declared", "said"),
    [("version = None", 'Odd.version is None, and has to be text; write version = "1" in the class'),
     ("name = 5", "Odd.name is 5, and has to be text")],
)  # fmt: skip
def test_what_a_class_says_of_itself_is_text(client, data, tmp_path, declared, said):
    (tmp_path / "odd.py").write_text(source("title", "x").replace("title = TEXT", declared))
    with pytest.raises(UsageError) as caught:
        client.run(str(tmp_path / "odd.py"), str(data))
    assert said in str(caught.value)


@pytest.mark.parametrize("returned", ["[10**10000]", "{10**10000: 1}"])
def test_a_number_that_no_reader_of_json_takes_is_refused_in_words(ended, returned, monkeypatch):
    monkeypatch.setitem(PLACES, "product", ("finish", f"return {{'x': {returned}}}"))
    told = ended("product", "x")
    assert told.status == "failed"
    assert "is a whole number of more than 4300 digits" in told.failures[0].reason
    assert "sys." not in told.failures[0].reason


@pytest.fixture
def words(data, tmp_path, monkeypatch):
    """`words(*options)`: exit code and error of a run that gets no workers."""

    def refused(*arguments, **options):
        raise Unavailable("no worker is started here")

    monkeypatch.setattr(Client, "_carry_out", refused)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.py").write_text(source("title", "x"))

    def called(*options: str) -> tuple[int, str]:
        code, _, err = command(["run", "odd.py", str(data), "--store", "store", *options])
        strict(tmp_path)
        return code, err

    return called


@given(option=st.sampled_from(["--label=x=", "--label=", "--tree=", "-px=", "-p", "--out=x"]), text=TEXTS)
@example(option="--label=x=", text=BYTE)
@example(option="--label=", text=f"{BYTE}=x")
@example(option="--tree=", text=BYTE)
@example(option="--out=x", text=BYTE)
def test_any_text_of_an_option_ends_with_a_documented_exit_code(words, option, text):
    if "/" in text or ".." in text:
        return  # no folder but the test's own is written
    code, err = words(f"{option}{text}")
    assert code in {2, Unavailable.exit_code}, err
    if not is_utf8(text) and option != "--out=x":
        name = "-p" if option.startswith("-p") else option.partition("=")[0]
        assert code == 2
        assert name in err
        assert "not UTF-8" in err


@pytest.mark.parametrize(
    ("label", "said"),
    [("x=" + "a" * 100_000, "the value of label 'x' has 100000 letters; write at most 1000"),
     ("x=a\nb", "the value of label 'x' holds a line break or another control character"),
     ("x=\x1b[31m", "the value of label 'x' holds a line break or another control character"),
     ("a\x1bb=x", "label 'a\\x1bb' holds a line break or another control character")],
)  # fmt: skip
def test_a_label_is_one_line_of_bounded_text(words, label, said):
    code, err = words("--label", label)
    assert code == 2
    assert said in err


def test_a_folder_for_outputs_may_have_any_name(words, tmp_path, monkeypatch):
    out = os.fsdecode(b"a\xffb")
    monkeypatch.setattr("sys.argv", ["vrecompute", "run", "--out", out])
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # which another test may have imported
    code, err = words("--out", out)
    assert code == Unavailable.exit_code, err
    [manifest] = (tmp_path / "store").rglob("manifest.json")
    assert "a\\xffb" in json.loads(manifest.read_text())["provenance"]["command"]


def test_a_run_may_be_asked_for_in_a_folder_of_any_name(words, tmp_path, monkeypatch):
    (folder := tmp_path / BYTE).mkdir()
    shutil.copy(tmp_path / "odd.py", folder)
    monkeypatch.chdir(folder)
    code, err = words("--store", str(tmp_path / "store"), "--out", "out")
    assert code == Unavailable.exit_code, err
    [manifest] = (tmp_path / "store").rglob("manifest.json")
    assert json.loads(manifest.read_text())["folder"].endswith("caf\\xe9")


@given(st.dictionaries(TEXTS, TEXTS), st.booleans())
def test_a_document_is_strict_json_whatever_it_says(tmp_path, said, ordered):
    store = DirStore(tmp_path / "s")
    store.delete("runs/r/x.json")
    write_document(store, "runs/r/x.json", "x", {"said": said}, ordered=ordered)
    assert_strict(tmp_path, store.get("runs/r/x.json"))
    assert read_document(store, "runs/r/x.json", "x", lambda body: body["said"]) == utf8_data(said)


@given(TEXTS)
def test_what_is_spelled_out_is_utf8_and_all_else_stays(text):
    assert is_utf8(utf8(text))
    utf8(text).encode()
    if is_utf8(text):
        assert utf8(text) == text


def test_a_ledger_takes_any_message(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite", "weekly", write=True) as ledger:
        ledger.acquire(0.0)
        with ledger.writing():
            ledger.note("failed", "unit", BYTE, why=BYTE)
            ledger.keep_fact("why", BYTE)
        assert ledger.fact("why") == "caf\\xe9"
        [row] = ledger.rows("SELECT subject, detail FROM history WHERE subject = ?", (BYTE,))
        assert json.loads(row["detail"])["why"] == row["subject"] == "caf\\xe9"


def test_the_log_of_a_bug_holds_any_message(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert bug.report_bug(ValueError(BYTE)) == BUG
    [log] = tmp_path.iterdir()
    assert "ValueError: caf" in log.read_text()
    assert "caf\\xe9" in capsys.readouterr().err
