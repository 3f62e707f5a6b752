"""Runs on a real local cluster: equal bytes, resume as set difference, and the truth about what is missing."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Client
from vrecompute.analysis.loading import load_analysis
from vrecompute.datasets.catalogue import resolve
from vrecompute.errors import Incomplete
from vrecompute.execution import schedule
from vrecompute.execution.collect import Collector
from vrecompute.execution.parts import read_part
from vrecompute.execution.plan import Plan, PlannedSource
from vrecompute.execution.preflight import PreflightContext, preflight
from vrecompute.execution.task import TaskContext, compute
from vrecompute.results.file import write_results
from vrecompute.stores.directory import DirStore

CHUNK_BYTES = 3400  # one cluster of 100 events, not two


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    """Three files of 10 clusters each."""
    folder = tmp_path_factory.mktemp("events")
    return [write_events(folder / f"{seed}.root", seed=seed) for seed in range(3)]


@pytest.fixture(scope="module")
def sums(tmp_path_factory) -> Path:
    """The user's analysis file."""
    path = tmp_path_factory.mktemp("analysis") / "sums.py"
    path.write_text(SUM_ANALYSIS)
    return path


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client of two workers; each test gives the runs a store of their own."""
    with Client(workers=2, store=tmp_path_factory.mktemp("store")) as made:
        _ = made.dask
        yield made


@pytest.fixture
def run(client, sums, tmp_path, monkeypatch):
    """`run(dataset, **options)`: a finished run of the sums analysis in this test's own store."""
    monkeypatch.setattr(client, "_store_given", tmp_path / "store")

    def finished(dataset, analysis=None, **options):
        options = {"chunk_bytes": CHUNK_BYTES, "task_chunks": 2} | options
        return client.run(str(analysis or sums), [str(f) for f in dataset], **options).wait(120)

    return finished


@pytest.fixture(scope="module")
def reference(files, sums, tmp_path_factory) -> bytes:
    """The result bytes of all files, computed chunk by chunk in this process."""
    return in_process(files, sums, tmp_path_factory.mktemp("reference"), [1] * 30)


def in_process(files, sums, folder, task_sizes, order=None) -> bytes:
    """The result bytes, with tasks of these sizes received in this order, without Dask."""
    plan, make = planned(files, sums, folder)
    edges = [0, *itertools.accumulate(task_sizes)]
    receipts = [compute(make, a, min(b, plan.chunks)) for a, b in itertools.pairwise(edges) if a < plan.chunks]
    collector = Collector(plan)
    for number in order or range(len(receipts)):
        collector.add(read_part(DirStore(folder), receipts[number].part))
    assert collector.complete
    return write_results(collector.results())


def planned(files, sums, folder) -> tuple[Plan, TaskContext]:
    analysis, _ = load_analysis(str(sums), {})
    dataset = resolve([str(f) for f in files])
    views = {s.name: s.process_view() for s in dataset.samples}
    samples = {s.name: s for s in dataset.samples}
    sources = preflight(PreflightContext(analysis, samples, views, "w", CHUNK_BYTES, str(folder)), dataset.sources)
    assert all(isinstance(s, PlannedSource) for s in sources)
    plan = Plan.of("w", dataset.samples, sources, CHUNK_BYTES)
    return plan, TaskContext(plan, analysis, str(folder))


@given(st.lists(st.integers(1, 12), min_size=30, max_size=30), st.data())
@settings(max_examples=8)
def test_any_task_grouping_and_order_gives_the_same_bytes(files, sums, reference, tmp_path_factory, sizes, data):
    folder = tmp_path_factory.mktemp("grouped")
    used = next(n for n, total in enumerate(itertools.accumulate(sizes), 1) if total >= 30)
    order = data.draw(st.permutations(range(used)))
    assert in_process(files, sums, folder, sizes[:used], order) == reference


@pytest.mark.parametrize(
    "workers", [pytest.param(1, marks=pytest.mark.acceptance), pytest.param(2, marks=pytest.mark.acceptance), 4]
)
def test_any_number_of_workers_gives_the_same_bytes(files, sums, reference, tmp_path, workers):
    with Client(workers=workers, store=tmp_path) as client:
        run = client.run(str(sums), [str(f) for f in files], chunk_bytes=CHUNK_BYTES, task_chunks=workers)
        assert run.result(timeout_s=120).to_bytes() == reference
        assert run.report().status == "complete"


def test_a_worker_killed_during_the_run_changes_nothing(client, files, run, reference):
    pids = client.dask.run(os.getpid)

    def kill_one_soon() -> None:
        time.sleep(1.0)
        os.kill(next(iter(pids.values())), signal.SIGKILL)

    import threading

    threading.Thread(target=kill_one_soon).start()
    # Another pt_min would be other work; this one is the default, and sleeping changes the key but no number.
    ended = run(files, sleep_s=0.15)
    assert ended.report().status == "complete"
    assert ended.result().to_bytes() == reference
    client.dask.wait_for_workers(2, timeout=60)


def test_a_killed_client_loses_what_was_in_flight_and_no_more(files, sums, tmp_path, reference):
    store = tmp_path / "store"
    code = f"""
from vrecompute.execution import schedule
from vrecompute import Client
if __name__ == "__main__":
    with Client(workers=2, store={str(store)!r}) as client:
        dataset = {list(map(str, files))!r}
        run = client.run({str(sums)!r}, dataset, chunk_bytes={CHUNK_BYTES}, task_chunks=1, sleep_s=0.25)
        print(run.id, flush=True)
        run.wait()
"""
    script = tmp_path / "client.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    deadline = time.monotonic() + 60
    while len(list(store.glob("work/*/parts/*.zip"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    process.stdout.close()
    durable = len(list(store.glob("work/*/parts/*.zip")))
    assert 3 <= durable < 30

    with Client(workers=2, store=store) as client:
        attached = client.attach(name)
        with pytest.raises(Incomplete, match="interrupted"):
            attached.result(timeout_s=0.1)
        again = client.run(str(sums), list(map(str, files)), chunk_bytes=CHUNK_BYTES, task_chunks=1, sleep_s=0.25)
        chunks = again.report(timeout_s=120).chunks
        assert chunks.total == 30
        assert chunks.reused >= durable
        assert chunks.computed == 30 - chunks.reused
        assert again.result().to_bytes() == reference


def test_an_interrupted_run_is_finished_by_attaching(files, run, client, reference):
    first = run(files, sleep_s=0.01)
    # The Runner's own words are taken away: what stays is what a killed client leaves.
    shutil.rmtree(Path(first.store.url) / "runs" / first.id / "outcomes")
    shutil.rmtree(Path(first.store.url) / "runs" / first.id / "events")
    parts = sorted(Path(first.store.url).glob("work/*/parts/*.zip"))
    for part in parts[:5]:
        part.unlink()
    attached = client.attach(first.id)
    assert attached.status == "interrupted"
    chunks = attached.resume().report(timeout_s=60).chunks
    assert (chunks.reused, chunks.computed) == (20, 10)
    assert attached.result().to_bytes() == reference


def test_running_again_computes_nothing(files, run):
    assert run(files).report().chunks.computed == 30
    assert run(files).report().chunks.computed == 0
    assert run(files, reuse=False).report().chunks.computed == 30


def test_a_damaged_part_is_computed_again(files, run, reference):
    first = run(files)
    part = min(Path(first.store.url).glob("work/*/parts/*.zip"))
    part.write_bytes(part.read_bytes()[:-7])
    again = run(files)
    assert again.report().chunks.computed == 2
    assert any("damaged" in warning for warning in again.report().warnings)
    assert again.result().to_bytes() == reference


def test_a_new_file_computes_only_its_own_chunks(files, run):
    run(files[:2])
    chunks = run(files).report().chunks
    assert (chunks.total, chunks.computed, chunks.reused) == (30, 10, 20)


def test_a_changed_cut_computes_everything_and_a_changed_label_nothing(files, run, sums, tmp_path):
    run(files)
    assert run(files, pt_min_gev=11).report().chunks.computed == 30
    assert run(files, label="y").report().chunks.computed == 0
    edited = tmp_path / "edited.py"
    edited.write_text(SUM_ANALYSIS.replace("37.0", "38.0"))
    assert run(files, analysis=edited).report().chunks.computed == 30
    edited.write_text(SUM_ANALYSIS.replace("import time", "import time  # a comment"))
    assert run(files, analysis=tmp_path / "edited.py").report().chunks.computed == 0


def test_a_changed_resource_computes_everything_again(files, run, tmp_path):
    table = tmp_path / "table.txt"
    analysis = tmp_path / "with_resource.py"
    text = SUM_ANALYSIS.replace(
        "    def process(self, events):",
        f"    def resources(self):\n        return {{'table': {str(table)!r}}}\n\n    def process(self, events):",
    ).replace("pt = events.flat", "assert events.resources['table'].read_text()\n        pt = events.flat")
    analysis.write_text(text)
    table.write_text("1")
    assert run(files, analysis=analysis).report().chunks.computed == 30
    assert run(files, analysis=analysis).report().chunks.computed == 0
    table.write_text("2")
    assert run(files, analysis=analysis).report().chunks.computed == 30


def test_a_changed_file_computes_only_its_own_chunks(files, run, tmp_path):
    mine = [Path(shutil.copy(f, tmp_path / f.name)) for f in files]
    run(mine)
    write_events(mine[1], seed=99)
    assert run(mine).report().chunks.computed == 10


def test_a_cancelled_run_says_so_and_keeps_its_parts(client, files, sums, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "_store_given", tmp_path)
    run = client.run(str(sums), [str(f) for f in files], chunk_bytes=CHUNK_BYTES, task_chunks=1, sleep_s=0.2)
    deadline = time.monotonic() + 60
    while run.progress().chunks_done < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    run.cancel()
    report = run.report(timeout_s=60)
    assert (report.status, run.status, run.exit_code) == ("cancelled", "cancelled", 130)
    assert any("cancelled" in w for w in report.warnings)
    with pytest.raises(Incomplete, match="cancelled"):
        run.result()
    assert 0 < run.result(allow_partial=True)["events"].events < 3000


def test_a_run_that_is_cancelled_by_leaving_its_client_is_told_as_cancelled(files, sums, tmp_path):
    """Its cluster closes while it works, which a run that was not cancelled would call lost."""
    with Client(workers=1, store=tmp_path) as client:
        run = client.run(str(sums), [str(f) for f in files], chunk_bytes=CHUNK_BYTES, task_chunks=1, sleep_s=0.2)
        deadline = time.monotonic() + 60
        while run.progress().chunks_done < 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        run.cancel()
    assert any("cancelled" in w for w in run.report(timeout_s=60).warnings)
    assert Client(store=tmp_path).attach(run.id).status == "cancelled"


def test_the_list_of_runs(client, files, run):
    first, second = run(files[:1]), run(files[:2])
    facts = client.runs()
    assert [f.run for f in facts] == sorted([first.id, second.id])
    assert {f.state for f in facts} == {"complete"}
    assert client.attach(first.id).result().to_bytes() == first.result().to_bytes()


def test_a_part_outlives_the_run_that_made_it(files, run):
    first = run(files)
    first.delete()
    assert run(files).report().chunks.computed == 0


STRAGGLER = """
import os
import time
from pathlib import Path

from vrecompute import Analysis, Result

HERE = Path({folder!r})


class Straggler(Analysis):
    name = "straggler"

    def columns(self, source):
        return ["weight"]

    def process(self, events):
        # Whoever is first at the last chunk hangs, as on a bad disk; the same chunk is quick for the next.
        if events.stop == 1000:
            with (HERE / "asked").open("a") as file:
                print(os.getpid(), file=file)
            try:
                (HERE / "first").touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                deadline = time.monotonic() + 60
                while not (HERE / "released").exists() and time.monotonic() < deadline:
                    time.sleep(0.05)
        return Result(counters={{"weight": float(events.flat("weight").sum(dtype="float64"))}})
"""


def test_a_straggler_is_sent_a_second_time_and_counted_once(client, files, tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "_STRAGGLER_S", 0.5)
    monkeypatch.setattr(client, "_store_given", tmp_path / "store")
    analysis = tmp_path / "straggler.py"
    analysis.write_text(STRAGGLER.format(folder=str(tmp_path)))
    started = time.monotonic()
    try:
        run = client.run(str(analysis), str(files[0]), chunk_bytes=900, task_chunks=1)
        report = run.report(timeout_s=40)
    finally:
        (tmp_path / "released").touch()
    assert report.status == "complete"
    assert time.monotonic() - started < 30
    assert len((tmp_path / "asked").read_text().split()) == 2
    assert (report.events.seen, report.chunks.failed) == (1000, 0)
    assert run.result().total.events == 1000
    events = [json.loads(p.read_bytes()) for p in (tmp_path / "store").glob("runs/*/events/*/*.json")]
    assert [e["event"] for e in events].count("straggler") == 1
