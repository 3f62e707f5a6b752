"""`runs list`: what a store and one question to the site tell of all runs."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Client
from vrecompute.batch.contract import JobId, JobStatus, State, SubmitError
from vrecompute.errors import OverBudget, Unavailable, UsageError, VrecomputeError
from vrecompute.execution.head import tell
from vrecompute.execution.manifest import read_manifest
from vrecompute.execution.runlog import RunLog
from vrecompute.execution.tally import Tally
from vrecompute.runlist import list_runs
from vrecompute.testing import UnreliableStore
from vrecompute.whereabouts import tell_refusal

STATES = {
    State.QUEUED: "queued",
    State.HELD: "queued",
    State.RUNNING: "running",
    State.UNKNOWN: "unknown",
    State.CANCELLED: "cancelled",
    State.TIMEOUT: "interrupted",
}


@pytest.fixture
def client(tmp_path: Path, monkeypatch):
    """A client of six detached runs, whose jobs are in as many states."""
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    write_events(tmp_path / "e.root", 10)
    made = Client(store=tmp_path / "store")
    numbers = iter(range(len(STATES)))
    monkeypatch.setattr(made.backend, "submit", lambda job: JobId(str(next(numbers))))
    for _ in STATES:
        made.submit(str(tmp_path / "sums.py"), str(tmp_path / "e.root"))
    return made


def test_pending_runs_are_queued_and_the_site_is_asked_once(client, monkeypatch):
    asked: list[list[str]] = []

    def poll(ids):
        asked.append(list(ids))
        return {job: JobStatus(list(STATES)[int(job)]) for job in ids}

    monkeypatch.setattr(client.backend, "poll", poll)
    assert sorted(run.state for run in client.runs()) == sorted(STATES.values())
    assert [sorted(ids) for ids in asked] == [sorted(map(str, range(len(STATES))))]
    assert {run.state for run in client.runs(ask=False)} == {"submitted"}
    assert len(asked) == 1


def test_a_site_that_is_silent_leaves_them_unknown_and_another_site_is_not_asked(client, monkeypatch):
    monkeypatch.setattr(client.backend, "poll", lambda ids: {})
    assert {run.state for run in client.runs()} == {"unknown"}
    other = Client(replace(client.site, name="elsewhere"), store=client.store)
    monkeypatch.setattr(other.backend, "poll", lambda ids: pytest.fail("it was asked"))
    assert {run.state for run in other.runs()} == {"unknown"}, "site local is known here, and is silent"


@pytest.fixture
def told(client, monkeypatch) -> list[str]:
    """The names of its runs. The Runner of the first ended complete, that of the second is at work."""
    monkeypatch.setattr(client.backend, "poll", lambda ids: {i: JobStatus(State.QUEUED) for i in ids})
    runs = [facts.run for facts in client.runs(ask=False)]
    for run in runs[:2]:
        manifest = read_manifest(client.store, run)
        log = RunLog(client.store, manifest)
        for number in range(30):
            log.event("progress", chunks_done=number)
        if run == runs[0]:
            outcome = Tally(manifest).outcome({}, None, cancelled=False)
            complete = replace(outcome, summary=replace(outcome.summary, status="complete"))
            log.outcome(complete.to_data(log.writer))
    return runs


WANTED = Counter({"complete": 1, "running": 1, "queued": len(STATES) - 2})


def states(store, client) -> Counter[str]:
    return Counter(facts.state for facts in list_runs(store, lambda site: client.backend.poll))


def another_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("VRECOMPUTE_CACHE", str(tmp_path / f"cache-{time.monotonic_ns()}"))


def test_a_list_costs_two_requests_a_run_one_listing_and_none_for_those_known_to_be_complete(
    client, told, monkeypatch, tmp_path
):
    """However long their logs are, and where another process of this machine has listed them before."""
    another_machine(monkeypatch, tmp_path)
    for others in (len(told), len(told) - 1):
        store = UnreliableStore(client.store, failing=0)
        monkeypatch.setattr(UnreliableStore, "__repr__", lambda self: repr(self.store))
        assert states(store, client) == WANTED
        assert store.asked == {"list": 1, "get": 2 * others}
    shutil.rmtree(client.store.root / "runs" / told[0] / "outcomes")
    another_machine(monkeypatch, tmp_path)
    assert {facts.run: facts.state for facts in list_runs(client.store, lambda site: None)}[told[0]] == "running"


WRONG_HEADS = {
    "missing": lambda path, other: path.unlink(),
    "empty": lambda path, other: path.write_bytes(b""),
    "of another run": lambda path, other: path.write_bytes(other.read_bytes()),
    "flipped": lambda path, other: path.write_bytes(path.read_bytes().replace(b"progress", b"advances")),
    "older": lambda path, other: path.write_bytes(path.read_bytes().replace(b'"version":', b'"version":1')),
    "a folder": lambda path, other: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("wrong", WRONG_HEADS)
def test_a_head_that_cannot_be_is_read_around(client, told, monkeypatch, tmp_path, wrong):
    another_machine(monkeypatch, tmp_path)
    heads = [client.store.root / "runs" / run / "head.json" for run in told]
    for path, other in zip(heads, [heads[-1].with_name("manifest.json"), *heads], strict=False):
        WRONG_HEADS[wrong](path, other)
    assert states(client.store, client) == WANTED


@pytest.mark.parametrize(
    ("state", "attempt", "is_told"),
    [
        (State.CANCELLED, 1, "cancelled"),
        (State.NODE_FAIL, 1, "interrupted"),
        (State.COMPLETED, 1, "unknown"),  # the store may be late
        (State.QUEUED, 1, "running"),  # an answer of before it began
        (State.QUEUED, 2, "queued"),  # it was put back
        (State.HELD, 2, "queued"),
        (State.UNKNOWN, 0, "running"),
    ],
)
def test_a_run_that_spoke_a_moment_ago_has_ended_with_its_job(client, told, monkeypatch, state, attempt, is_told):
    status = JobStatus(state, attempt, "why", exit_code=0)
    monkeypatch.setattr(client.backend, "poll", lambda ids: dict.fromkeys(ids, status))
    folder, manifest = client.store.root / "runs" / told[1], read_manifest(client.store, told[1])
    shutil.rmtree(folder / "events")
    (folder / "head.json").unlink()
    tell(client.store, manifest, jobs=["1"])
    monkeypatch.setenv("VRECOMPUTE_JOB", "1")
    monkeypatch.setenv("VRECOMPUTE_ATTEMPT", "1")
    RunLog(client.store, manifest).event("progress")

    def listed():
        runs = {run.run: run for run in list_runs(client.store, lambda site: client.backend.poll)}
        return runs[told[1]].state, runs[told[1]].reason.partition(", and")[0]

    assert listed() == (is_told, "" if is_told == "running" else "why")
    # one that a client took up since is believed
    monkeypatch.delenv("VRECOMPUTE_JOB")
    RunLog(client.store, manifest).event("progress")
    assert listed() == ("running", "")


def test_the_last_words_of_a_runner_without_workers_say_more_than_its_job(client, monkeypatch):
    run = client.runs(ask=False)[0].run
    manifest = read_manifest(client.store, run)
    tell(client.store, manifest, jobs=["0"])
    failed = JobStatus(State.FAILED, reason="FAILED: job 0 ended with exit code 5", exit_code=5)
    monkeypatch.setattr(client.backend, "poll", lambda ids: dict.fromkeys(ids, failed))
    log = RunLog(client.store, manifest)
    log.event("started")
    tell_refusal(client.store, manifest, Unavailable("no worker starts"), [log])

    def listed(polls):
        return next((it.state, it.reason) for it in list_runs(client.store, polls) if it.run == run)

    assert listed(lambda site: client.backend.poll) == ("interrupted", "no worker starts")
    assert listed(lambda site: None) == ("interrupted", "no worker starts")
    tell(client.store, manifest, jobs=["1"])
    assert listed(lambda site: client.backend.poll) == ("interrupted", failed.reason), "of a later job"


def test_a_head_never_makes_a_run_complete(client, told, monkeypatch, tmp_path):
    another_machine(monkeypatch, tmp_path)
    manifest = read_manifest(client.store, told[2])
    word = {"event": "ended", "time": time.time(), "host": "h", "pid": 1, "status": "complete"}
    tell(client.store, manifest, writer="1-h-1-ab", event=word)
    assert states(client.store, client) == WANTED
    assert client.attach(told[2]).status == "queued"


def test_a_look_at_a_run_that_is_followed_asks_no_more_the_longer_its_log_is(client, told):
    store = UnreliableStore(client.store, failing=0)
    run = Client(store=store).attach(told[1])
    store.asked.clear()
    assert run.is_live()
    assert run.progress().chunks_done == 29
    assert store.asked == {"get": 3}


def test_a_store_of_two_thousand_runs_is_listed_in_seconds(client):
    """CPU time: the disks of a busy machine are not what is measured."""
    (first, *_) = client.runs(ask=False)
    manifest = read_manifest(client.store, first.run)
    folder = client.store.root / "runs"
    for number in range(2000):
        copy = replace(manifest, run=f"20260101-000000-many-{number:07x}")
        (folder / copy.run).mkdir()
        (folder / copy.run / "manifest.json").write_bytes(copy.encoded())
    began = time.process_time()
    assert len(client.runs(ask=False, labels={})) == 2000 + len(STATES)
    assert time.process_time() - began < 5


def test_a_run_that_ended_otherwise_may_be_taken_up_and_is_asked_again(client, told, monkeypatch, tmp_path):
    another_machine(monkeypatch, tmp_path)
    manifest = read_manifest(client.store, told[2])
    log = RunLog(client.store, manifest)
    outcome = Tally(manifest).outcome({}, None, cancelled=False)
    log.outcome(replace(outcome, summary=replace(outcome.summary, status="failed")).to_data(log.writer))
    assert {facts.run: facts.state for facts in list_runs(client.store, lambda site: None)}[told[2]] == "failed"
    RunLog(client.store, manifest).event("started")
    assert {facts.run: facts.state for facts in list_runs(client.store, lambda site: None)}[told[2]] == "running"


def test_each_site_that_this_machine_knows_is_asked_once_and_no_other(client, told, monkeypatch, tmp_path):
    """A store may be of several sites: a run is not interrupted because the one that was named did not submit it."""
    monkeypatch.setenv("VRECOMPUTE_SITES", str(tmp_path))
    (tmp_path / "there.yaml").write_text("schema: 1\nname: there\nbackend: local\n")
    asked: list[list[str]] = []

    def poll(self, ids):
        asked.append(list(ids))
        return {i: JobStatus(State.QUEUED, reason="job waits: it is next") for i in ids}

    monkeypatch.setattr(type(client.backend), "poll", poll)
    numbers = iter(range(90, 99))
    monkeypatch.setattr(type(client.backend), "submit", lambda self, job: JobId(str(next(numbers))))
    for name in ("there", "there", "nowhere", str(tmp_path / "there.yaml")):
        other = Client(replace(client.site, name=name), store=client.store)
        other.submit(str(tmp_path / "sums.py"), str(tmp_path / "e.root"))
    monkeypatch.undo()
    monkeypatch.setenv("VRECOMPUTE_SITES", str(tmp_path))
    monkeypatch.setattr(type(client.backend), "poll", poll)
    made = Client(store=client.store)
    runs = made.runs()[-4:]
    assert [run.state for run in runs] == ["queued", "queued", "submitted", "submitted"]
    assert runs[0].reason == "job waits: it is next"
    assert [run.job for run in runs] == ["90", "91", "92", "93"]
    assert sorted(map(sorted, asked)) == [["1", "2", "3", "4", "5"], ["90", "91"]]
    assert [made.attach(run.run).status for run in runs] == ["queued", "queued", "submitted", "submitted"]
    assert len(asked) == 4
    made.close()


def test_the_first_question_is_about_all_runs_that_are_attached_and_may_go_on(client, told, monkeypatch):
    expected: list[str] = []
    monkeypatch.setattr(client.backend, "ask_next", expected.extend)
    for run in told:
        client.attach(run)
    assert sorted(expected) == ["1", "2", "3", "4", "5"], "the first is complete"


@pytest.mark.parametrize(
    ("error", "state"),
    [(SubmitError("no"), "refused"), (OverBudget("used"), "over budget"), (Unavailable("no worker"), "interrupted")],
)
def test_a_run_that_its_site_refused_is_told_so_by_every_door_and_may_be_taken_up(tmp_path, monkeypatch, error, state):
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    write_events(tmp_path / "e.root", 10)
    with Client(store=tmp_path / "store") as client:
        with monkeypatch.context() as patch:

            def refuse(self, workers):
                raise error

            patch.setattr(type(client.backend), "open_cluster", refuse)
            run = client.run(str(tmp_path / "sums.py"), str(tmp_path / "e.root"))
            with pytest.raises(type(error)):
                run.wait(60)
        assert run.status == state
        found = Client(store=tmp_path / "store").attach(run.id)
        assert found.status == state
        assert found.where().reason == str(error)
        assert [(facts.state, facts.reason) for facts in client.runs()] == [(state, str(error))]
        assert found.resume().report(timeout_s=120).status == "complete"
        assert [facts.state for facts in client.runs()] == ["complete"]


@pytest.mark.parametrize("name", ["manifest.json", "outcomes/complete.json"])
def test_a_run_that_was_seen_complete_and_is_damaged_since_is_told_as_it_is(client, told, name):
    first = told[0]
    state = {run.run: run.state for run in client.runs(ask=False)}
    assert state[first] == "complete"
    (client.store.root / "runs" / first / name).write_bytes(b"")
    listed = {run.run: run for run in client.runs(ask=False)}[first]
    assert listed.state != "complete" or listed.trouble
    shutil.rmtree(client.store.root / "runs" / first)
    assert first not in {run.run for run in client.runs(ask=False)}


def test_a_link_to_a_run_is_none_and_deletes_none(client, told):
    alias, runs = "20261130-100152-an-aaaaaaa", client.store.root / "runs"
    (runs / alias).symlink_to(told[0])
    before = sorted(path for path in (runs / told[0]).rglob("*"))
    assert alias not in {run.run for run in client.runs(ask=False)}
    with pytest.raises(VrecomputeError):
        client.delete(alias)
    assert sorted(path for path in (runs / told[0]).rglob("*")) == before


def test_a_store_whose_name_is_no_text_is_refused_at_once(tmp_path):
    (tmp_path / "\udcadstore").mkdir()
    with pytest.raises(UsageError, match="its name is not UTF-8"):  # no document could say where its run is
        Client(store=tmp_path / "\udcadstore").runs()
