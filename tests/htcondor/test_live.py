"""Live runs on a pool that shares nothing: same bytes, whatever becomes of jobs and machines."""

from __future__ import annotations

import random
import time

import pytest

from tests.slurm.runs import ANALYSIS, FILES, finish, run, started

pytestmark = [pytest.mark.htcondor, pytest.mark.timeout(900)]

SPOOL = "/home/alice/.local/state/vrecompute/htcondor"


def live(pool, store, **settings):
    """A live run that goes on, once its first parts are there."""
    process, _ = started(pool, "submit", "run", "lab-htcondor", ANALYSIS, f"/home/alice/{store}", **settings)
    wait_for_parts(pool, store, 2)
    return process


def wait_for_parts(pool, store, least):
    wait = (
        'for n in $(seq 600); do [ "$(find "$0" -path "*parts*" -type f ! -name ".*" 2> /dev/null | wc -l)" -ge "$1" ]'
    )
    pool.on("submit", "sh", "-c", wait + " && exit 0; sleep 0.3; done; exit 1", f"/home/alice/{store}", str(least))


def test_machines_share_no_path_and_a_run_is_the_same_there(pool, reference):
    process = live(pool, "store-plain", sleep_s=1)
    seen = {m: pool.on(m, "cat", "/proc/mounts") for m in ("submit", "e1", "e2")}
    shared = {
        m: [line for line in said.splitlines() if " /keys " in line or " /home" in line] for m, said in seen.items()
    }
    assert (len(shared["submit"]), shared["e1"], shared["e2"]) == (1, [], [])
    for machine in ("e1", "e2"):
        assert pool.on(machine, "sh", "-c", "ls -d /home/alice/* /keys 2> /dev/null; true") == ""
    facts = finish(process)
    assert (facts["status"], facts["sha"], facts["computed"]) == ("complete", reference, FILES)
    assert pool.on("submit", "sh", "-c", f"ls {SPOOL} | grep -E '^secrets|[.]sh$|[.]pem$'; true") == ""
    left = "find /tmp /var/lib/condor/execute -name '*.pem' 2> /dev/null; true"
    assert [pool.on(machine, "sh", "-c", left) for machine in ("e1", "e2")] == ["", ""]


def test_a_cluster_that_the_user_made_with_dask_jobqueue_does_as_well(pool, reference):
    facts = run(pool, "submit", "run", "jobqueue", ANALYSIS, "/home/alice/store-jobqueue", sleep_s=0)
    assert (facts["status"], facts["sha"]) == ("complete", reference)


def test_evicted_removed_and_held_jobs_and_a_restarted_schedd_cost_no_byte_and_no_failure(pool, reference):
    process = live(pool, "store-disturbed", sleep_s=2)
    pool.on("submit", "condor_vacate_job", pool.running()[0])
    wait_for_parts(pool, "store-disturbed", 5)
    pool.on("submit", "condor_rm", pool.running()[0])
    wait_for_parts(pool, "store-disturbed", 8)
    pool.on("submit", "condor_hold", pool.running()[0])
    pool.on("root@submit", "condor_restart", "-schedd")
    facts = finish(process)
    assert (facts["status"], facts["sha"], facts["failures"]) == ("complete", reference, [])


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", [1, 2])
def test_twenty_random_disturbances_cost_no_byte_and_no_failure(pool, reference, seed):
    """Jobs are vacated and removed; worker processes, shadows and, once, the schedd are killed."""
    choices = random.Random(seed)
    process = live(pool, f"store-random-{seed}", sleep_s=6)
    for number in range(20):
        job = choices.choice(pool.running() or ["0.0"])
        disturb = {
            "condor_vacate_job": ("submit", "condor_vacate_job", job),
            "condor_rm": ("submit", "condor_rm", job),
            "worker": (choices.choice(["e1", "e2"]), "pkill", "-9", "-n", "-f", "spawn_main"),
            "shadow": ("root@submit", "pkill", "-9", "-n", "condor_shadow"),
            "schedd": ("root@submit", "pkill", "-9", "condor_schedd"),
        }
        machine, *command = disturb["schedd" if number == 10 else choices.choice(sorted(set(disturb) - {"schedd"}))]
        pool.on(machine, *command, check=False)
        time.sleep(choices.uniform(0, 4))
    facts = finish(process)
    assert (facts["status"], facts["sha"], facts["failures"]) == ("complete", reference, [])


def test_a_machine_that_goes_away_takes_no_result_along(pool, reference):
    process = live(pool, "store-machine", sleep_s=3)
    try:
        pool.power("kill", "e2")
        facts = finish(process)
    finally:
        pool.power("start", "e2")
    assert (facts["status"], facts["sha"], facts["failures"]) == ("complete", reference, [])


def test_a_chunk_that_never_fits_into_memory_is_named_and_the_rest_is_there(pool, reference):
    settings = {"sleep_s": 0, "greedy_source": "events_0003", "on_bad": "skip", "greedy_how": "child", "deaths": 1}
    facts = run(pool, "submit", "run", "lab-htcondor", ANALYSIS, "/home/alice/store-greedy", **settings)
    assert facts["status"] == "partial"
    (failure,) = facts["failures"]
    assert "events_0003" in failure
    assert "memory" in failure, failure
