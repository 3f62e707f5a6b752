"""`runs list`: what a store and one question to the site tell of all runs."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Client, runlist
from vrecompute.batch.contract import JobId, JobStatus, State
from vrecompute.execution.manifest import read_manifest
from vrecompute.execution.outcome import Tally
from vrecompute.execution.runlog import RunLog
from vrecompute.runlist import list_runs
from vrecompute.stores.directory import DirStore

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
    assert {run.state for run in other.runs()} == {"interrupted"}


class Counting(DirStore):
    """A store that counts what it is asked."""

    def __init__(self, root):
        super().__init__(root)
        self.asked: Counter[str] = Counter()

    def get(self, name, **options):
        self.asked["/".join(name.split("/")[:2])] += 1
        return super().get(name, **options)

    def exists(self, name):
        self.asked["/".join(name.split("/")[:2])] += 1
        return super().exists(name)

    def names(self, prefix):
        self.asked[prefix] += 1
        return super().names(prefix)

    def children(self, prefix):
        self.asked[prefix] += 1
        return super().children(prefix)


def test_a_list_asks_at_most_two_objects_of_a_run_and_none_of_those_known_to_be_complete(client, monkeypatch):
    """Of runs in all states; beside them, one listing tells of all."""
    monkeypatch.setattr(client.backend, "poll", lambda ids: {i: JobStatus(State.QUEUED) for i in ids})
    runs = [facts.run for facts in client.runs(ask=False)]
    for run in runs[:2]:
        manifest = read_manifest(client.store, run)
        log = RunLog(client.store, manifest)
        for _ in range(30):
            log.event("progress")
        if run == runs[0]:
            outcome = Tally(manifest).outcome({}, None, cancelled=False)
            complete = replace(outcome, summary=replace(outcome.summary, status="complete"))
            log.outcome(complete.to_data(log.writer))
    monkeypatch.setattr(runlist, "_begun", {})
    store = Counting(client.store.root)
    for most, complete in ((2, 2), (2, 0)):
        store.asked.clear()
        listed = list_runs(store, "local", client.backend.poll)
        assert Counter(facts.state for facts in listed) == {"complete": 1, "running": 1, "queued": len(runs) - 2}
        assert store.asked.pop("runs") == 1
        assert store.asked[f"runs/{runs[0]}"] == complete
        assert max(store.asked.values()) <= most
    shutil.rmtree(client.store.root / "runs" / runs[0] / "outcomes")
    assert {facts.run: facts.state for facts in list_runs(store, "local", None)}[runs[0]] == "running"


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
