"""A detached run of many jobs on a pool that shares nothing: one submission, and whatever takes some of its jobs."""

from __future__ import annotations

import pytest

from tests.patience import comes_true
from tests.slurm.runs import ANALYSIS, FILES, run, started

pytestmark = [pytest.mark.htcondor, pytest.mark.timeout(900)]

SHARES = 6


def test_they_are_one_submission_give_the_same_bytes_and_leave_nothing(pool, reference):
    store = "/home/alice/store-shares"
    facts = run(pool, "submit", "submit", "lab-htcondor", ANALYSIS, store, sleep_s=0, workers=0, shares=SHARES)
    assert (facts["status"], facts["sha"], facts["computed"]) == ("complete", reference, FILES), facts
    jobs = pool.on("submit", "condor_history", "-limit", str(SHARES), "-af", "ClusterId", "TotalSubmitProcs").split()
    assert (len(set(jobs[::2])), set(jobs[1::2])) == (1, {str(SHARES)}), "one cluster"
    left = "ls ~/.local/state/vrecompute/htcondor | grep -E '^(carried|secrets)|[.]sh$'; true"
    assert pool.on("submit", "sh", "-c", left) == ""


def test_jobs_that_are_removed_or_vacated_cost_what_was_in_flight_and_another_client_ends_the_run(
    pool,
    reference,
):
    store = "/home/alice/store-shares-disturbed"
    process, said = started(
        pool, "submit", "submit", "lab-htcondor", ANALYSIS, store, sleep_s=2, workers=0, shares=SHARES
    )
    pool.on("submit", "kill", "-9", str(said["pid"]))
    process.wait(30)
    assert comes_true(lambda: len(pool.running()) >= 2, 120)
    removed, vacated = pool.running()[:2]
    pool.on("submit", "condor_rm", removed)
    pool.on("submit", "condor_vacate_job", vacated)
    facts = run(pool, "submit", "attach", "lab-htcondor", said["run"], store)
    assert (facts["status"], facts["sha"]) == ("complete", reference), facts
    assert facts["computed"] + facts["reused"] == FILES
    clusters = set(pool.on("submit", "condor_history", "-limit", str(SHARES + 1), "-af", "ClusterId").split())
    assert len(clusters) == 2, "what lacks was submitted once more"


@pytest.mark.acceptance
def test_a_share_over_its_memory_gets_more_and_the_chunk_that_takes_all_is_named(pool, reference):
    store, memory = "/home/alice/store-shares-greedy", {"site.memory": 700 << 20, "site.max_memory": 1400 << 20}
    greedy = {"greedy_source": "events_0005", "on_bad": "skip", "sleep_s": 0, "workers": 0, "shares": SHARES}
    facts = run(pool, "submit", "submit", "lab-htcondor", ANALYSIS, store, **greedy, **memory)
    assert facts["status"] == "partial", facts
    assert "events_0005" in facts["failures"][0]
    assert "memory: the job of its share ended at it, 4 times" in facts["failures"][0]
    asked = pool.on("submit", "condor_history", "-limit", str(SHARES + 3), "-af", "RequestMemory").split()
    assert set(asked) == {"700", "1400"}, asked
    assert all("given up at another chunk" in failure for failure in facts["failures"][1:])
