"""Wanted against observed, without any daemon."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.batch.budget import Budget
from vrecompute.batch.contract import JobStatus, State
from vrecompute.batch.reconcile import Reconciler
from vrecompute.errors import OverBudget
from vrecompute.sites.model import Limits, Site, Workers
from vrecompute_backends.slurm import SlurmBackend

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


def test_failures_in_a_row_are_counted_apart_from_refusals_until_a_job_does_well():
    reconciler = Reconciler()
    for _ in range(2):
        reconciler.decide(2, dict.fromkeys("ab", JobStatus(State.FAILED, elapsed_s=1, exit_code=127)), 0.0)
    reconciler.refused(0.0)
    # a lost node, a walltime, a cancellation, or a job that is gone without a trace, are no failures of the job
    for state in (State.NODE_FAIL, State.TIMEOUT, State.PREEMPTED, State.CANCELLED):
        reconciler.decide(1, {"c": JobStatus(state, elapsed_s=1), "d": JobStatus(state)}, 0.0)
    assert reconciler.failures == 2
    reconciler.decide(1, {"e": JobStatus(State.RUNNING, elapsed_s=61)}, 0.0)
    assert (reconciler.failures, reconciler.strikes) == (0, 0)


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


@given(st.floats(0, 3), st.integers(0, 8), observations)
def test_no_decision_promises_more_than_the_budget(limit_h, wanted, observed):
    budget = Budget(limit_h, cores=2, job_s=600)
    actions = Reconciler(None, budget).decide(wanted, observed, 0.0)
    kept = {n for n, s in observed.items() if not s.state.terminal} - set(actions.cancel)
    promised_s = (len(kept) + actions.submit) * 2 * 600
    assert actions.submit == 0 or budget.used_s + promised_s <= limit_h * 3600


def test_what_ended_is_used_and_the_last_job_is_the_end():
    reconciler = Reconciler(None, Budget(1.0, cores=4, job_s=600))  # worth one job and a half
    assert reconciler.decide(3, {}, 0.0).submit == 1
    running = {"a": JobStatus(State.RUNNING, elapsed_s=300)}
    assert (reconciler.decide(3, running, 1.0).submit, reconciler.spent(running)) == (0, False)
    over = {"a": JobStatus(State.TIMEOUT, elapsed_s=600)}
    assert (reconciler.decide(3, over, 2.0).submit, reconciler.spent(over)) == (0, True)
    assert str(reconciler.budget) == "0.667 of 1 h used by this client, limits.core_hours"


def test_a_job_that_never_started_used_nothing_and_one_that_nobody_timed_all():
    budget = Budget(1.0, cores=1, job_s=600)
    budget.ended([JobStatus(State.QUEUED), JobStatus(State.CANCELLED, elapsed_s=0.0)])
    assert budget.used_s == 0
    budget.ended([JobStatus(State.NODE_FAIL)])
    assert budget.used_s == 600


def test_a_cluster_that_core_hours_are_not_worth_is_not_opened():
    """Nobody is asked anything: there is no Slurm here."""
    site = Site(
        name="tight", backend="slurm", workers=Workers(processes=4, walltime=3600), limits=Limits(core_hours=3.9)
    )
    for scheduler_runs, least in (("client", "4"), ("allocation", "5")):
        with pytest.raises(OverBudget, match=rf"may use {least} core-hours, more than .* \(0 of 3.9 h used"):
            SlurmBackend(replace(site, scheduler_runs=scheduler_runs)).open_cluster(1)


def test_what_the_scheduler_did_not_use_is_given_back():
    budget = Budget(10.0, cores=1, job_s=600)
    budget.reserve(48, 600)
    assert not budget.covers(36000 - 48 * 600 + 1)
    budget.reserve(48, -500)
    assert budget.used_s == 4800
    assert budget.covers(36000 - 4800)


@pytest.mark.parametrize("floor_s", [1, 30, 300])
def test_jobs_that_die_at_once_are_three_failures_within_three_polls(floor_s):
    """The next job is submitted when its wait is over, so that the next poll sees its end."""
    reconciler, now, job, polls = Reconciler(), 5.0, "0", 0
    asked = float("-inf")
    while reconciler.failures < 3:
        seen = {job: JobStatus(State.QUEUED)} if job else {}
        if job and now - asked >= floor_s:
            asked, polls = now, polls + 1
            seen = {job: JobStatus(State.FAILED, elapsed_s=1, exit_code=127)}
        actions = reconciler.decide(1, seen, now)
        job = str(now) if actions.submit else "" if actions.forget else job
        now += reconciler.next_look_s(now, floor_s)
    assert polls == 3
    assert asked <= 5 + 2 * (floor_s + 4)
