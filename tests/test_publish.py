"""`--out`: a folder holds the outputs of one run, or what it held before; nothing of others is touched."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import time
from pathlib import Path

import pytest

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Client
from vrecompute.cli import main
from vrecompute.digest import sha256_of
from vrecompute.errors import DamagedObject, Incomplete, ResultKept, UsageError
from vrecompute.publish import MARKER, check_directory, claim_directory
from vrecompute.results.file import Completeness
from vrecompute.results.results import Results
from vrecompute.stores.directory import DirStore
from vrecompute.stores.objects import content_name, read_document, sealed, write_content

pytestmark = pytest.mark.usefixtures("lent_workers")


@pytest.fixture
def good(tmp_path) -> Path:
    return write_events(tmp_path / "good.root", 100, clusters=2)


def document(out: Path):
    return json.loads((out / "report.json").read_text())


def test_outputs_of_a_failed_run_hold_nothing_of_an_earlier_one(run, good, tmp_path):
    out = run([str(good), str(tmp_path / "absent.root")], on_bad="skip").save(tmp_path / "out")
    assert document(out)["status"] == "partial"
    assert (out / "result" / "result.zip").is_file()
    (out / "notes.txt").write_text("mine")
    failed = run(str(tmp_path / "absent.root"))
    failed.save(out)
    assert document(out)["run"] == failed.id
    assert sorted(os.listdir(out)) == [MARKER, "notes.txt", "report.html", "report.json"]


def test_a_failed_run_replaces_no_complete_result_and_a_partial_result_says_what_it_is(run, good, tmp_path):
    complete = run(str(good))
    out = complete.save(tmp_path / "out")
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    failed = run(str(tmp_path / "absent.root"))
    with pytest.raises(ResultKept, match=rf"complete result of run {complete.id}; .*runs result {failed.id} --out"):
        failed.save(out)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    partial = run([str(good), str(tmp_path / "absent.root")], on_bad="skip")
    said = Results.from_bytes((partial.save(tmp_path / "other") / "result" / "result.zip").read_bytes()).incomplete
    assert said == Completeness("partial", 100, 100, "100 of 100 events, and 1 file of unknown size not read")
    assert partial.result(allow_partial=True).incomplete == said
    assert complete.result().incomplete is None
    complete.save(tmp_path / "other")
    assert document(tmp_path / "other")["run"] == complete.id


def test_a_folder_of_somebody_else_is_refused_before_anything_starts(run, good, tmp_path, capsys):
    mine = tmp_path / "mine"
    (mine / "result").mkdir(parents=True)
    (mine / "result" / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match=r"mine holds files that vrecompute did not write \(result\)"):
        run(str(good)).save(mine)
    for arguments in (["run", str(tmp_path / "sums.py"), str(good)], ["runs", "result", "last"]):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--store", str(tmp_path / "new"), "--out", str(mine)])
        assert ended.value.code == 2
        assert "choose an empty folder" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "new").exists()
    assert os.listdir(mine) == ["result"]
    with pytest.raises(UsageError, match="Not a directory"):
        check_directory(mine / "result" / "thesis.tex")


@pytest.mark.parametrize("where", ["file/out", "file/deep/out", "/proc/out", "/dev/null/out", "link/out"])
def test_a_place_that_cannot_be_written_is_found_before_anything_starts(good, tmp_path, where, capsys):
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere/deep")
    there = set(tmp_path.iterdir())
    for command in (["run", str(tmp_path / "sums.py"), str(good)], ["runs", "attach", "r"], ["runs", "result", "r"]):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--store", str(tmp_path / "store"), "--out", str(tmp_path / where)])
        assert ended.value.code == 2
        assert "outputs cannot be written there" in " ".join(capsys.readouterr().err.split())
    assert set(tmp_path.iterdir()) == there


@pytest.mark.parametrize("where", ["link", "link/out"])
def test_a_link_to_nothing_is_told_as_one(tmp_path, where):
    (tmp_path / "link").symlink_to("nowhere/deep")
    with pytest.raises(
        UsageError, match=r"cannot be written there: \S+/link is a link to nowhere/deep, where nothing is"
    ):
        check_directory(tmp_path / where)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(UsageError, match=r"/link is a link to link, where nothing is"):
        check_directory(tmp_path / where)


INSIDE = ["runs/mine", "sub", "sources/x", "", "linked"]


@pytest.mark.parametrize("where", INSIDE)
def test_outputs_never_go_into_a_store(run, good, tmp_path, where, capsys):
    ended = run(str(good))
    ended.wait()
    store = Path(ended.store.url)
    before = set(store.rglob("*"))
    (tmp_path / "linked").symlink_to(store / "runs")
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    out = tmp_path / "linked" / "mine" if where == "linked" else store / where
    another = ["--store", str(tmp_path / "new")]
    words = ["run", str(tmp_path / "sums.py"), str(good)]
    for command in (
        [*words, "--store", str(store)],
        [*words, *another],
        ["runs", "result", ended.id, "--store", str(store)],
        ["runs", "attach", ended.id, "--store", str(store)],
        ["dataset", "checksum", str(good)],
        ["site", "init", "x", "--yes", "--backend", "local"],
        ["demo"],
    ):
        with pytest.raises(SystemExit) as ended_so:
            main([*command, "--out", str(out / "x.yaml" if command[0] in ("dataset", "site") else out)])
        assert ended_so.value.code == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"lies inside the store {store}" in said
        assert "name a file or folder elsewhere" in said
    with pytest.raises(SystemExit):
        main(["generate", str(out)])
    assert "lies inside the store" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "new").exists()
    for write in (lambda: ended.save(out), lambda: ended.export("pyhf", out / "w.json")):
        with pytest.raises(UsageError, match="lies inside the store"):
            write()
    assert set(store.rglob("*")) == before


def test_outputs_do_not_go_into_a_store_that_holds_no_run_yet(good, tmp_path, capsys):
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    words = ["run", str(tmp_path / "sums.py"), str(good), "--store", str(tmp_path / "st")]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--out", str(tmp_path / "st" / "runs" / "mine")])
    assert ended.value.code == 2
    assert "lies inside the store" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "st").exists()


@pytest.mark.parametrize("name", ["result", "products", "figures", "figures/deep", f"{MARKER}-x", "store"])
def test_outputs_replace_no_store(run, good, tmp_path, name, capsys):
    out, store = tmp_path / "out", tmp_path / "out" / name
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    words = ["run", str(tmp_path / "sums.py"), str(good), "--store", str(store), "--out", str(out)]
    with pytest.raises(SystemExit) as ended:  # neither is there
        main(words)
    assert ended.value.code == 2
    assert f"the store {store} lies inside {out}" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
    claim_directory(out)
    if name == "store":  # as `vrecompute demo` has it
        check_directory(out, DirStore(store))
        return
    with pytest.raises(SystemExit):
        main(words)
    shutil.copytree(Path(run(str(good)).wait().store.url), store)
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    kept = Client(store=store)
    (facts,) = kept.runs()
    with pytest.raises(UsageError, match="where outputs replace what is there"):
        kept.attach(facts.run).save(out)
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before


def test_looking_whether_a_place_can_be_written_leaves_nothing(tmp_path):
    for where in (tmp_path / "a" / "b" / "c", tmp_path):
        check_directory(where)
        assert not list(tmp_path.iterdir())


def test_outputs_that_cannot_be_written_leave_what_was_there(run, good, tmp_path, monkeypatch):
    first = run(str(good))
    out = first.save(tmp_path / "out")
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    second = run(str(good), pt_min_gev=20.0)
    next(Path(second.store.url).glob(f"runs/{second.id}/results/*.zip")).write_bytes(b"")
    with pytest.raises(DamagedObject, match="damaged"):
        second.save(out)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_outputs_have_the_permissions_of_the_umask(run, good, tmp_path, umask):
    ended = run(str(good))
    before = os.umask(umask)
    try:
        out = ended.save(tmp_path / "out")
    finally:
        os.umask(before)
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in (out, *out.rglob("*"))}
    assert modes == {(True, 0o777 & ~umask), (False, 0o666 & ~umask)}


def test_the_current_folder_may_be_written(run, good, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for _ in range(2):
        run(str(good)).save(".")
    assert sorted(os.listdir()) == sorted([MARKER, "report.html", "report.json", "result"])


def with_outcome(run, change) -> None:
    """The run's outcome, sealed as it should be, with something else in it."""
    store = DirStore(run.store.url)
    (name,) = store.names(f"runs/{run.id}/outcomes")
    body = read_document(store, name, "outcome", dict)
    change(body)
    (store.root / name).write_bytes(sealed(name, "outcome", body, ordered=True))


@pytest.mark.parametrize("name", ["../evil.txt", "/tmp/evil.txt", "a/../../evil.txt", "", "a//b", "a\0b"])
def test_a_product_is_never_written_outside(run, client, good, tmp_path, name):
    ended = run(str(good))
    kept = content_name(f"runs/{ended.id}/products/w", b"evil", ".txt")
    write_content(ended.store, kept, b"evil")
    with_outcome(ended, lambda body: body["product_files"].update({name: kept}))
    with pytest.raises(Incomplete, match="not a plain file name"):
        client.attach(ended.id).save(tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["product_files"].update({"x": "blobs/" + "0" * 64}),
        lambda body: body.update(result="runs/other/results/" + "0" * 64 + ".zip"),
        lambda body: body["summary"].update(result_sha256="0" * 64),
        lambda body: body["summary"].update(run="other"),
        lambda body: body["summary"].update(events=None),
        lambda body: body.pop("failures"),
        lambda body: body.update(chunks=[["a"]]),
    ],
)
def test_an_outcome_that_names_what_is_not_of_its_run_is_none(run, client, good, change, tmp_path, monkeypatch):
    ended = run(str(good))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))  # where no run is known to be complete
    with_outcome(ended, change)
    (facts,) = client.runs()
    assert facts.state == "interrupted"
    assert "outcomes" in facts.trouble
    with pytest.raises(Incomplete, match=r"how it ended is not known: .*is damaged"):
        client.attach(ended.id).result()
    assert client.attach(ended.id).resume().report(timeout_s=60).status == "complete"


def test_the_result_that_is_written_is_the_one_that_is_reported(run, good, tmp_path):
    first, second = run(str(good)), run(str(good), pt_min_gev=50.0)
    (mine,), (other,) = ([*Path(r.store.url).glob(f"runs/{r.id}/results/*.zip")] for r in (first, second))
    shutil.copy(other, mine)
    with pytest.raises(DamagedObject, match="its sha256 is"):
        first.save(tmp_path / "out")
    out = second.save(tmp_path / "out")
    assert sha256_of((out / "result" / "result.zip").read_bytes()) == document(out)["result_sha256"]


FIGURES = (
    SUM_ANALYSIS
    + """

def figures(products, results, context):
    import os, sys
    from pathlib import Path
    png = context.directory / "it.png"
    png.write_bytes(b"PNG")
    {ends}
"""
)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("return [png]", ""),
        ("", ""),
        ("return [object()]", "raised TypeError"),
        ("return 5", "raised TypeError: it returned 5; return a list of the paths that it wrote"),
        ("return str(png)", "return a list of the paths"),
        ('return ["a\\0.png"]', "raised ValueError"),
        ("return [context.directory / 'nosuch.png']", "nosuch.png"),
        ("sys.exit(0)", "raised SystemExit"),
        ("return {'it': png}", "it returned a dict; return a list of the paths that it wrote into context.directory"),
        ("return [png, 7]", "it returned a list with 7; return a list of the paths"),
        ("p = Path(sys.prefix, 'x.png'); return [p]", "x.png is not in context.directory, and is left out"),
        ("png.unlink(); png.symlink_to(png)", "it.png is not a regular file, and is left out"),
        ("png.unlink(); os.mkfifo(png)", "it.png is not a regular file, and is left out"),
        ("png.unlink()", "it wrote none into context.directory, and returned None"),
        ("return ['it.png']", ""),
        ("return (path for path in [png.resolve()])", ""),
        ("os.chdir('/'); return [png]", ""),
        ("os.chdir(context.directory); return ['it.png']", ""),
        ("os.mkfifo(context.directory / 'p.png'); return [context.directory / 'p.png']", "not a regular file"),
        ("os.truncate(png, 3 << 30); return [png]", "at most 64 MiB"),
        ("png.unlink(); png.symlink_to('/dev/zero'); return [png]", "not a regular file"),
    ],
)
def test_what_figures_does_costs_nothing_but_figures(client, good, tmp_path, ends, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "drawn.py"
    file.write_text(FIGURES.replace("{ends}", ends))
    run = client.run(str(file), str(good))
    run.wait()
    with pytest.warns(UserWarning, match="no figures: figures of 'sums'") if said else contextlib.nullcontext():
        out = run.save("out")
    assert out == tmp_path / "out"
    assert (out / "result" / "result.zip").is_file()
    assert all(path.is_dir() or path.is_file() for path in (out / "figures").rglob("*"))
    warnings = [w for w in document(out)["warnings"] if w.startswith("no figures: ")]
    assert bool(warnings) == bool(said)
    assert said in "".join(warnings)
    assert ("data:image/png;base64,UE5H" in (out / "report.html").read_text()) == (not said)


def test_figures_that_lack_are_told_beside_those_that_are_there(good, tmp_path, capsys):
    ends = "os.mkfifo(context.directory / 'f'); return [png, '/x.png']"
    (tmp_path / "drawn.py").write_text(FIGURES.replace("{ends}", ends))
    words = ["run", str(tmp_path / "drawn.py"), str(good), "--store", str(tmp_path / "s"), "--out", str(tmp_path / "o")]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--json"])
    assert not ended.value.code
    said = capsys.readouterr()
    (warning,) = (w for w in json.loads(said.out)["warnings"] if "figures" in w)
    assert warning == (
        "not all figures: figures of 'sums': f is not a regular file, and is left out; "
        "/x.png is not in context.directory, and is left out; write figures there"
    )
    assert warning in document(tmp_path / "o")["warnings"]
    assert f"warning: {warning}" in said.err
    assert os.listdir(tmp_path / "o" / "figures") == ["it.png"]


@pytest.mark.parametrize("at", ["finish", "process", "import"])
def test_code_that_goes_to_another_folder_moves_nothing(good, tmp_path, at, monkeypatch):
    monkeypatch.chdir(good.parent)
    code = {"import": "\n\nimport os; os.chdir('/')\n"}.get(at, "\n")
    code += "\n\ndef finish(results, analysis, context):\n"
    code += f"    import os\n    {'os.chdir(context.directory)' if at == 'finish' else 'pass'}\n"
    text = SUM_ANALYSIS
    if at == "process":
        text = text.replace("        time.sleep(", "        __import__('os').chdir('/')\n        time.sleep(")
    (tmp_path / "moves.py").write_text(text + code)
    with pytest.raises(SystemExit) as ended:
        main(["run", "moves.py", good.name, "--store", "st", "--out", "out"])
    assert not ended.value.code
    monkeypatch.chdir(tmp_path)
    assert document(Path("out"))["status"] == "complete"
    assert os.listdir("st/runs") == [document(Path("out"))["run"]]


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["gone", "empty"])
def test_a_result_needs_no_code(client, good, tmp_path, change):
    file = tmp_path / "drawn.py"
    file.write_text(FIGURES.replace("{ends}", "return [png]"))
    run = client.run(str(file), str(good))
    run.wait()
    for path in (client.store.root / "blobs").glob("*.py"):
        change(path)
    with pytest.warns(UserWarning, match="no figures: "):
        out = client.attach(run.id).save(tmp_path / "out")
    assert (out / "result" / "result.zip").read_bytes() == run.result().to_bytes()
    assert [w for w in document(out)["warnings"] if w.startswith("no figures: ")]


def test_nothing_is_written_through_a_marker_that_is_a_link(run, good, tmp_path):
    mine, out = tmp_path / "mine.txt", tmp_path / "out"
    mine.write_text("mine")
    out.mkdir()
    (out / MARKER).symlink_to(mine)
    with pytest.raises(UsageError, match="files that vrecompute did not write"):
        run(str(good)).save(out)
    assert mine.read_text() == "mine"


def test_what_a_killed_writer_left_in_a_folder_goes_in_a_day(run, good, tmp_path):
    out = run(str(good)).save(tmp_path / "out")
    for name, age_s in (("old", 2 * 86_400), ("young", 60)):
        left = out / f"{MARKER}-{name}"
        (left / "result").mkdir(parents=True)
        os.utime(left, (time.time() - age_s,) * 2)
    run(str(good)).save(out)
    assert {path.name for path in out.glob(f"{MARKER}-*")} == {f"{MARKER}-young"}


def test_what_finish_left_that_is_no_file_is_told(client, good, tmp_path):
    file = tmp_path / "finished.py"
    ends = "import os; os.mkfifo(context.directory / 'pipe')"
    file.write_text(f"{SUM_ANALYSIS}\n\ndef finish(results, analysis, context):\n    {ends}\n    return {{'a': 1}}\n")
    report = client.run(str(file), str(good)).report(timeout_s=60)
    assert report.status == "complete"
    assert "finish left pipe, which is not a regular file: it is not kept" in report.warnings


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("it = {}; it['it'] = it; return it", "what it returned is nested too deeply, or holds itself"),
        ("import sys; sys.exit(0)", "raised SystemExit"),
        ("return [1, 2]", "it returned [1, 2]; return a mapping of names to values, or nothing"),
    ],
)
def test_what_finish_does_costs_no_result(client, good, tmp_path, ends, said):
    file = tmp_path / "finished.py"
    file.write_text(f"{SUM_ANALYSIS}\n\ndef finish(results, analysis, context):\n    {ends}\n")
    run = client.run(str(file), str(good))
    report = run.report(timeout_s=60)
    assert (report.status, report.result_sha256 is None) == ("failed", False)
    assert said in report.failures[0].reason


@pytest.mark.parametrize("size", [1e308, 1e-300])
def test_a_scale_that_is_no_number_is_none(client, good, tmp_path, size):
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    dataset = tmp_path / "d.yaml"
    sample = f"files: [{good}], cross_section_pb: {size!r}, luminosity_ifb: {size!r}, tree: Events"
    dataset.write_text(f"schema: 1\nname: d\nsamples:\n  - {{name: s, {sample}}}\n")
    (told,) = client.run(str(tmp_path / "sums.py"), str(dataset)).report(timeout_s=60).samples
    assert told.scale is None
    assert "is too large or too small for a floating-point number" in told.unscaled_because
