"""What ends a job on the real pool, and what it is called: memory, files that are missing, a token that is."""

from __future__ import annotations

import time

import pytest

from vrecompute.batch.contract import Job, State, SubmitError
from vrecompute.errors import Unavailable
from vrecompute.testing import BackendContract

pytestmark = [pytest.mark.htcondor, pytest.mark.timeout(600)]

until, until_said = BackendContract().until, BackendContract().until_said
#: What was put back before it began may begin elsewhere, also where it must not start again.
BEGINS = ("sh", "-c", "echo begun; exec sleep 300")
HOG = "x = b'x' * (300 << 20); import time; time.sleep(90)"


def ended(backend, job_id):
    return until(backend, [job_id], lambda s: s.state.terminal, 150)[job_id]


@pytest.mark.parametrize("requeue", [False, pytest.param(True, marks=pytest.mark.acceptance)])
def test_a_job_over_its_memory_is_charged_to_memory_and_leaves_the_queue(pool, requeue):
    backend = pool.backend()
    job_id = backend.submit(Job("hog", ("python", "-c", HOG), memory_bytes=100 << 20, requeue=requeue))
    status = ended(backend, job_id)
    assert (status.state, status.blame) == (State.OOM, "memory"), status
    assert "`workers.memory`" in status.reason
    deadline = time.monotonic() + 60
    while pool.queue():
        assert time.monotonic() < deadline, pool.queue()
        time.sleep(0.5)
    assert pool.backend().poll([job_id])[job_id].state is State.OOM, "also for who asks afterwards"


def test_a_job_whose_files_are_gone_says_so(pool):
    backend = pool.backend(requirements='Machine == "nowhere"')
    job_id = backend.submit(Job("bare", ("true",), memory_bytes=100 << 20, secret_files={"key": b"0815"}))
    backend.access.run(["sh", "-c", 'rm -rf "$0"/secrets-*', backend.spool])
    backend.access.run(["condor_qedit", job_id, "Requirements", "true"])
    status = ended(backend, job_id)
    assert (status.state, status.blame) == (State.FAILED, "code"), status
    assert "files for it could not be transferred" in status.reason
    assert "secrets-" in status.reason


def test_a_worker_s_job_that_is_vacated_is_preempted_and_does_not_start_again(pool):
    backend = pool.backend()
    job_id = backend.submit(Job("once", BEGINS, memory_bytes=100 << 20))
    until_said(backend, job_id, "begun")
    backend.access.run(["condor_vacate_job", job_id])
    status = ended(backend, job_id)
    assert (status.state, status.blame, status.attempt) == (State.PREEMPTED, "infrastructure", 0), status


def test_one_that_may_be_requeued_starts_again(pool):
    backend = pool.backend()
    job_id = backend.submit(Job("twice", BEGINS, memory_bytes=100 << 20, requeue=True))
    until_said(backend, job_id, "begun")
    backend.access.run(["condor_vacate_job", job_id])
    until(backend, [job_id], lambda s: s.state is State.RUNNING and s.attempt == 1)
    backend.cancel([job_id])
    assert ended(backend, job_id).state is State.CANCELLED


def test_a_thousand_jobs_are_one_submission_and_one_question(pool):
    backend = pool.backend(requirements='Machine == "nowhere"')
    ids = backend.submit_many(Job("many", ("true",), memory_bytes=100 << 20), 1000)
    assert len({job_id.partition(".")[0] for job_id in ids}) == 1
    calls = []
    run = backend.access.run
    backend.access.run = lambda *given, **named: calls.append(given) or run(*given, **named)
    assert {s.state for s in pool_poll(backend, ids).values()} == {State.QUEUED}
    backend.cancel(ids)
    assert len(calls) <= 3, "a question, condor_rm, and what is left of secrets"
    assert {s.state for s in until(backend, ids, lambda s: s.state.terminal).values()} == {State.CANCELLED}


def pool_poll(backend, ids):
    backend._asked = float("-inf")
    return backend.poll(ids)


def test_who_has_no_token_is_told_so_before_anything_is_submitted(pool):
    backend = pool.backend()
    pool.on("submit", "mv", ".condor/tokens.d/pool", ".condor/pool")
    try:
        with pytest.raises((SubmitError, Unavailable), match="condor_token_fetch"):
            backend.submit(Job("nobody", ("true",)))
        (finding,) = backend.probe()
        assert not finding.ok
        assert "condor_token_fetch" in finding.detail
    finally:
        pool.on("submit", "mv", ".condor/pool", ".condor/tokens.d/pool")


def test_what_condor_submit_refuses_is_refused_with_its_words(pool):
    with pytest.raises(SubmitError, match=r"condor_submit refused job 'odd': .*[Rr]equirements") as refused:
        pool.backend(requirements="Machine ==").submit(Job("odd", ("true",)))
    assert not refused.value.transient


def test_where_the_access_point_keeps_no_history_a_job_that_left_the_queue_has_ended(pool):
    backend = pool.backend(requirements='Machine == "nowhere"')
    job_id = backend.submit(Job("gone", ("true",), memory_bytes=100 << 20))
    with pool.configured(HISTORY=""):
        backend.cancel([job_id])
        answer = backend.ask_about([job_id])
        assert (answer.accounting, answer.silent, answer.instead, answer.gone) == (False, False, "", {job_id})


def test_a_job_that_no_machine_matches_says_what_none_of_them_has(pool):
    backend = pool.backend()
    job_id = backend.submit(Job("large", ("true",), memory_bytes=99 << 30))
    seen = until(backend, [job_id], lambda s: "`workers.memory`" in s.reason, 90)[job_id]
    assert seen.state is State.QUEUED
    assert seen.reason == f"job {job_id} waits: none of 2 machines has so much memory free; lower `workers.memory`"
    backend.cancel([job_id])
