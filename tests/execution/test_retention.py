"""What `store gc` removes: never what a run needs, also while Runners write and reuse."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.dataset
import pytest

from tests.events import SUM_ANALYSIS, write_events
from tests.patience import comes_true
from vrecompute import Client
from vrecompute.cli import main
from vrecompute.errors import StoreError
from vrecompute.execution import workloop
from vrecompute.execution.planner import Planner
from vrecompute.execution.retention import stocktaking
from vrecompute.stores.directory import DirStore

pytestmark = pytest.mark.usefixtures("lent_workers")

DAY_S = 86_400.0
OPTIONS = {"chunk_bytes": 3400, "task_chunks": 1}  # one cluster of 100 events
SKIM = SUM_ANALYSIS.replace("return Result(", 'return Result(tables={"muons": {"pt": pt}},')


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> Path:
    """A file of ten clusters."""
    return write_events(tmp_path_factory.mktemp("events") / "e.root")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client of one worker, whose store each test sets."""
    with Client(workers=1, store=tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture
def store(client, tmp_path, monkeypatch) -> DirStore:
    """This test's own store."""
    monkeypatch.setattr(client, "_store_given", tmp_path / "store")
    return DirStore(tmp_path / "store")


@pytest.fixture
def run(client, store, events, tmp_path):
    """`run(code, **options)`: a run of an analysis file over the events, which has ended."""

    def ended(code: str = SUM_ANALYSIS, **options):
        (tmp_path / "code.py").write_text(code)
        return client.run(str(tmp_path / "code.py"), str(events), **(OPTIONS | options)).wait(120)

    return ended


@pytest.fixture
def gc(store, capsys):
    """`gc(*options)`: what `vrecompute store gc --json` says."""

    def call(*options: str) -> dict:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["store", "gc", "--store", str(store.root), "--json", *options])
        assert not left.value.code
        said: dict = json.loads(capsys.readouterr().out)
        return said

    return call


def age(store: DirStore, days: float, pattern: str = "**/*") -> None:
    """Make objects look as if they were not used for so long."""
    then = time.time() - days * DAY_S
    for path in store.root.glob(pattern):
        if path.is_file():
            os.utime(path, (then, then))


def kinds(said: dict) -> set[str]:
    return {entry["name"].split("/")[0] for entry in said["objects"]}


def test_of_a_complete_run_all_stays_that_it_gives_and_its_parts_go(store, run, gc):
    first = run()
    gone = run(SUM_ANALYSIS.replace("20, 0, 200", "10, 0, 200"))
    assert not gc()["objects"]  # all of it is young
    age(store, 8)
    gone.delete()
    before = list(store.names(""))
    shown = gc()
    assert (list(store.names("")), shown["removed"]) == (before, False)
    assert kinds(shown) == {"work", "sources", "blobs"}
    assert shown["bytes"] == sum((store.root / e["name"]).stat().st_size for e in shown["objects"]) > 0
    done = gc("--yes")
    assert (done["objects"], done["bytes"]) == (shown["objects"], shown["bytes"])
    assert set(store.names("")) == set(before) - {e["name"] for e in done["objects"]}
    attached = Client(store=store.root).attach(first.id)
    assert attached.status == "complete"
    assert attached.result().to_bytes() == first.result().to_bytes()
    attached.analysis()  # whose source file is there
    again = run()
    assert again.report().chunks.computed == 10
    assert again.result().to_bytes() == first.result().to_bytes()


def test_what_can_be_resumed_keeps_its_parts_and_kept_runs_too(client, store, run, gc, events, tmp_path):
    (tmp_path / "code.py").write_text(SUM_ANALYSIS)
    half = client.run(str(tmp_path / "code.py"), str(events), **OPTIONS, sleep_s=0.2)
    assert comes_true(lambda: half.progress().chunks_done >= 3, 60)
    half.cancel()
    half.wait(60)
    full = run(pt_min_gev=11.0)
    age(store, 40)
    assert {e["name"].split("/")[1] for e in gc()["objects"] if e["name"].startswith("work/")} == {work_of(store, full)}
    assert not [e for e in gc("--keep", full.id)["objects"] if e["name"].startswith("work/")]
    gc("--yes")
    durable = len(list(store.names(f"work/{work_of(store, half)}")))
    report = client.attach(half.id).resume().report(timeout_s=60)
    assert (report.status, report.chunks.reused) == ("complete", durable)
    assert durable >= 3


def work_of(store, run) -> str:
    return json.loads((store.root / run.manifest.plan_name).read_bytes())["work"]


def test_tables_of_a_complete_run_stay(store, run, gc):
    skim = run(SKIM)
    rows = pyarrow.dataset.dataset(skim.tables("muons")).to_table().to_pylist()
    age(store, 100)
    assert "work" not in kinds(gc("--yes"))
    found = Client(store=store.root).attach(skim.id).tables("muons")
    assert pyarrow.dataset.dataset(found).to_table().to_pylist() == rows
    skim.delete()
    assert "work" in kinds(gc("--yes"))
    assert not list(store.names("work"))


def test_a_run_without_a_plan_or_with_a_manifest_that_cannot_be_read_might_need_anything(store, run, gc):
    half, older, newer = run(), run(pt_min_gev=11.0), run(pt_min_gev=12.0)
    age(store, 100)
    age(store, 8, f"work/{work_of(store, newer)}/**/*")
    store.delete(half.manifest.plan_name)
    made = store.root / half.manifest.object_name
    then = datetime.fromtimestamp(time.time() - 20 * DAY_S, UTC).isoformat(timespec="seconds")
    made.write_bytes(replace(half.manifest, created=then).encoded())
    names = [e["name"] for e in gc()["objects"] if e["name"].startswith("work/")]
    assert work_of(store, older) in {name.split("/")[1] for name in names}
    assert work_of(store, newer) not in {name.split("/")[1] for name in names}
    made.write_text("{}")
    age(store, 100)
    said = gc("--yes")
    assert half.id in said["unread"][0]
    assert not kinds(said) & {"work", "blobs", "sources"}


def test_the_oldest_goes_first_and_no_more_than_asked(store, run, gc):
    run()
    run(pt_min_gev=11.0)
    parts = sorted(store.names("work"))
    age(store, 20)
    age(store, 30, parts[0])
    said = gc("--older-than", "25d")
    assert [e["name"] for e in said["objects"]] == [parts[0]]
    wanted = said["total_bytes"] - 1
    assert [e["name"] for e in gc("--max-size", f"{wanted}B")["objects"]] == [parts[0]]
    for most in (wanted, f"{wanted}", f"{wanted}B"):
        assert [e.name for e in stocktaking(store, most_bytes=most).garbage] == [parts[0]]
    assert gc("--older-than", "1d")["bytes"] == gc()["bytes"]


def test_that_less_than_seven_days_are_seven_is_said(store, run, capsys):
    run()
    for asked, told in (("1s", True), ("6d", True), ("7d", False), ("30d", False)):
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main(["store", "gc", "--store", str(store.root), "--older-than", asked])
        said = "what was used in the last 7 days stays, whatever --older-than says: runs may need it"
        assert (said in capsys.readouterr().out) == told, asked


def test_what_a_run_takes_after_the_stock_was_taken_stays(store, run):
    first = run()
    age(store, 30)
    found = stocktaking(store)
    assert found.garbage
    second = run()
    assert second.report().chunks.computed == 0
    removed = [e.name for e in found.remove() if not isinstance(e, StoreError)]
    assert not [name for name in removed if name.startswith(("work/", "blobs/"))]
    assert second.result().to_bytes() == first.result().to_bytes()
    age(store, 30)
    found = stocktaking(store)
    run(pt_min_gev=11.0, label="of other parts")  # whose blob is the same, and counts as used again
    assert not [e.name for e in found.remove() if e.name.startswith("blobs/")]


def test_parts_that_vanish_under_a_runner_are_computed_again(client, store, run, monkeypatch):
    """Before it reads what a task wrote, and after it took stock of what there is; for good, that is an error."""
    right = run().result().to_bytes()
    age(store, 30)
    take_stock = Planner.stock

    def then_removed(self, plan):
        found = take_stock(self, plan)
        for name in list(store.names("work")):
            store.delete(name)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Planner, "stock", then_removed)
        reused = run()
    assert (reused.report().chunks.reused, reused.result().to_bytes()) == (10, right)

    read, removed = workloop.read_part, set()

    def first_removed(kept, name):
        if name not in removed:
            removed.add(name)
            store.delete(name)
        return read(kept, name)

    with monkeypatch.context() as patch:
        patch.setattr(workloop, "read_part", first_removed)
        anew = run()
    assert len(removed) == 10
    assert (anew.report().status, anew.result().to_bytes()) == ("complete", right)
    assert len(list(store.names("work"))) == 10

    def removed_always(kept, name):
        store.delete(name)
        return read(kept, name)

    with monkeypatch.context() as patch:
        patch.setattr(workloop, "read_part", removed_always)
        lost = run(pt_min_gev=12.0)
    assert lost.report().status == "failed"
    assert "there is no object" in lost.report().failures[0].reason
