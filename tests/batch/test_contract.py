"""The words of the Backend contract: terminal states never change, silence changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.batch.contract import BLAME, Job, JobStatus, State, SubmitError, latest
from vrecompute.errors import UsageError

statuses = st.builds(JobStatus, state=st.sampled_from(State), attempt=st.integers(0, 3))


@given(st.lists(statuses, max_size=12))
def test_a_terminal_state_of_an_attempt_never_changes(seen):
    known: JobStatus | None = None
    ended: dict[int, State] = {}
    for status in seen:
        known = latest(known, status)
        if known.state.terminal:
            assert ended.setdefault(known.attempt, known.state) is known.state
    if ended and known is not None:
        assert known.attempt >= max(ended)


@given(statuses, st.integers(0, 3))
def test_silence_changes_nothing(known, attempt):
    assert latest(known, JobStatus(State.UNKNOWN, attempt=attempt)) is known


def test_every_end_is_charged_to_somebody_and_infrastructure_is_never_code():
    assert {s for s in State if s.terminal} == set(BLAME)
    assert {State.QUEUED, State.HELD, State.RUNNING, State.UNKNOWN} == set(State) - set(BLAME)
    for state in (State.TIMEOUT, State.PREEMPTED, State.NODE_FAIL, State.CANCELLED):
        assert BLAME[state] == "infrastructure"
    assert JobStatus(State.RUNNING).blame == "none"


def test_secrets_are_not_in_the_repr_of_a_job():
    job = Job("a", ("true",), secret_files={"key": b"canary-4711"})
    assert "canary-4711" not in repr(job)


@pytest.mark.parametrize(
    "bad", [{"command": ()}, {"cores": 0}, {"memory_bytes": 0}, {"walltime_s": 0}, {"workers": -1}]
)
def test_a_job_that_asks_for_nothing_is_refused(bad):
    with pytest.raises(UsageError, match="job 'a'"):
        Job(**{"name": "a", "command": ("true",), **bad})


def test_a_refusal_says_whether_to_try_again():
    assert (SubmitError("busy", transient=True).exit_code, SubmitError("no").exit_code) == (5, 2)
