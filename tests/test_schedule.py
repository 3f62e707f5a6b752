"""Scheduling decisions: every missing chunk is submitted once, however rates and threads change."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.schedule import Schedule, Task

MASKS = st.lists(st.booleans(), max_size=200).map(lambda m: np.array(m, dtype=bool))


@given(MASKS, st.data())
def test_every_missing_chunk_is_submitted_once(missing, data):
    schedule = Schedule(missing)
    seen = []
    while not schedule.exhausted:
        task = schedule.next(data.draw(st.integers(0, 64)), in_flight=0)
        assert task is not None
        seen += range(task.first, task.last)
        schedule.finished(task, data.draw(st.floats(0, 100)))
    assert seen == np.flatnonzero(missing).tolist()
    assert schedule.left == 0


def test_tasks_grow_to_the_aimed_length_and_shrink_at_the_end():
    schedule = Schedule(np.ones(1000, dtype=bool), task_s=10)
    sizes = []
    while task := schedule.next(threads=2, in_flight=1):
        sizes.append(task.chunks)
        schedule.finished(task, 0.1 * task.chunks)
    assert sizes[0] == 1
    assert max(sizes) == 100
    assert sizes[-1] < 10


def test_a_suspect_waits_until_nothing_else_runs():
    schedule = Schedule(np.zeros(4, dtype=bool))
    schedule.suspect(Task(1, 3))
    assert schedule.next(2, in_flight=1) is None
    assert schedule.next(2, in_flight=0) == Task(1, 2, alone=True)
    assert schedule.next(2, in_flight=0) == Task(2, 3, alone=True)
    assert schedule.exhausted


def test_a_lost_task_comes_back():
    schedule = Schedule(np.ones(3, dtype=bool), fixed=3)
    task = schedule.next(1, 0)
    assert task is not None
    schedule.again(task)
    assert schedule.next(1, 0) == task


def test_stragglers_are_measured_against_the_median():
    schedule = Schedule(np.ones(1, dtype=bool))
    assert not schedule.is_straggler(1e6)
    task = schedule.next(1, 0)
    assert task is not None
    schedule.finished(task, 50.0)
    assert not schedule.is_straggler(149.0)
    assert schedule.is_straggler(151.0)
