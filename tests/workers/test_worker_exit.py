"""Whose kill a death is: the kernel counts its own some time before a nanny notices that its worker is gone."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from vrecompute.workers import worker_exit


@pytest.fixture
def witness(monkeypatch):
    """A witness of a nanny whose worker is this process, and what it told; `witness.group.count` are the kernel's."""
    group = SimpleNamespace(count=3, peak_and_limit=lambda: (900, 1000))
    group.kills = lambda: group.count
    monkeypatch.setattr(worker_exit, "own_group", lambda: group)
    told = []
    nanny = SimpleNamespace(
        pid=os.getpid(),
        log_event=lambda topic, message: told.append(message),
        _on_worker_exit_sync=lambda code: None,
        periodic_callbacks={},
        status=SimpleNamespace(name="running"),
        worker_address="tcp://c2:1",
        memory_manager=SimpleNamespace(memory_limit=1000),
    )
    made = worker_exit._ExitReporter(nanny)
    made.told = told
    return made


def test_a_kill_that_was_counted_seconds_before_is_the_kernels(witness):
    witness.look()
    witness.group.count += 1
    for _ in range(20):  # four seconds: a busy node takes them to give the memory back
        witness.look()
    witness.ended(-9)
    assert [(word["by"], word["group_limit_bytes"]) for word in witness.told] == [("kernel", 1000)]


@pytest.mark.parametrize("looks", [0, 3])
def test_it_explains_one_death_and_not_the_next(witness, looks):
    witness.look()
    witness.group.count += 1
    witness.ended(-9)
    for _ in range(looks):
        witness.look()
    witness.ended(-9)
    assert [word["by"] for word in witness.told] == ["kernel", ""]


def test_what_was_counted_before_the_worker_is_not_its_own(witness):
    witness.look()
    witness.ended(-9)
    assert witness.told[0]["by"] == ""


def test_a_process_that_ends_itself_without_an_error_is_told_of(witness):
    witness.ended(0)
    assert [word["exit_code"] for word in witness.told] == [0]
    witness.nanny.status.name = "closing_gracefully"
    witness.ended(0)
    assert len(witness.told) == 1
