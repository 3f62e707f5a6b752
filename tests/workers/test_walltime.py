"""Time that runs out: what is not begun goes elsewhere or to the next job, and the bytes are the same."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from distributed.comm.core import CommClosedError

from tests.events import SUM_ANALYSIS, write_events
from tests.patience import comes_true
from vrecompute import Client
from vrecompute.analysis.loading import load_analysis
from vrecompute.client import Client as Door
from vrecompute.datasets.catalogue import resolve
from vrecompute.errors import OutOfTime
from vrecompute.execution import task
from vrecompute.execution.manifest import Settings
from vrecompute.execution.parts import read_part
from vrecompute.execution.plan import Plan
from vrecompute.execution.preflight import PreflightContext, preflight
from vrecompute.execution.prepare import Request
from vrecompute.execution.runner import Runner
from vrecompute.execution.runner_walltime import RunnerWalltime
from vrecompute.execution.task import TaskContext, compute
from vrecompute.stores.directory import DirStore
from vrecompute.workers import drain
from vrecompute.workers.walltime import BEGAN, ENDS, Allocation, Pace, allocation, within

CHUNK_BYTES = 3400  # one cluster of 100 events: 10 chunks a file
CHUNKS = 10


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return write_events(tmp_path_factory.mktemp("events") / "a.root")


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    path = tmp_path_factory.mktemp("analysis") / "sums.py"
    path.write_text(SUM_ANALYSIS)
    return path


@pytest.fixture(scope="module")
def reference(events, sums, tmp_path_factory):
    with Client(workers=1, store=tmp_path_factory.mktemp("store")) as client:
        return client.run(str(sums), str(events), chunk_bytes=CHUNK_BYTES).result(timeout_s=60).to_bytes()


@pytest.fixture
def job(monkeypatch):
    """`job(passed, left)`: this process is in a job that began and ends so many seconds from now."""

    def began(passed_s: float, left_s: float) -> None:
        now = time.time()
        monkeypatch.setenv(BEGAN, str(now - passed_s))
        monkeypatch.setenv(ENDS, str(now + left_s))

    return began


def order(events, sums, folder, **params) -> TaskContext:
    analysis, _ = load_analysis(str(sums), params)
    dataset = resolve([str(events)])
    views = {s.name: s.process_view() for s in dataset.samples}
    samples = {s.name: s for s in dataset.samples}
    sources = preflight(PreflightContext(analysis, samples, views, "w", CHUNK_BYTES, str(folder)), dataset.sources)
    return TaskContext(Plan.of("w", dataset.samples, sources, CHUNK_BYTES), analysis, str(folder))


@pytest.mark.parametrize(("began", "ends"), [("", "5"), ("x", "5"), ("5", "nan"), ("9", "5"), (None, "5"), ("1", None)])
def test_a_job_that_tells_its_time_in_no_numbers_never_ends(monkeypatch, began, ends):
    for name, value in ((BEGAN, began), (ENDS, ends)):
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    assert allocation() is None
    assert Pace().fits("w", 1e9)


def test_the_reserve_is_a_fifth_of_short_jobs_and_a_minute_of_long_ones():
    assert Allocation(0, 60).reserve_s == 12
    assert Allocation(0, 36000).reserve_s == 60
    assert Allocation(0, 36000).fresh is False, "it ended long ago"


def test_a_chunk_fits_if_the_longest_so_far_would(job):
    pace = Pace()
    job(50, 50)  # 30 s before the reserve
    assert not pace.fits("w", 26), "with some slack"
    assert pace.fits("w", 24)
    began = pace.begins() - 26
    assert 26 <= pace.took("w", began) < 27
    assert not pace.fits("w", 0), "measured here"
    assert pace.fits("other work", 0)
    pace.wrote("other work", 31)
    assert not pace.fits("other work", 0), "its part would not be written"
    job(95, 5)
    assert not Pace().fits("w", 0), "in the reserve nothing begins"


def test_a_worker_with_its_time_ahead_tries_one_chunk_whatever_was_heard(job):
    pace = Pace()
    job(10, 90)
    assert pace.fits("w", 1e9)
    assert pace.fits("w", 1e9, from_start=True)
    pace.begins()
    assert not pace.fits("w", 1e9), "one"
    assert pace.fits("w", 1)
    assert pace.fits("w", 1e9, from_start=True), "one that died at walltimes before is for whoever has the time"
    job(70, 30)
    assert pace.fits("w", 1)
    assert not pace.fits("w", 1, from_start=True)
    assert not Pace().fits("w", 1e9), "half of its time is over"


def test_within_gives_what_is_returned_or_raised_in_time():
    assert within(5, lambda n: n + 1, 1) == 2
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 / 0)
    with pytest.raises(TimeoutError, match="not done within 0 s"):
        within(0.05, time.sleep, 0.5)


class Stops(Pace):
    """A process that has time for three chunks."""

    begun = 0

    def begins(self) -> float:
        self.begun += 1
        return super().begins()

    def fits(self, work, chunk_s, *, from_start=False) -> bool:
        return self.begun < 3


def test_a_task_writes_what_it_did_and_names_what_it_left(events, sums, tmp_path, job, monkeypatch):
    monkeypatch.setattr(task, "_PACE", Stops())
    left = []
    monkeypatch.setattr(task, "leave_soon", lambda: left.append(1))
    make = order(events, sums, tmp_path, sleep_s=0.1)
    job(11, 1)
    receipt = compute(make, 2, 9)
    assert (receipt.done, receipt.left, receipt.leaves) == ((2, 3, 4), 5, True)
    assert receipt.longest_s >= 0.1
    assert sum(node.result.events for node in read_part(DirStore(tmp_path), receipt.part)) == 300
    nothing = compute(make, 5, 9)
    assert (nothing.part, nothing.done, nothing.left) == (None, (), 5)
    assert left == [1, 1]
    shared = compute(replace(make, ends=float(os.environ[ENDS])), 5, 9)
    assert (shared.left, shared.leaves) == (5, False), "its time is the Runner's: no other worker would have more"
    assert left == [1, 1]


def in_job(passed_s: float, left_s: float) -> None:
    now = time.time()
    os.environ |= {BEGAN: str(now - passed_s), ENDS: str(now + left_s)}


@pytest.mark.slow
@pytest.mark.parametrize("task_chunks", [pytest.param(1, marks=pytest.mark.acceptance), 4])
def test_what_a_worker_has_no_time_for_is_computed_by_another(events, sums, tmp_path, reference, task_chunks):
    with Client(workers=2, store=tmp_path) as client:
        client.dask.wait_for_workers(2)
        first, _ = client.dask.scheduler_info(n_workers=-1)["workers"]
        client.dask.run(in_job, 15, 5, workers=[first])  # 1 s before the reserve
        run = client.run(str(sums), str(events), chunk_bytes=CHUNK_BYTES, task_chunks=task_chunks, sleep_s=0.3)
        report = run.report(timeout_s=60)
        assert (report.status, report.chunks.computed) == ("complete", CHUNKS)
        assert run.result().to_bytes() == reference
        said = [p for p in tmp_path.glob("runs/*/events/*/*.json") if json.loads(p.read_bytes())["event"] == "no-time"]
        # a worker that is asked on says so hundreds of times
        assert 1 <= len(said) <= CHUNKS, "it says so, to what was sent to it already, and is asked no more"
        # another may have taken its place
        assert comes_true(lambda: first not in client.dask.nthreads()), "the first leaves by itself"


UNEVEN = """
import time

from distributed import get_worker

from vrecompute import Analysis, Result


class Uneven(Analysis):
    name = "uneven"

    def columns(self, source):
        return ["weight"]

    def process(self, events):
        with open({diary!r}, "a") as diary:
            print(events.start, get_worker().address, file=diary)
        time.sleep(6 if events.start == 0 else 0.2)
        return Result(counters={{"weight": float(events.flat("weight").sum(dtype="float64"))}})
"""


@pytest.mark.slow
def test_a_worker_that_leaves_ends_what_it_has_begun(events, tmp_path):
    """The first chunk outlasts its worker's time; other threads leave, and it is not begun a second time."""
    analysis = tmp_path / "uneven.py"
    analysis.write_text(UNEVEN.format(diary=str(tmp_path / "diary")))
    with Client(workers=2, threads=2, store=tmp_path / "store") as client:
        client.dask.wait_for_workers(2)
        run = client.run(str(analysis), str(events), chunk_bytes=900, task_chunks=1)
        assert comes_true(lambda: "0" in diary(tmp_path), pause_s=0.01)
        first = diary(tmp_path)["0"]
        client.dask.run(in_job, 18, 5.5, workers=[first])  # 0.8 s before the reserve
        report = run.report(timeout_s=90)
        assert comes_true(lambda: first not in client.dask.nthreads()), "it leaves"
    assert (report.status, report.chunks.computed) == ("complete", report.chunks.total)
    lines = (tmp_path / "diary").read_text().splitlines()
    assert len(lines) == len(diary(tmp_path)), "nothing was begun twice"


def diary(folder) -> dict[str, str]:
    """Where each chunk was begun."""
    path = folder / "diary"
    return dict(line.split() for line in path.read_text().splitlines() if " " in line) if path.exists() else {}


def what_it_does(dask_worker):
    """The stacks of everything that goes on in a worker's event loop."""
    said = io.StringIO()
    for running in asyncio.all_tasks():
        running.print_stack(file=said)
    return f"{dask_worker.status} {dask_worker.state.tasks} leaving {drain._LEAVING}\n{said.getvalue()}"


@pytest.mark.slow
def test_an_idle_worker_leaves_at_the_end_of_its_time(tmp_path):
    with Client(workers=2, store=tmp_path) as client:
        client.dask.wait_for_workers(2)
        first, second = client.dask.nthreads()

        def load(dask_worker):
            in_job(9, 3)  # 0.6 s before the reserve
            drain.dask_setup(dask_worker)

        client.dask.run(load, workers=[first])
        left = comes_true(lambda: list(client.dask.nthreads()) == [second])
        assert left, client.dask.run(what_it_does, workers=[first])


@pytest.mark.slow
@pytest.mark.parametrize("lost", [pytest.param(1, marks=pytest.mark.acceptance), 1000])
def test_it_leaves_although_its_connections_break(tmp_path, lost):
    with Client(workers=2, store=tmp_path) as client:
        client.dask.wait_for_workers(2)
        first, second = client.dask.nthreads()

        def load(dask_worker):
            real, broken = dask_worker.scheduler, [None] * lost

            class Lossy:
                def __getattr__(self, name):
                    return fails if name in {"retire_workers", "unregister"} and broken else getattr(real, name)

            async def fails(**_):
                broken.pop()
                raise CommClosedError("the connection broke")

            dask_worker.scheduler = Lossy()
            in_job(9, 3)
            drain.dask_setup(dask_worker)

        client.dask.run(load, workers=[first])
        left = comes_true(lambda: list(client.dask.nthreads()) == [second])
        assert left, client.dask.run(what_it_does, workers=[first])


@pytest.mark.slow
def test_the_last_worker_leaves_at_once_too(tmp_path):
    """There is nobody to take what it holds, and its job is to end by itself, not at its walltime."""

    async def go(dask_worker):
        await drain.leave(dask_worker)

    with Client(workers=2, threads=2, store=tmp_path) as client:
        client.dask.wait_for_workers(2)
        held = client.dask.map(lambda n: n, range(50))
        client.dask.gather(held)
        pids = list(client.dask.run(os.getpid).values())
        client.dask.run(go, wait=False)
        gone = comes_true(lambda: not any(alive(pid) for pid in pids), 20)
        assert gone, "a worker closes for as long as Dask waits for its threads"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_workers_that_come_in_vain_are_counted_and_not_their_answers(tmp_path):
    walltime = RunnerWalltime(DirStore(tmp_path))
    assert not any(walltime.refused("c1:1", leaves=True, threads=2) for _ in range(1000))
    assert not any(walltime.refused(f"c1:{n}", leaves=True, threads=2) for n in range(20))
    walltime.advanced()
    assert not any(walltime.refused(f"c1:{n}", leaves=True, threads=2) for n in range(20))
    assert walltime.refused("c1:20", leaves=True, threads=2)
    assert not walltime.closing
    walltime.refused("c1:21", leaves=False, threads=2)
    assert walltime.closing, "its time is the Runner's"


def test_workers_of_jobs_that_end_together_leave_one_after_another(job):
    job(0, 3600)
    left_s = allocation().left_s
    delays = []
    loop = SimpleNamespace(call_later=lambda delay_s, *_: delays.append(delay_s))
    for number in range(50):
        drain.dask_setup(SimpleNamespace(name=f"vre-1_{number}", loop=loop))
    assert max(delays) <= left_s
    assert min(delays) >= left_s - 120 - 1
    assert max(delays) - min(delays) > 60


# Of two minutes, 24 s are the reserve: 12 s are left for chunks, 24 s for what was begun to be taken.
LATE = (84, 36)


def attempt(client: Door, run) -> object:
    """What `vrecompute work` does in one attempt of a job."""
    return Runner(client.dask, run.store, run.manifest, run.analysis()).execute()


def waiting(client: Door, sums, events, *, reuse=True, task_chunks=None, **parameters):
    """A run whose manifest is written and that nobody carries out yet."""
    settings = Settings(chunk_bytes=CHUNK_BYTES, reuse=reuse, task_chunks=task_chunks)
    _, manifest = client._prepare(Request(str(sums), str(events), parameters, settings=settings))
    manifest.write(client.store)
    return client.attach(manifest.run)


@pytest.fixture
def shared_job(job, sums, events):
    """`shared_job(client, passed, left)`: workers and Runner are in one job. The first is not for imports."""
    warm = []

    def began(client, passed_s, left_s):
        if client not in warm:
            client.run(str(sums), str(events), chunk_bytes=CHUNK_BYTES, task_chunks=1, pt_min_gev=11).wait(120)
            warm.append(client)
        job(passed_s, left_s)
        now = {name: os.environ[name] for name in (BEGAN, ENDS)}
        client.dask.run(lambda: os.environ.update(now))

    return began


@pytest.mark.slow
def test_a_run_longer_than_its_jobs_is_handed_from_one_to_the_next(events, sums, tmp_path, reference, shared_job):
    with Client(workers=2, store=tmp_path) as client:
        run = waiting(client, sums, events, task_chunks=1, sleep_s=3)
        client.dask.wait_for_workers(2)
        durable, attempts = CHUNKS, 0  # those of the fixture's own run
        while True:
            shared_job(client, *LATE)
            try:
                outcome = attempt(client, run)
                break
            except OutOfTime as late:
                said = late
            assert (said.exit_code, "the next job continues from there" in str(said)) == (75, True)
            assert not (tmp_path / "runs" / run.id / "outcomes").exists(), "no outcome: the run is not over"
            before, durable = durable, len(list(tmp_path.glob("work/*/parts/*.zip")))
            assert durable > before
            attempts += 1
        assert attempts >= 1
        assert outcome.summary.status == "complete"
        assert outcome.summary.chunks.computed + outcome.summary.chunks.reused == CHUNKS
        assert run.result(timeout_s=5).to_bytes() == reference


@pytest.mark.slow
def test_a_job_that_computed_no_chunk_ends_the_run_and_names_one(events, sums, tmp_path, shared_job):
    with Client(workers=1, store=tmp_path) as client:
        run = waiting(client, sums, events, task_chunks=1, sleep_s=30)
        client.dask.wait_for_workers(1)
        shared_job(client, 0, 15)
        outcome = attempt(client, run)
        assert outcome.summary.status == "failed"
        (failure,) = outcome.failures
        assert (failure.kind, failure.start, failure.stop) == ("walltime", 0, 100)
        assert "the walltime of 15 s ended the job before this chunk was done" in failure.reason
        assert "--chunk-bytes" in failure.reason


@pytest.mark.slow
def test_jobs_without_time_for_any_chunk_end_the_run_once_all_is_opened(events, sums, tmp_path, shared_job):
    with Client(workers=1, store=tmp_path) as client:
        client.dask.wait_for_workers(1)
        never_opened = shutil.copy(events, tmp_path / "never_opened.root")
        run = waiting(client, sums, never_opened)
        shared_job(client, 170, 30)
        with pytest.raises(OutOfTime):
            attempt(client, run)  # it opened the file: another job would have that behind it
        shared_job(client, 170, 30)
        (failure,) = attempt(client, run).failures
        assert failure.kind == "walltime"
        assert "the walltime of 3 min 20 s left no time to start this chunk" in failure.reason


@pytest.mark.slow
def test_without_reuse_a_job_that_is_too_short_ends_the_run(events, sums, tmp_path, shared_job):
    """The next job would begin anew, for ever."""
    with Client(workers=1, store=tmp_path) as client:
        run = waiting(client, sums, events, task_chunks=1, sleep_s=3, reuse=False)
        client.dask.wait_for_workers(1)
        shared_job(client, *LATE)
        outcome = attempt(client, run)
        assert outcome.summary.status == "failed"
        assert outcome.summary.chunks.computed > 0
        assert "--no-reuse" in outcome.failures[-1].reason


FINISHING = """
import time


def finish(results, analysis, context):
    time.sleep(analysis["finish_s"])
    return {"done": True}
"""


@pytest.fixture
def finishing(sums, tmp_path, monkeypatch):
    """The sums with a `finish` that takes `finish_s`."""
    (tmp_path / "late_finish.py").write_text(FINISHING)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "finishing.py"
    parameter = '        Parameter("finish_s", 0.0, "of finish", stage="finish"),\n'
    text = sums.read_text().replace(
        '    name = "sums"\n', '    name = "sums"\n    finish_function = "late_finish:finish"\n'
    )
    path.write_text(text.replace('        Parameter("label"', f'{parameter}        Parameter("label"'))
    return path


@pytest.mark.slow
@pytest.mark.acceptance
def test_a_finish_that_has_no_time_left_is_done_by_the_next_job(events, finishing, tmp_path, shared_job):
    with Client(workers=2, store=tmp_path / "store") as client:
        client.dask.wait_for_workers(2)
        run = waiting(client, finishing, events, finish_s=11)
        shared_job(client, 0, 12)
        with pytest.raises(OutOfTime):
            attempt(client, run)
        shared_job(client, 0, 8)  # all was computed before: a job that is too short for `finish` alone is the last
        outcome = attempt(client, run)
        (failure,) = outcome.failures
        assert (outcome.summary.status, failure.file, failure.kind) == ("failed", "late_finish:finish", "walltime")
        assert "the result is kept" in failure.reason
        assert run.result(allow_partial=True, timeout_s=5)["events"].events == 1000
        shared_job(client, 0, 600)
        outcome = attempt(client, run)
        assert (outcome.summary.status, outcome.products) == ("complete", {"done": True})
        assert (outcome.summary.chunks.computed, outcome.summary.chunks.reused) == (0, CHUNKS)


SLOW_OPENING = """
import time
from pathlib import Path

from vrecompute import Analysis, Result


class Opening(Analysis):
    name = "opening"

    def columns(self, source):
        deadline = time.monotonic() + 120
        while source.path.endswith(("2.root", "3.root")) and not Path({gate!r}).exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return ["weight"]

    def process(self, events):
        return Result(counters={{"events": float(len(events))}})
"""


@pytest.mark.slow
@pytest.mark.acceptance
def test_a_preflight_longer_than_a_job_goes_on_in_the_next(tmp_path, shared_job, monkeypatch):
    from vrecompute.execution import planner

    monkeypatch.setattr(planner, "_BATCH", 1)
    files = [write_events(tmp_path / f"{n}.root", events=100, seed=n, clusters=1) for n in range(4)]
    analysis = tmp_path / "opening.py"
    analysis.write_text(SLOW_OPENING.format(gate=str(tmp_path / "gate")))
    with Client(workers=1, store=tmp_path / "store") as client:
        client.dask.wait_for_workers(1)
        _, manifest = client._prepare(Request(str(analysis), [str(f) for f in files]))
        manifest.write(client.store)
        run = client.attach(manifest.run)
        shared_job(client, 0, 7)
        with pytest.raises(OutOfTime):
            attempt(client, run)
        assert not list((tmp_path / "store").glob(f"runs/{run.id}/plan*.json")), (
            "a plan of some files is none of the run"
        )
        shared_job(client, 0, 3)
        outcome = attempt(client, run)
        assert outcome.summary.status == "failed"
        assert "of 4 sources within its walltime" in outcome.failures[0].reason
        (tmp_path / "gate").touch()
        shared_job(client, 0, 600)
        assert attempt(client, run).summary.status == "complete"
