"""Scheduling decisions: every missing chunk is submitted once, however rates and threads change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.execution.schedule import Schedule, Task

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


@given(MASKS, st.data())
def test_whatever_workers_leave_undone_every_chunk_is_computed_once(missing, data):
    """Receipts leave any part of a task, deaths make any of them suspects, in any order."""
    schedule = Schedule(missing)
    computed: list[int] = []
    flying: list[Task] = []
    patience = 3 * len(missing)
    while flying or not schedule.exhausted:
        task = schedule.next(data.draw(st.integers(0, 8)), len(flying))
        if task is not None:
            flying.append(task)
        if task is None or data.draw(st.booleans()):
            ended = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
            patience -= 1
            how = data.draw(st.sampled_from(["done", "left", "killed"])) if patience > 0 else "done"
            if how == "killed" and not ended.alone:
                schedule.suspect(ended, from_start=data.draw(st.booleans()))
                continue
            left = data.draw(st.integers(ended.first, ended.last)) if how != "done" else ended.last
            computed += range(ended.first, left)
            if left > ended.first:
                schedule.finished(replace(ended, last=left), data.draw(st.floats(0, 100)), 1.0)
            if left < ended.last:
                schedule.again(replace(ended, first=left))
    assert sorted(computed) == np.flatnonzero(missing).tolist()
    assert schedule.left == 0


def test_what_is_run_alone_stays_alone_when_a_worker_has_no_time_for_it():
    schedule = Schedule(np.zeros(4, dtype=bool))
    schedule.suspect(Task(1, 2), from_start=True)
    task = schedule.next(2, in_flight=0)
    assert task == Task(1, 2, alone=True, from_start=True)
    schedule.again(task)
    assert schedule.next(2, in_flight=1) is None
    assert schedule.next(2, in_flight=0) == task


def test_the_longest_chunk_of_late_is_what_workers_are_told():
    schedule = Schedule(np.ones(100, dtype=bool), fixed=1)
    assert schedule.longest_s == 0
    schedule.finished(Task(0, 1), 9.0, 9.0)
    for number in range(1, 64):
        schedule.finished(Task(number, number + 1), 2.0, 2.0)
    assert schedule.longest_s == 9
    schedule.finished(Task(64, 65), 2.0, 2.0)
    assert schedule.longest_s == 2, "one slow disk is not remembered for ever"


def test_stragglers_are_measured_against_the_median():
    schedule = Schedule(np.ones(1, dtype=bool))
    assert not schedule.is_straggler(1e6)
    task = schedule.next(1, 0)
    assert task is not None
    schedule.finished(task, 50.0)
    assert not schedule.is_straggler(149.0)
    assert schedule.is_straggler(151.0)
