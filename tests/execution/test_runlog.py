"""The state of a run, derived from what its Runners said: also where what they said last is not seen at once."""

from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace
from typing import cast

import pytest

from tests.events import SUM_ANALYSIS, write_events
from tests.patience import comes_true
from vrecompute import Client, whereabouts
from vrecompute.batch.contract import JobStatus, State
from vrecompute.detach import Detached
from vrecompute.errors import AbsentObject
from vrecompute.execution import runlog
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.runlog import RunLog, create_next, run_state
from vrecompute.run import Run
from vrecompute.stores.directory import DirStore
from vrecompute.stores.objects import read_document, write_document

MANIFEST = SimpleNamespace(
    run="r",
    prefix="runs/r/",
    created="",
    analysis="a",
    dataset=SimpleNamespace(name="d"),
    site="local",
    labels={},
    parameters={},
)
FIRST, SECOND = {"job": "1"}, {"job": "2"}


class Lagging(DirStore):
    """A store whose next looks at outcomes come without them, as NFS may give them."""

    late = 0

    def names(self, prefix):
        if prefix.endswith("/outcomes") and self.late > 0:
            self.late -= 1
            return iter(())
        return super().names(prefix)

    def get(self, name, **options):
        if "/outcomes/" in name and self.late > 0:
            self.late -= 1
            raise AbsentObject(name)
        return super().get(name, **options)


class Slow(DirStore):
    """A store that lets others go first between the choice of a name and its creation."""

    def create(self, name, data):
        time.sleep(0.001)
        return super().create(name, data)


class Deaf(DirStore):
    """A store whose first answer is lost on the way: the object is there, and the caller hears the opposite."""

    lost = 1

    def create(self, name, data):
        created = super().create(name, data)
        if self.lost:
            self.lost -= 1
            return False
        return created


def test_no_event_is_lost_where_two_threads_speak(tmp_path):
    store = Slow(tmp_path)
    log = RunLog(store, cast(Manifest, MANIFEST))
    threads = [
        threading.Thread(target=lambda who=who: [log.event("said", who=who, n=n) for n in range(50)]) for who in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = [json.loads(store.get(name)) for name in store.names("runs/r/events")]
    assert sorted((event["who"], event["n"]) for event in said) == [(who, n) for who in "ab" for n in range(50)]


def test_two_writers_of_one_list_keep_what_both_wrote(tmp_path):
    store = DirStore(tmp_path)
    assert create_next(store, "jobs/{:04}.json", 0, "job", FIRST) == 1
    assert create_next(store, "jobs/{:04}.json", 0, "job", SECOND) == 2, "it had counted before the other wrote"
    kept = [read_document(store, name, "job", lambda body: body) for name in sorted(store.names("jobs"))]
    assert kept == [FIRST, SECOND]


def test_an_object_whose_creation_was_not_heard_of_is_there_once(tmp_path):
    store = Deaf(tmp_path)
    assert create_next(store, "jobs/{:04}.json", 0, "job", FIRST) == 1
    assert len(list(store.names("jobs"))) == 1


def test_a_runner_of_another_machine_whose_name_begins_alike_is_not_taken_for_dead(tmp_path, monkeypatch):
    store, name = DirStore(tmp_path), "a-node-of-the-large-cluster"
    manifest = MANIFEST
    monkeypatch.setattr(runlog.socket, "gethostname", lambda: f"{name}-2")
    with monkeypatch.context() as there:
        there.setattr(runlog.os, "getpid", lambda: (1 << 22) + 1)  # none that Linux gives
        RunLog(store, cast(Manifest, manifest)).event("started")
    assert run_state(store, "r") == "interrupted"
    monkeypatch.setattr(runlog.socket, "gethostname", lambda: f"{name}-1")
    assert run_state(store, "r") == "running"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A store and a detached run in it that has ended complete, whose Runner was another process."""
    folder = tmp_path_factory.mktemp("lagging")
    (folder / "sums.py").write_text(SUM_ANALYSIS)
    file = write_events(folder / "e.root", 100, clusters=2)
    store = Lagging(folder / "store")
    with pytest.MonkeyPatch.context() as patch, Client(workers=1, store=store) as client:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        run = client.submit(str(folder / "sums.py"), str(file))
        assert run.wait(120).status == "complete", run.logs()
        assert comes_true(lambda: run.job_status().state.terminal)
        yield store, lambda: client.attach(run.id)


def test_a_runner_that_ends_while_its_run_is_looked_at_has_said_how(kept):
    store, attach = kept
    store.late = 2
    assert run_state(store, attach().id) == "complete"
    assert store.late == 0


def test_a_run_whose_job_ended_well_waits_for_the_store_to_show_it(kept):
    store, attach = kept
    run = attach()
    store.late = 100
    assert run.status == "unknown"
    store.late = 6
    assert run.result(timeout_s=60)
    assert (store.late, run.status) == (0, "complete")


def test_it_does_not_wait_for_ever(kept, monkeypatch):
    store, attach = kept
    monkeypatch.setattr(whereabouts, "_LAG_S", 0.0)
    store.late = 100
    try:
        assert attach().status == "interrupted"
    finally:
        store.late = 0


@pytest.mark.parametrize(
    "job", [JobStatus(State.TIMEOUT), JobStatus(State.CANCELLED, exit_code=0), JobStatus(State.FAILED, exit_code=75)]
)
def test_a_job_that_was_ended_or_gave_up_is_not_waited_for(kept, monkeypatch, job):
    store, attach = kept
    monkeypatch.setattr(Detached, "status", lambda self: job)
    store.late = 100
    try:
        assert attach().status == ("cancelled" if job.state is State.CANCELLED else "interrupted")
    finally:
        store.late = 0


@pytest.mark.parametrize(
    ("state", "attempt", "told"),
    [
        (State.CANCELLED, 1, "cancelled"),
        (State.TIMEOUT, 1, "interrupted"),
        (State.RUNNING, 1, "running"),
        (State.UNKNOWN, 0, "running"),
        (State.QUEUED, 1, "running"),  # an answer of before it began
        (State.QUEUED, 2, "queued"),  # it was put back
        (State.HELD, 2, "queued"),
        (State.RUNNING, 2, "running"),
    ],
)
def test_a_runner_that_spoke_a_moment_ago_is_gone_where_its_job_is(kept, monkeypatch, tmp_path, state, attempt, told):
    _, attach = kept
    store, run_id = DirStore(tmp_path / "store"), attach().id
    run = attach()
    store.create(f"runs/{run_id}/manifest.json", run.store.get(f"runs/{run_id}/manifest.json"))
    write_document(store, f"runs/{run_id}/jobs/0000.json", "job", {"job": "33", "site": "x", "submitted": 0.0})
    monkeypatch.setenv("VRECOMPUTE_JOB", "33")
    monkeypatch.setenv("VRECOMPUTE_ATTEMPT", "1")
    monkeypatch.setattr(runlog.socket, "gethostname", lambda: "elsewhere")
    RunLog(store, run.manifest).event("progress")
    monkeypatch.undo()
    monkeypatch.setattr(Detached, "status", lambda self: JobStatus(state, attempt, "so it is"))
    monkeypatch.setattr("vrecompute.whereabouts.log_ends", lambda backend, job: "")
    detached = Detached(None, None, store, run.manifest)
    looked = Run(store, run.manifest, run.analysis, detached)
    assert looked.status == told
    said = "so it is" if told != "running" or state is State.RUNNING else ""
    assert (looked.where().state, looked.where().reason) == (told, said)
    assert (looked.progress().stage == "queued") == (told == "queued")
    # one that goes on elsewhere with the same run, as after a resume, is believed
    RunLog(store, run.manifest).event("progress")
    assert looked.status == "running"
