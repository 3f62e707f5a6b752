"""Detached runs of many independent jobs: how every door tells them, what is submitted again, and when it ends."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Client, sharejobs
from vrecompute.batch.contract import JobId, JobStatus, State
from vrecompute.batch.inprocess import in_process
from vrecompute.cli import main
from vrecompute.errors import Incomplete, Interrupted, OverBudget, Unavailable, UsageError
from vrecompute.execution.manifest import read_manifest
from vrecompute.execution.share import Share, share_ends
from vrecompute.execution.sharerunner import ShareRunner
from vrecompute.sites.model import Limits, Nodes, Workers, local_site
from vrecompute.stores.directory import DirStore

CHUNKS = 8
MEMORY = 2 << 30
SITE = replace(
    local_site(),
    workers=Workers(processes=1, threads=2, memory=MEMORY, max_memory=3 * MEMORY, nodes=Nodes(min=1, max=20)),
)


@pytest.fixture(scope="module")
def dask():
    with in_process(2) as made:
        yield made


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    (folder / "sums.py").write_text(SUM_ANALYSIS)
    write_events(folder / "e.root", 800, clusters=CHUNKS)
    return folder


@pytest.fixture(scope="module")
def whole(place) -> str:
    """The sha256 of the result that `Client()` gives."""
    with Client(workers=1, store=place / "whole") as client:
        return client.run(str(place / "sums.py"), str(place / "e.root"), chunk_bytes=3400).report().result_sha256


class Queue:
    """A batch system in which a job computes its share when it is told to, and ends as it is told."""

    def __init__(self, dask, store) -> None:
        self.dask, self.store = dask, store
        self.submitted, self.asked, self.cancelled = [], [], []
        self.states: dict[JobId, JobStatus] = {}
        self._jobs: dict[JobId, tuple] = {}

    def submit_many(self, job, count):
        ids = [JobId(f"{len(self.submitted)}.{index}") for index in range(count)]
        self.submitted.append((job, count))
        self.states |= dict.fromkeys(ids, JobStatus(State.QUEUED, reason="machines are busy", reason_code="busy"))
        self._jobs |= {i: (job, index) for index, i in enumerate(ids)}
        return ids

    def poll(self, ids):
        self.asked.append(list(ids))
        return {i: self.states.get(i, JobStatus(State.UNKNOWN)) for i in ids}

    def cancel(self, ids):
        self.cancelled += [i for i in ids if not self.states[i].state.terminal]
        self.states |= dict.fromkeys(self.cancelled, JobStatus(State.CANCELLED))

    def share(self, job_id) -> int:
        job, index = self._jobs[job_id]
        words = job.command[job.command.index("--share") + 1].partition("/")[0]
        return index if words == "$VRECOMPUTE_INDEX" else int(words.split(",")[index])

    def waiting(self) -> list[JobId]:
        return [i for i, status in self.states.items() if not status.state.terminal]

    def end(self, *ids, state=State.COMPLETED, does=True) -> None:
        for i in ids:
            if does:
                run = self._jobs[i][0].command[4]
                manifest = read_manifest(self.store, run)
                share = Share(self.share(i), manifest.shares)
                ShareRunner(self.dask, self.store, manifest, self.analysis, share).carry_out()
            self.states[i] = JobStatus(state, reason="" if state is State.COMPLETED else f"{state.name}: job {i}")


@pytest.fixture
def queue(dask, tmp_path, monkeypatch):
    return Queue(dask, DirStore(tmp_path / "store"))


@pytest.fixture
def client(queue, monkeypatch):
    made = Client(SITE, store=queue.store)
    for name in ("submit_many", "poll", "cancel"):
        monkeypatch.setattr(made.backend, name, getattr(queue, name))
    monkeypatch.setattr(sharejobs, "_LAG_S", 0.0)
    return made


@pytest.fixture
def submit(client, place, queue):
    def made(shares=4, **options):
        options = {"chunk_bytes": 3400, **options}
        run = client.submit(str(place / "sums.py"), str(place / "e.root"), shares=shares, **options)
        queue.analysis = run.analysis()
        return run

    return made


def test_a_run_is_one_submission_is_told_alike_at_every_door_and_is_merged_by_whoever_asks(
    submit, client, queue, whole
):
    run = submit(40)
    assert [(count, job.cores, job.memory_bytes, job.workers) for job, count in queue.submitted] == [(40, 2, MEMORY, 0)]

    def told(one):
        (line,) = client.runs()
        assert (one.status, one.where().state) == (line.state, line.state)
        assert one.where().reason == line.reason or line.state == "interrupted"
        return line.state, line.reason, str(one.progress())

    attached = client.attach(run.id)
    reason = "0 of 40 jobs have ended, 40 are waiting: machines are busy"
    assert told(run) == told(attached) == ("queued", reason, f"queued: {reason}")
    jobs = queue.waiting()
    queue.states[jobs[-1]] = JobStatus(State.RUNNING)
    queue.end(*jobs[:37])
    reason = "37 of 40 jobs have ended, 1 is running, 2 are waiting: machines are busy"
    assert told(attached) == ("running", reason, f"work: {reason}; {CHUNKS} of {CHUNKS} chunks")
    queue.asked.clear()
    client.runs()
    assert [len(ids) for ids in queue.asked] == [40], "one question about all of them"
    queue.end(*jobs[37:])
    state, reason, _ = told(attached)
    assert (state, reason) == ("interrupted", "40 of 40 jobs have ended")
    assert "merges" in attached.where().reason
    report = attached.report()
    assert (report.status, report.result_sha256) == ("complete", whole)
    assert len(queue.submitted) == 1
    assert client.runs()[0].state == run.status == "complete"
    assert run.result().to_bytes() == attached.result().to_bytes()


def test_only_what_lacks_is_submitted_again_whatever_took_the_jobs(submit, client, queue, whole):
    run = submit(4)
    jobs = queue.waiting()
    queue.end(jobs[0], jobs[2])
    queue.end(jobs[1], state=State.PREEMPTED, does=False)
    queue.end(jobs[3], state=State.CANCELLED, does=False)
    attached = client.attach(run.id)
    assert attached.is_live()
    assert [count for _, count in queue.submitted] == [4, 2]
    assert sorted(queue.share(i) for i in queue.waiting()) == [1, 3]
    assert attached.where().reason == "2 of 4 jobs have ended, 2 are waiting: machines are busy"
    queue.end(*queue.waiting())
    report = run.report()
    assert (report.status, report.result_sha256) == ("complete", whole)
    assert (report.chunks.computed, report.chunks.reused) == (CHUNKS, 0)


def test_two_clients_that_wait_submit_what_lacks_once(submit, client, queue):
    run = submit(2)
    queue.end(*queue.waiting(), state=State.NODE_FAIL, does=False)
    clients = [client.attach(run.id) for _ in range(2)]
    known = clients[1]._detached._submissions()
    assert clients[0].is_live()
    detached = clients[1]._detached
    assert detached._claimed(len(known)) is False, "the other has said that it does"
    assert [count for _, count in queue.submitted] == [2, 2]


def test_one_that_was_ended_for_its_memory_gets_more_up_to_what_the_site_says_and_is_named_then(submit, queue):
    run = submit(2, on_bad="skip", max_bad=1.0)
    first, second = queue.waiting()
    queue.end(first)
    queue.end(second, state=State.OOM, does=False)
    memory = [MEMORY]
    while run.is_live():
        job, count = queue.submitted[-1]
        assert (count, "--one-by-one" in job.command) == (1, True)
        memory.append(job.memory_bytes)
        queue.end(*queue.waiting(), state=State.OOM, does=False)
    assert memory[:4] == [MEMORY, 2 * MEMORY, 3 * MEMORY, 3 * MEMORY]
    assert len(memory) < 8
    report = run.report()
    assert report.status == "partial"
    assert report.failures[0].kind == "memory"
    assert "OOM: job" in report.failures[0].reason
    assert "workers.max_memory" in report.failures[0].reason
    assert report.events.seen == 400
    with pytest.raises(Incomplete, match="partial"):
        run.result()


@pytest.mark.parametrize("state", [State.FAILED, State.PREEMPTED])
def test_jobs_that_come_to_nothing_end_the_run_after_a_few(submit, queue, state):
    run = submit(3)
    rounds = 0
    while run.is_live():
        queue.end(*queue.waiting(), state=state, does=False)
        rounds += 1
        assert rounds < 9
    assert run.report().status == "failed"
    assert state.name in run.report().failures[0].reason
    assert run.exit_code == 4


@pytest.mark.parametrize("reach", [True, False])
def test_jobs_that_end_well_and_leave_nothing_twice_are_not_submitted_a_third_time(
    submit, client, queue, reach, monkeypatch
):
    run = submit(3)
    first, *others = queue.waiting()
    queue.end(first)
    queue.end(*others, does=False)
    site = replace(client.site, store=replace(client.site.store, workers_reach=reach))
    detached = replace(run._detached, site=site)
    monkeypatch.setattr(sharejobs.ShareJobs, "check", lambda self: None)  # its driver carries nothing
    detached._taken.update(JobId(f"{number}.0") for number in range(9))
    rounds = 0
    while detached.take_up(run.analysis):
        queue.end(*queue.waiting(), does=False)
        rounds += 1
        assert rounds < 9
    assert [count for _, count in queue.submitted] == [3, 2]
    failure = run.report().failures[0]
    assert "2 jobs of its share ended with exit code 0, and nothing of them is in the store" in failure.reason
    assert ("brings back nothing" in failure.reason) != reach
    assert run.report().status == "failed"


def test_a_run_that_is_cancelled_is_cancelled_at_every_door_and_may_be_taken_up(submit, client, queue, whole):
    run = submit(3)
    queue.end(queue.waiting()[0])
    run.cancel()
    assert len(queue.cancelled) == 2
    assert [run.status, client.attach(run.id).status, client.runs()[0].state] == ["cancelled"] * 3
    with pytest.raises(Interrupted):
        run.report()
    assert len(queue.submitted) == 1
    again = client.attach(run.id).resume()
    assert again.status == "queued"
    queue.end(*queue.waiting())
    assert again.report().result_sha256 == whole


def test_jobs_that_never_start_are_no_reason_to_wait_for_ever(submit, queue):
    run = submit(3)
    first, *others = queue.waiting()
    queue.end(first)
    queue.states |= dict.fromkeys(others, JobStatus(State.HELD, reason="a policy holds it", never=True))
    status = run.job_status()
    assert (run.status, status.never) == ("queued", True)
    assert status.reason == "1 of 3 jobs has ended, 2 are waiting: a policy holds it"


def test_while_a_site_does_not_give_what_jobs_brought_back_nothing_is_submitted_again(submit, queue, monkeypatch):
    run = submit(3)
    queue.end(*queue.waiting(), does=False)
    monkeypatch.setattr(type(run._detached), "_all_taken_back", lambda self: False)
    assert run.is_live()
    monkeypatch.setattr(sharejobs, "_SILENT_S", 0.0)
    with pytest.raises(Unavailable, match="does not give what the jobs"):
        run.is_live()
    assert len(queue.submitted) == 1


def test_a_silent_site_is_no_end(submit, queue):
    run = submit(3)
    queue.end(*queue.waiting()[:2])
    queue.states[queue.waiting()[0]] = JobStatus(State.UNKNOWN)
    assert run.status == "unknown"
    assert "of 1 the site says nothing" in run.where().reason


def test_what_shares_cost_is_paid_for_or_refused(submit, client, queue):
    client._site_workers.site = replace(SITE, limits=Limits(min_poll=1, core_hours=16.0))
    client._site_workers._backend.site = client._site_workers.site
    with pytest.raises(OverBudget, match=r"9 x 2 cores for 1 h 00 min are 18 core-hours"):
        submit(9)
    assert list(queue.store.children("runs")) == []
    run = submit(8)
    assert not queue.submitted[-1][0].requeue
    while run.is_live():
        queue.end(*queue.waiting(), state=State.NODE_FAIL, does=False)
    assert len(queue.submitted) == 1
    assert "limits.core_hours" in run.report().failures[0].reason


def test_explain_and_manifest_tell_how_many_and_a_site_of_single_machines_chooses(
    client, place, queue, monkeypatch, whole
):
    where = (str(place / "sums.py"), str(place / "e.root"))
    told = client.explain(*where, detach=True, shares=5)
    assert told.shares == 5
    assert "5 independent jobs" in str(told)
    assert "--share" in told.script
    assert client.explain(*where, detach=True).shares == 0
    monkeypatch.setattr(client.backend, "capabilities", replace(client.backend.capabilities, spans=False))
    asked = Client(SITE, store=queue.store, workers=7)
    monkeypatch.setattr(asked.backend, "capabilities", client.backend.capabilities)
    assert asked.explain(*where, detach=True).shares == 7
    assert client.explain(*where, detach=True).shares == 0, "nothing is known of the work"
    known = Client(SITE, store=place / "whole")
    monkeypatch.setattr(known.backend, "capabilities", client.backend.capabilities)
    assert known.explain(*where, detach=True, chunk_bytes=100).shares == 20, "as many as workers.nodes.max gives"
    assert known.explain(*where, detach=True).shares == 0, "one machine has done it before others start"
    with pytest.raises(UsageError, match="at least 1"):
        client.submit(*where, shares=0)


@pytest.mark.parametrize("words", ["1/4", "$VRECOMPUTE_INDEX/4", "3,1,2/4"])
def test_a_job_knows_its_share_by_its_number_among_copies(submit, queue, monkeypatch, capsys, words):
    run = submit(4)
    command = list(queue.submitted[0][0].command[3:])
    command[command.index("--share") + 1] = words
    monkeypatch.setenv("VRECOMPUTE_INDEX", "1")
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0
    assert "share 1/4: 2 chunks computed" in capsys.readouterr().out
    assert list(share_ends(queue.store, run.manifest)[0]) == [1]


@pytest.mark.acceptance
def test_on_this_machine_as_processes_of_their_own_one_of_them_killed(place, whole, tmp_path, capsys):
    """The very commands of jobs."""
    store = tmp_path / "store"
    with Client(store=store) as client:
        run = client.submit(str(place / "sums.py"), str(place / "e.root"), shares=2, chunk_bytes=3400)
        assert run.status in {"running", "interrupted"}
        client.backend.cancel([run._detached.ids()[1]])
        with pytest.raises(SystemExit) as ended:
            main(["runs", "attach", run.id, "--store", str(store), "--json"])
        assert ended.value.code == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["status"], told["result_sha256"]) == ("complete", whole)


@pytest.mark.parametrize(
    ("reach", "array"),
    [
        pytest.param(True, True, marks=pytest.mark.acceptance),
        pytest.param(False, True, marks=pytest.mark.acceptance),
        (False, False),
    ],
)
def test_on_a_queue_whose_jobs_reach_the_store_or_carry_it(qq_site, place, whole, tmp_path, reach, array):
    """Jobs of a queue, one of which is ended by a person while it works; nothing of them stays in the spool."""
    from tests.backends.readme_driver import driver

    workers = Workers(processes=1, threads=1)
    store = replace(qq_site.store, workers_reach=reach)
    site = replace(qq_site, scheduler_runs="none", workers=workers, store=store, limits=Limits(min_poll=0))
    with Client(site) as client:
        client._site_workers._backend = driver.MyBackend(site)
        client.backend.array = array
        run = client.submit(str(place / "sums.py"), str(place / "e.root"), shares=3, chunk_bytes=3400)
        client.backend.cancel([run._detached.ids()[1]])
        report = run.report(timeout_s=200)
        assert (report.status, report.result_sha256) == ("complete", whole)
        assert len(run._detached._submissions()) == 2
    assert [p.name for p in (tmp_path / "jobs").iterdir() if p.name.startswith(("carried", "secrets"))] == []
