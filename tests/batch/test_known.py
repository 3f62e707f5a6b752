"""What is believed of jobs, whatever a driver says of them one after another."""

from __future__ import annotations

import time

import pytest

from vrecompute.batch.contract import JobStatus, State
from vrecompute.batch.known import Answer, Known, Seen


def told(known, state, attempt, times=1):
    for _ in range(times):
        known.take(Answer({"7": Seen(JobStatus(state, attempt))}))


def test_a_driver_that_counts_attempts_backwards_is_told_of_once(caplog):
    known = Known("QQ")
    told(known, State.RUNNING, 1)
    told(known, State.HELD, 0, times=20)
    assert known.status("7").state is State.RUNNING
    (line,) = caplog.messages
    assert line.startswith("job 7: QQ says held of attempt 0 after it said running of attempt 1;")


def test_an_answer_that_lags_is_passed_over_in_silence(caplog):
    known = Known("QQ")
    for attempt in (1, 2, 3):
        told(known, State.RUNNING, attempt)
        told(known, State.HELD, attempt - 1, times=4)
    assert known.status("7") == JobStatus(State.RUNNING, 3)
    assert not caplog.messages


@pytest.mark.parametrize(("lags", "accounting", "over_s"), [(True, True, 600), (False, True, 30), (True, False, 30)])
def test_what_no_source_knows_is_over_once_none_may_lag_so_long(monkeypatch, lags, accounting, over_s):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    known = Known("QQ", lags=lags)
    for now[0] in (0.0, 1.0, over_s - 1.0):
        known.take(Answer(gone=frozenset({"7"}), accounting=accounting))
    assert known.status("7").state is State.UNKNOWN
    now[0] = over_s
    known.take(Answer(gone=frozenset({"7"}), accounting=accounting))
    assert known.status("7").state is State.NODE_FAIL
    said = "neither QQ nor its accounting knows it" if accounting else "QQ keeps no accounting"
    assert said in known.status("7").reason
