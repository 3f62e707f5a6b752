"""How often a batch system is asked: at most once per `limits.min_poll` of its site, for all runs of a client."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.backends.readme_driver import driver
from vrecompute.batch.contract import State
from vrecompute.sites.access import Completed, LocalAccess
from vrecompute.sites.model import Limits

RUNS, FLOOR_S = 200, 60


class Queue(LocalAccess):
    """A QQ that says of each job that it runs, and counts its questions."""

    questions = 0

    def run(self, command, **options):
        """Answer `qq list`, and what makes the spool."""
        if "bash" in command:
            return Completed(0, b"/spool\n", b"")
        self.questions += 1
        ids = command[command.index("/spool") + 1].split(",")
        return Completed(0, "".join(f"{i}|RUN|0||9.0|5.0|\n" for i in ids).encode(), b"")


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def backend(qq_site):
    queue = Queue()
    return driver.MyBackend(replace(qq_site, limits=Limits(min_poll=FLOOR_S)), queue)


def test_all_runs_of_a_client_that_poll_one_by_one_are_known_within_two_questions(backend, clock):
    """Each run follows its own job: whoever came first after the floor asked for itself alone."""
    ids = [str(n) for n in range(RUNS)]
    began = clock[0]
    while {backend.poll([i])[i].state for i in ids} != {State.RUNNING}:
        clock[0] += 5
        assert clock[0] - began <= 2 * FLOOR_S
    assert backend.access.questions == 2


def test_ten_minutes_of_200_detached_runs_are_ten_questions(backend, clock):
    ids = [str(n) for n in range(RUNS)]
    for _ in range(0, 600, 5):
        for i in ids[:: RUNS // 20]:
            backend.poll([i])
        backend.poll(ids)
        clock[0] += 5
    assert backend.access.questions == 10
