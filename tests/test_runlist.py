"""`runs list`: what a store and one question to the site tell of all runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Client
from vrecompute.batch.contract import JobId, JobStatus, State

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
    from dataclasses import replace

    other = Client(replace(client.site, name="elsewhere"), store=client.store)
    monkeypatch.setattr(other.backend, "poll", lambda ids: pytest.fail("it was asked"))
    assert {run.state for run in other.runs()} == {"interrupted"}
