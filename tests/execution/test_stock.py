"""The data that were read are the data a part is filed under: whatever files share, each gives its own numbers."""

from __future__ import annotations

import itertools
import os
import shutil
import uuid
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot

from tests.stores.test_objects import WRONG
from vrecompute import Client, reader
from vrecompute.digest import sha256_of
from vrecompute.execution.planner import Planner
from vrecompute.execution.preflight import lookalikes
from vrecompute.execution.runner import Runner
from vrecompute.execution.wholefile import whole_sha256
from vrecompute.reader.identity import SAMPLE_BYTES, SAMPLES

pytestmark = pytest.mark.usefixtures("lent_workers")

TOTAL = """
import numpy as np

from vrecompute import Analysis, Result


class Total(Analysis):
    name = "total"

    def columns(self, source):
        return ["x"]

    def process(self, events):
        x = events.flat("x")
        return Result(counters={"sum": float(np.sum(x, dtype=np.float64))}, tables={"all": {"x": x}})
"""
EVENTS, CHUNKS = 200_000, 8


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Client(workers=1, threads=2, store=tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture
def run(client, tmp_path, monkeypatch):
    """`run(files or YAML, **options)`: a run that has ended, in this test's own store."""
    monkeypatch.setattr(client, "_store_given", tmp_path / "store")
    (tmp_path / "total.py").write_text(TOTAL)

    def ended(*dataset, **options):
        files = [str(f) for f in dataset]
        return client.run(str(tmp_path / "total.py"), files, chunk_bytes=110_000, **options).wait(120)

    return ended


def write(path: Path, value: float, events: int = EVENTS) -> Path:
    """`events` times `value`, uncompressed: files of two values differ in nothing but the numbers."""
    with uproot.recreate(path, compression=None, uuid_function=lambda: uuid.UUID(int=0)) as file:
        file.mktree("Events", {"x": "float32"})
        for piece in np.split(np.full(events, value, dtype=np.float32), CHUNKS):
            file["Events"].extend({"x": piece})
    return path


def edit(path: Path, number: float) -> Path:
    """Rewrite one number in place, where no sample of the file sees it."""
    table = reader.tabulate(str(path), None, ["x"]).branches["x"]
    size = path.stat().st_size
    sampled = [(size - SAMPLE_BYTES) * n // (SAMPLES - 1) for n in range(SAMPLES)]
    basket = int(table.seeks[CHUNKS // 2])
    at = basket + int.from_bytes(path.read_bytes()[basket + 14 : basket + 16], "big") + 4000  # after the basket's key
    while any(start - 8 <= at < start + SAMPLE_BYTES for start in sampled):
        at += 4
    with path.open("r+b") as file:
        file.seek(at)
        file.write(np.array(number, dtype=">f4").tobytes())
    return path


def numbers(run) -> tuple[str, float, int, int]:
    report = run.report()
    total = sum(result.counters["sum"] for result in run.result().values())
    return report.status, total, report.chunks.computed, report.chunks.reused


def test_files_of_one_uuid_size_and_entries_give_their_own_numbers(run, tmp_path):
    one, two = write(tmp_path / "one.root", 1, 1000), write(tmp_path / "two.root", 2, 1000)
    assert one.stat().st_size == two.stat().st_size
    assert numbers(run(one)) == ("complete", 1000, 1, 0)
    assert numbers(run(two)) == ("complete", 2000, 1, 0)
    assert numbers(run(one, two)) == ("complete", 3000, 0, 2)
    catalogue = tmp_path / "d.yaml"
    catalogue.write_text(f"schema: 1\nsamples:\n- {{name: a, files: [{one}]}}\n- {{name: b, files: [{two}]}}\n")
    both = run(catalogue).result()
    assert (both["a"].counters["sum"], both["b"].counters["sum"]) == (1000, 2000)


def test_a_difference_that_no_sample_sees_is_found_before_anything_is_reused(run, tmp_path):
    one = write(tmp_path / "one.root", 1)
    two = edit(Path(shutil.copy(one, tmp_path / "two.root")), 101)
    assert reader.inspect(str(one)).identity == reader.inspect(str(two)).identity
    assert numbers(run(one)) == ("complete", EVENTS, CHUNKS, 0)
    assert numbers(run(two)) == ("complete", EVENTS + 100, CHUNKS, 0)
    # Known again, each by its own data, in any order.
    assert numbers(run(one)) == ("complete", EVENTS, 0, CHUNKS)
    assert numbers(run(two)) == ("complete", EVENTS + 100, 0, CHUNKS)


def test_lookalikes_in_one_sample_are_two_sources_and_true_copies_a_duplicate(run, tmp_path):
    one = write(tmp_path / "one.root", 1)
    two = edit(Path(shutil.copy(one, tmp_path / "two.root")), 101)
    copy = Path(shutil.copy(one, tmp_path / "copy.root"))
    both = run(one, two)
    assert numbers(both) == ("complete", 2 * EVENTS + 100, 2 * CHUNKS, 0)
    ended = run(one, copy)
    assert [f.kind for f in ended.report().failures] == ["duplicate"]
    catalogue = tmp_path / "d.yaml"
    catalogue.write_text(f"schema: 1\nsamples:\n- {{name: a, files: [{one}]}}\n- {{name: b, files: [{two}]}}\n")
    samples = run(catalogue).result()
    assert (samples["a"].counters["sum"], samples["b"].counters["sum"]) == (EVENTS, EVENTS + 100)


def test_a_file_edited_in_place_is_computed_anew_and_its_skim_with_it(run, tmp_path):
    path = write(tmp_path / "one.root", 1)
    first = run(path)
    assert numbers(first) == ("complete", EVENTS, CHUNKS, 0)
    status = path.stat()
    edit(path, 51)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as if nothing had been
    edited = run(path)
    assert numbers(edited) == ("complete", EVENTS + 50, CHUNKS, 0)
    assert numbers(run(path, reuse=False)) == ("complete", EVENTS + 50, CHUNKS, 0)
    assert numbers(run(path)) == ("complete", EVENTS + 50, 0, CHUNKS)
    assert edited.result()["events"].summaries["all"].digest != first.result()["events"].summaries["all"].digest
    edit(path, 1)
    assert numbers(run(path)) == ("complete", EVENTS, 0, CHUNKS)


@pytest.mark.parametrize("how", ["touched", "moved", "copied", "linked"])
def test_the_same_data_elsewhere_or_later_share_every_part(run, tmp_path, how):
    path = write(tmp_path / "one.root", 1)
    first = run(path)
    new = tmp_path / "new.root"
    match how:
        case "touched":
            os.utime(path)
            new = path
        case "moved":
            path.rename(new)
        case "copied":
            shutil.copy(path, new)
        case "linked":
            new.symlink_to(path)
    again = run(new)
    assert numbers(again) == ("complete", EVENTS, 0, CHUNKS)
    assert again.report().result_sha256 == first.report().result_sha256


def test_what_was_proved_of_a_file_is_kept_by_stamp(run, tmp_path):
    path = write(tmp_path / "one.root", 1)
    run(path)
    copy = Path(shutil.copy(path, tmp_path / "copy.root"))
    run(copy)
    kept = sorted((tmp_path / "store/sources").glob("*.data"))
    assert len(kept) == 1
    before = kept[0].stat().st_mtime_ns
    assert numbers(run(copy))[2:] == (0, CHUNKS)
    assert sorted((tmp_path / "store/sources").glob("*.data")) == kept
    assert kept[0].stat().st_mtime_ns == before


def test_a_file_rewritten_while_it_is_read_is_a_warning_and_no_harm_later(run, tmp_path):
    path = write(tmp_path / "one.root", 1)
    script = tmp_path / "total.py"
    step = f"        if not touched:\n            touched.append(1)\n            os.utime({str(path)!r})\n"
    script.write_text(
        TOTAL.replace("import numpy", "import os\n\nimport numpy", 1)
        .replace("class", "touched = []\n\n\nclass", 1)
        .replace("        x =", step + "        x =", 1)
    )
    ended = run(path, task_chunks=1)
    assert any("one.root was rewritten or touched while the run read it" in text for text in ended.report().warnings)
    assert numbers(ended) == ("complete", EVENTS, CHUNKS, 0)
    again = run(path)
    assert numbers(again) == ("complete", EVENTS, 0, CHUNKS)
    assert not any("rewritten" in text for text in again.report().warnings)


@pytest.mark.parametrize("after", [0, CHUNKS // 2], ids=["before the edited chunk is read", "after it was"])
def test_a_file_edited_in_the_middle_of_a_task_is_computed_anew_where_it_was_read_before(run, tmp_path, after):
    path = write(tmp_path / "one.root", 1)
    new = edit(Path(shutil.copy(path, tmp_path / "new.root")), 1001.0).read_bytes()
    at = next(n for n, (old, now) in enumerate(zip(path.read_bytes(), new, strict=True)) if old != now)
    number = new[at : at + 4]  # big-endian 1.0 and 1001.0 differ from their first byte on
    edit_it = f"touched.append(os.pwrite(os.open({str(path)!r}, os.O_WRONLY), {number!r}, {at}))"
    step = f"        if events.start > {after * EVENTS // CHUNKS} and not touched:\n            {edit_it}\n"
    text = TOTAL.replace("import numpy", "import os\n\nimport numpy", 1).replace("        x =", step + "        x =", 1)
    (tmp_path / "total.py").write_text(text.replace("class", "touched = []\n\n\nclass", 1))
    ended = run(path, task_chunks=CHUNKS)
    assert any("was rewritten" in text for text in ended.report().warnings)
    assert numbers(ended) == ("complete", EVENTS + 1000, CHUNKS, 0)
    assert numbers(run(path, task_chunks=CHUNKS)) == ("complete", EVENTS + 1000, 0, CHUNKS)


def during_work(monkeypatch, act, times=1):
    """Have `act` called after what is in the store was taken and before chunks are computed, so often in a run."""
    compute, called = Runner._compute, []

    def computing(runner, *arguments):
        if len(called) < times:
            called.append(act())
        compute(runner, *arguments)

    monkeypatch.setattr(Runner, "_compute", computing)


@pytest.mark.parametrize("reuse", [True, False], ids=["reused", "computed"])
def test_what_was_read_of_a_file_before_it_is_edited_is_compared_with_it_and_computed_again(
    run, tmp_path, monkeypatch, reuse
):
    path = write(tmp_path / "one.root", 1)
    assert numbers(run(path, task_chunks=1)) == ("complete", EVENTS, CHUNKS, 0)
    parts = sorted((tmp_path / "store/work").glob("*/parts/*.zip"))
    for part in parts[CHUNKS // 2 :]:
        part.unlink()
    during_work(monkeypatch, lambda: edit(path, 1001.0))
    mixed = run(path, task_chunks=1, reuse=reuse)
    assert numbers(mixed)[:2] == ("complete", EVENTS + 1000)
    assert mixed.report().chunks.computed + mixed.report().chunks.reused == CHUNKS
    again = run(path)
    assert numbers(again) == ("complete", EVENTS + 1000, 0, CHUNKS)
    for ended in (mixed, again):
        assert (
            sum(pq.read_table(piece)["x"].to_numpy().sum(dtype=float) for piece in ended.tables("all")) == EVENTS + 1000
        )


@pytest.mark.parametrize("how", ["touched", "written over with what it holds", "replaced by a copy"])
def test_a_file_of_which_only_times_change_while_it_is_read_is_complete_and_computed_once(
    run, tmp_path, monkeypatch, how
):
    path = write(tmp_path / "one.root", 1)
    other = Path(shutil.copy(path, tmp_path / "other.root"))
    acts = {"touched": lambda: os.utime(path), "replaced by a copy": lambda: other.rename(path)}
    during_work(monkeypatch, acts.get(how, lambda: path.write_bytes(other.read_bytes())))
    ended = run(path)
    assert numbers(ended) == ("complete", EVENTS, CHUNKS, 0)
    assert [text.rpartition(": ")[2] for text in ended.report().warnings] == ["it holds what was read"]


@pytest.mark.parametrize("on_bad", ["fail", "skip"])
def test_a_file_that_is_rewritten_again_and_again_is_named_with_what_was_read_of_no_version(
    run, tmp_path, monkeypatch, on_bad
):
    path, values, compare = write(tmp_path / "one.root", 1), itertools.count(1000.0), Planner.again
    during_work(monkeypatch, lambda: edit(path, next(values)), times=10)
    monkeypatch.setattr(Planner, "again", lambda *a: (edit(path, next(values)), compare(*a))[1])
    report = run(path, write(tmp_path / "two.root", 2, 1000), task_chunks=4, on_bad=on_bad).report()
    assert report.status == {"fail": "failed", "skip": "partial"}[on_bad]
    assert {f.file for f in report.failures} == {str(path)}
    assert all(f.kind == "changed" and "rewritten 3 times" in f.reason for f in report.failures)


def test_a_sidecar_is_named_by_its_content(run, tmp_path):
    run(write(tmp_path / "one.root", 1, 1000))
    for sidecar in (tmp_path / "store/sources").glob("*.table"):
        assert sidecar.stem == sha256_of(sidecar.read_bytes())


def test_only_files_at_several_places_are_lookalikes(tmp_path):
    from tests.execution.test_plan import source

    same = source("a", (0, 5))
    assert lookalikes([same, same]) == []
    assert lookalikes([same, source("b", (0, 5))]) == []


def test_branches_of_one_name_are_told_and_the_first_is_read(run, tmp_path):
    path = tmp_path / "twice.root"
    with uproot.recreate(path, compression=None) as file:
        file.mktree("Events", {"x": "float32", "y": "float32"})
        file["Events"].extend({"x": np.arange(100, dtype=np.float32), "y": np.full(100, 7, dtype=np.float32)})
    path.write_bytes(path.read_bytes().replace(b"\x01y", b"\x01x"))
    with uproot.open(path) as file:
        assert [branch.name for branch in file["Events"].branches] == ["x", "x"]
    ended = run(path)
    assert numbers(ended) == ("complete", 4950, 1, 0)
    assert any("several branches named 'x'; the first" in text for text in ended.report().warnings)
    assert any("several branches named 'x'" in text for text in run(path).report().warnings)


def damage(path: Path, wrong: str, other: bytes) -> None:
    """Make a store's object what it was not written as: `other`, or one of WRONG."""
    if wrong in WRONG:
        WRONG[wrong](path)
    else:
        path.write_bytes(other)


@pytest.mark.parametrize("wrong", [*WRONG, "another's"])
def test_what_was_proved_of_files_is_proved_anew_where_it_is_damaged(run, tmp_path, wrong):
    one, two = write(tmp_path / "one.root", 1, 8000), write(tmp_path / "two.root", 2, 8000)
    run(one, two)
    os.utime(one, (1, 1))  # of another stamp: their data are compared with those of their parts
    os.utime(two, (2, 2))
    assert numbers(run(one, two)) == ("complete", 24_000, 0, 2)
    known = sorted((tmp_path / "store" / "sources").glob("*.data"))
    contents = [path.read_bytes() for path in known]
    assert len(known) == 2
    for number, path in enumerate(known):
        damage(path, wrong, contents[1 - number])
    again = run(one, two)
    assert numbers(again) == ("complete", 24_000, 0, 2)
    if wrong != "a folder":  # which no listing of objects has
        assert sum("was damaged in the store" in warning for warning in again.report().warnings) == 2


@pytest.mark.parametrize("wrong", [*WRONG, "another's"])
def test_the_content_of_a_file_is_read_anew_where_what_was_kept_of_it_is_damaged(tmp_path, monkeypatch, wrong):
    monkeypatch.setattr("vrecompute.stores.claims._CLAIM_S", 0.2)
    store, contents = str(tmp_path / "store"), {}
    for name in ("other", "file"):
        (tmp_path / name).write_text(name)
        assert whole_sha256(store, [str(tmp_path / name)]) == sha256_of(name.encode())
        (kept,) = (p for p in (tmp_path / "store" / "sources").glob("*.sha256") if p not in contents)
        contents[kept] = kept.read_bytes()
    damage(kept, wrong, next(iter(contents.values())))
    assert whole_sha256(store, [str(tmp_path / "file")]) == sha256_of(b"file")
    assert kept.read_bytes() == contents[kept]
    assert len(list((tmp_path / "store" / "aside" / "sources").iterdir())) == 1
