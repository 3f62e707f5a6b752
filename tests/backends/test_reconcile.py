"""Wanted against observed, without any daemon."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vrecompute.backend import JobStatus, State
from vrecompute_backends.reconcile import Reconciler

observations = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.builds(JobStatus, state=st.sampled_from(State), elapsed_s=st.sampled_from([None, 1.0, 600.0])),
    max_size=8,
)


@given(st.integers(0, 8), st.none() | st.integers(1, 5), observations)
def test_one_decision_closes_the_difference(wanted, max_jobs, observed):
    actions = Reconciler(max_jobs).decide(wanted, observed, 0.0)
    alive = {n for n, s in observed.items() if not s.state.terminal}
    assert set(actions.forget) == set(observed) - alive
    assert set(actions.cancel) <= alive
    assert not (actions.cancel and actions.submit)
    limit = wanted if max_jobs is None else min(wanted, max_jobs)
    after = len(alive) - len(actions.cancel) + actions.submit
    assert after <= max(limit, 0)
    quick = any(s.blame in {"code", "memory"} or s.state is State.NODE_FAIL for s in observed.values())
    assert after == limit or quick


def test_a_job_removed_behind_its_back_is_replaced_at_the_next_look():
    seen = {"a": JobStatus(State.CANCELLED, elapsed_s=5), "b": JobStatus(State.RUNNING)}
    actions = Reconciler().decide(2, seen, 0.0)
    assert (actions.forget, actions.submit) == (("a",), 1)


def test_silence_replaces_nobody():
    assert Reconciler().decide(2, {"a": JobStatus(State.UNKNOWN), "b": JobStatus(State.UNKNOWN)}, 0.0).submit == 0


def test_jobs_that_fail_at_once_are_replaced_ever_more_slowly_until_one_does_well():
    reconciler, now, submitted = Reconciler(), 0.0, []
    for _ in range(4):
        observed = {"a": JobStatus(State.FAILED, elapsed_s=1)}
        assert reconciler.decide(1, observed, now).submit == 0
        while not reconciler.decide(1, {}, now).submit:
            now += 1
        submitted.append(now)
    gaps = [b - a for a, b in pairwise(submitted)]
    assert gaps == sorted(gaps)
    assert gaps[-1] >= 2 * gaps[0]
    reconciler.decide(1, {"b": JobStatus(State.RUNNING, elapsed_s=61)}, now)
    assert reconciler.strikes == 0


def test_those_that_do_not_run_are_given_up_first():
    seen = {"runs": JobStatus(State.RUNNING), "waits": JobStatus(State.QUEUED)}
    assert Reconciler().decide(1, seen, 0.0).cancel == ("waits",)
