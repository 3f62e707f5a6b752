"""Why a live run has no worker, in a sentence; and when that ends the run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from vrecompute.batch.contract import JobStatus, State, SubmitError
from vrecompute.batch.standstill import Standstill
from vrecompute.errors import Unavailable

LOG = "Loading Python\nulimit: 20: no more files\n"
REFUSED = SubmitError("sbatch refused job 'w': partition is inactive", mend="options.partition")


@pytest.fixture
def standstill():
    return Standstill(SimpleNamespace(logs=lambda job_id: LOG, site=SimpleNamespace(name="here")))


def test_a_job_that_runs_and_brings_no_worker_is_named_with_the_end_of_its_log(standstill):
    runs = {"w_0": JobStatus(State.RUNNING, node="c1", elapsed_s=130.0)}
    said = standstill.why({"w_0": "330"}, runs, set())
    assert said == (
        "job 330 runs on c1 for 2 min 10 s, and no worker of it has connected. "
        "Its log ends: Loading Python | ulimit: 20: no more files"
    )
    assert standstill.why({"w_0": "330"}, runs, {"w_0"}) == "", "its worker was there"
    soon = {"w_0": JobStatus(State.RUNNING, node="c1", elapsed_s=10.0)}
    assert standstill.why({"w_0": "330"}, soon, set()) == ""


def test_a_job_that_waits_speaks_before_one_that_runs_in_vain_and_before_a_refusal(standstill, caplog):
    standstill.refused(REFUSED, 1, 0.0)
    jobs = {
        "w_0": JobStatus(State.RUNNING, node="c1", elapsed_s=130.0),
        "w_1": JobStatus(State.QUEUED, reason="job 331 waits: others are before it"),
    }
    assert standstill.why({"w_0": "330", "w_1": "331"}, jobs, set()) == "job 331 waits: others are before it"
    assert standstill.why({}, {}, set()) == f"{REFUSED}; it is tried again"
    standstill.refused(SubmitError(str(REFUSED).replace("'w'", "'x'")), 1, 2.0)
    assert caplog.text.count("goes on with 1 jobs") == 1, "the name of a submission is no news"
    standstill.taken()
    assert standstill.why({}, {}, set()) == ""


def test_a_lasting_refusal_ends_a_run_without_jobs_and_workers_after_a_while_and_a_passing_one_does_not(standstill):
    standstill.refused(REFUSED, 0, 0.0)
    assert standstill.hopeless([], False, 299.0) is None
    assert standstill.hopeless([], True, 301.0) is None, "workers are there"
    assert standstill.hopeless([JobStatus(State.RUNNING)], False, 301.0) is None, "a job is there"
    ended = standstill.hopeless([], False, 301.0)
    assert isinstance(ended, SubmitError)
    assert (ended.exit_code, ended.mend) == (2, "options.partition")
    assert str(ended) == f"{REFUSED}; asked again for 5 min 01 s"
    for passing in (SubmitError("busy", transient=True), SubmitError("many", too_many=True), Unavailable("away")):
        standstill.refused(passing, 0, 302.0)
        assert standstill.hopeless([], False, 10_000.0) is None
