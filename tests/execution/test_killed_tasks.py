"""What is made of tasks whose workers died: tried alone, tried with a whole walltime ahead, or lost."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from vrecompute.batch.contract import JobStatus, State
from vrecompute.execution import killed_tasks
from vrecompute.execution.killed_tasks import KilledTasks
from vrecompute.execution.schedule import Schedule, Task

NAME = "vre-1_0-0"


@dataclass
class Worker:
    name: str = NAME


class Killed(Exception):
    """As distributed's KilledWorker."""

    last_worker = Worker()


def case(task: Task, *said: JobStatus | None) -> tuple[KilledTasks, Schedule]:
    """The killed task, where the batch system says one thing after another of its worker's job."""
    answers = list(said)
    found = KilledTasks(lambda: {} if (now := answers.pop(0)) is None else {NAME: now})
    found.begin(task, Killed())
    return found, Schedule(np.zeros(4, dtype=bool))


TIMEOUT = JobStatus(State.TIMEOUT, reason="TIMEOUT: job 7 on c1")
OOM = JobStatus(State.OOM)
ALONE = Task(1, 2, alone=True)
LAST = replace(ALONE, from_start=True)


@pytest.mark.parametrize(
    ("task", "death", "again"),
    [
        (Task(1, 2), None, ALONE),
        (Task(1, 2), OOM, ALONE),
        (Task(1, 2), TIMEOUT, LAST),
        (ALONE, TIMEOUT, LAST),
        (ALONE, None, None),
        (ALONE, OOM, None),
        (LAST, TIMEOUT, None),
    ],
)
def test_what_becomes_of_a_task(task, death, again):
    found, schedule = case(task, death)
    lost = found.judge(schedule)
    assert [t for t, _ in lost] == ([] if again else [task])
    assert schedule.next(1, 0) == again
    assert len(found) == 0
    assert found.judge(schedule) == []


def test_nothing_is_said_while_a_job_at_its_walltime_is_being_ended(monkeypatch):
    running = JobStatus(State.RUNNING, elapsed_s=60)
    found, schedule = case(LAST, running, running, TIMEOUT)
    assert found.judge(schedule) == found.judge(schedule) == []
    assert (len(found), schedule.exhausted) == (1, True)
    assert [t for t, _ in found.judge(schedule)] == [LAST]
    found, schedule = case(LAST, running)
    monkeypatch.setattr(killed_tasks, "_PATIENCE_S", 0.0)
    assert [t for t, _ in found.judge(schedule)] == [LAST], "not for ever"
