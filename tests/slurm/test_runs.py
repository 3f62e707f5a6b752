"""Whole runs on the lab: the same bytes wherever they ran, and whoever was killed on the way."""

from __future__ import annotations

import time

import pytest

from tests.patience import comes_true
from tests.slurm.runs import ANALYSIS, FILES, parts, run, started, wait_for_parts

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def alone(running_lab, data):
    """What the analysis gives on one machine, undisturbed."""
    return run(running_lab, "login", "run", "here", "dilepton", "/home/alice/store-dilepton")


@pytest.mark.parametrize(
    ("machine", "site", "how"),
    [
        ("login", "lab-slurm", "run"),
        ("client", "lab-slurm-ssh", "submit"),
        pytest.param("login", "lab-slurm", "submit", marks=pytest.mark.acceptance),
        pytest.param("client", "lab-slurm-ssh", "run", marks=pytest.mark.acceptance),
    ],
)
def test_live_and_detached_here_and_by_ssh_give_the_same_bytes(lab, alone, machine, site, how):
    there = run(lab, machine, how, site, "dilepton", f"/home/alice/store-{machine}-{how}")
    assert (alone["status"], there["status"]) == ("complete", "complete")
    assert there["sha"] == alone["sha"]
    assert (there["computed"], there["reused"]) == (FILES, 0)


def test_a_cluster_of_dask_jobqueue_gives_the_same_bytes_and_ends_as_its_owner_has_it(lab, reference):
    there = run(lab, "login", "run", "jobqueue", ANALYSIS, "/home/alice/store-jobqueue")
    assert (there["status"], there["sha"], there["computed"]) == ("complete", reference, FILES)
    assert comes_true(lambda: "dask-worker" not in lab.on("login", "squeue", "--me", "--noheader", "--format=%j"))
    for node in ("c1", "c2"):  # Dask's own workers leave their semaphores when their job is cancelled
        lab.on(node, "find", "/dev/shm", "-user", "alice", "-name", "sem.mp-*", "-delete")


def test_a_client_killed_after_a_detached_submit_is_not_missed(lab, reference):
    store = "store-killed-detached"
    process, facts = started(lab, "client", "submit", "lab-slurm-ssh", ANALYSIS, f"/home/alice/{store}", sleep_s=0.3)
    lab.on("client", "kill", "-9", str(facts["pid"]))
    process.communicate(timeout=120)
    found = run(lab, "client", "attach", "lab-slurm-ssh", facts["run"], f"/home/alice/{store}")
    assert (found["status"], found["sha"], found["computed"]) == ("complete", reference, FILES)


def test_a_live_run_whose_client_is_killed_is_finished_by_another(lab, reference):
    store = "store-killed-live"
    process, facts = started(lab, "login", "run", "lab-slurm", ANALYSIS, f"/home/alice/{store}", sleep_s=1)
    wait_for_parts(lab, store, 3)
    lab.on("login", "kill", "-9", str(facts["pid"]))
    process.communicate(timeout=120)
    durable = parts(lab, store)
    again = run(lab, "login", "run", "lab-slurm", ANALYSIS, f"/home/alice/{store}", sleep_s=1)
    assert (again["status"], again["sha"]) == ("complete", reference)
    assert again["reused"] >= 3
    assert again["computed"] <= FILES - durable + 4, "at most what was in flight is computed twice"


@pytest.mark.parametrize("how", [pytest.param("run", marks=pytest.mark.acceptance), "submit"])
def test_a_whole_run_while_slurmdbd_is_away_gives_the_same_bytes(lab, reference, outage_s, how):
    store = f"/home/alice/store-silent-{how}"
    pause_s = 20 if outage_s >= 120 else 0.5  # 24 chunks on 4 workers: as long as the outage
    begun = time.monotonic()
    with lab.away("slurmdbd"):
        facts = run(lab, "login", how, "lab-slurm", ANALYSIS, store, sleep_s=pause_s)
    assert (facts["status"], facts["sha"], facts["computed"]) == ("complete", reference, FILES)
    assert outage_s < 120 or time.monotonic() - begun >= 120


@pytest.mark.parametrize("how", ["run", pytest.param("submit", marks=pytest.mark.acceptance)])
def test_an_error_of_the_user_s_code_fails_fast_with_the_user_s_own_traceback(lab, data, how):
    settings = {"sleep_s": 0, "divisor": 0}
    facts = run(lab, "login", how, "lab-slurm", ANALYSIS, f"/home/alice/store-broken-{how}", **settings)
    assert facts["status"] == "failed"
    assert facts["work_s"] < 15, "one worker's word is enough: nothing is tried again"
    (failure,) = facts["failures"]
    assert ": ZeroDivisionError: float division by zero" in failure
    assert 'float(pt.sum()) / self["divisor"]' in facts["message"], "the user's line"
    assert "in process" in facts["message"]
    assert "KilledWorker" not in facts["message"]


@pytest.mark.parametrize("scheduler_runs", ["login", pytest.param("allocation", marks=pytest.mark.acceptance)])
def test_a_live_run_that_may_wait_for_ever_says_for_what(lab, data, scheduler_runs):
    settings = {"site.partition": "closed", "site.scheduler_runs": scheduler_runs}
    store = f"/home/alice/store-waits-{scheduler_runs}"
    process, facts = started(lab, "login", "run", "lab-slurm", ANALYSIS, store, **settings)
    deadline = time.monotonic() + 180
    try:
        while "options.partition" not in (line := process.stdout.readline()):
            assert line, "it ended"
            assert time.monotonic() < deadline
    finally:
        lab.on("login", "kill", "-9", str(facts["pid"]), check=False)
        process.communicate(timeout=120)
    assert "no worker job runs yet: job" in line or "the Dask scheduler has not started yet: job" in line
