"""What a run waits for is said, and not for ever."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from vrecompute.errors import ClusterLost
from vrecompute.execution.patience import Patience, Wait
from vrecompute.execution.pool import Finished
from vrecompute.execution.progress import Progress
from vrecompute.workforce import WorkerControl


@dataclass
class Pool:
    """As much of a TaskPool as is looked at."""

    workers: int = 1
    tasks: list[tuple[str, float, int]] = field(default_factory=list)
    asleep: str = ""

    def __len__(self):
        return len(self.tasks)

    def threads(self):
        return self.workers

    def paused(self):
        return self.asleep

    def flying(self):
        return self.tasks


class Queue(WorkerControl):
    patience_s = 1000.0

    def waiting(self):
        return "job 4711 is queued: the partition is full"


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("vrecompute.execution.patience.time.monotonic", lambda: now[0])
    return now


def test_a_run_without_workers_says_why_and_gives_up_in_the_end(clock):
    patience, pool = Patience(Queue()), Pool(workers=0, tasks=[("a", 1.0, 1)])
    assert patience.look(pool, None) == Wait()
    clock[0] = 60.0
    wait = patience.look(pool, None)
    assert wait == Wait("workers", "no worker is connected: job 4711 is queued: the partition is full", 60.0)
    assert "waiting for 60 s: no worker is connected" in str(Progress("work", waiting=wait.reason, waiting_s=60.0))
    clock[0] = 1001.0
    with pytest.raises(ClusterLost, match=r"4711 is queued.*; none connected for .*kept and reused"):
        patience.look(pool, None)


def test_workers_that_come_begin_a_new_wait(clock):
    patience, pool = Patience(Queue()), Pool(workers=0)
    clock[0] = 900.0
    pool.workers = 1
    assert patience.look(pool, None) == Wait()
    clock[0], pool.workers = 1800.0, 0
    assert patience.look(pool, None).seconds == 900.0


def test_tasks_of_which_none_ends_are_said_and_time_left_is_not_guessed(clock):
    patience, pool = Patience(WorkerControl()), Pool(tasks=[("a", 300.0, 1), ("b", 70.0, 1)])
    clock[0] = 61.0
    wait = patience.look(pool, None)
    assert wait.reason == "2 tasks are in progress, the oldest for 5 min 00 s; none has ended"
    text = str(Progress("work", chunks_done=1, chunks_total=2, eta_s=2.0, waiting=wait.reason, waiting_s=61.0))
    assert "2 tasks are in progress" in text
    assert "2 s left" not in text
    assert patience.look(pool, Finished("a", "done", None)) == Wait()


def test_workers_that_are_all_paused_are_said_and_not_waited_for_for_ever(clock):
    patience, pool = Patience(Queue()), Pool(tasks=[("a", 1.0, 1)], asleep="all 2 workers are paused")
    assert patience.look(pool, None) == Wait()
    for clock[0] in (2.0, 4.0):
        patience.look(pool, None)
    clock[0] = 60.0
    wait = patience.look(pool, None)
    assert (wait.kind, wait.reason) == ("workers", "all 2 workers are paused")
    clock[0], pool.asleep = 900.0, ""
    assert "none has ended" in patience.look(pool, None).reason
    clock[0], pool.asleep = 1890.0, "all 2 workers are paused"
    assert patience.look(pool, None).seconds == 990.0, "from when one was last seen that was not"
    clock[0] = 1901.0
    with pytest.raises(ClusterLost, match=r"all 2 workers are paused; none went on for 16 min.*kept and reused: give"):
        patience.look(pool, None)
