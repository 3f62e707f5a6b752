"""Detached runs on a pool that shares nothing: what they need goes with the job, and what they made comes back."""

from __future__ import annotations

import pytest

from tests.patience import comes_true
from tests.slurm.runs import ANALYSIS, FILES, run, started

pytestmark = [pytest.mark.htcondor, pytest.mark.timeout(900)]

PLACE = ["--site", "lab-htcondor"]


def shown(pool, name, store):
    command = ["python", "-m", "vrecompute", "runs", "show", name, *PLACE, "--store", store, "--json"]
    return pool.on("submit", *command, check=False)


def test_a_detached_run_gives_the_same_bytes_to_who_attaches_and_leaves_nothing(pool, reference):
    store = "/home/alice/store-detached"
    facts = run(pool, "submit", "submit", "lab-htcondor", ANALYSIS, store, sleep_s=0, workers=0)
    assert (facts["status"], facts["sha"], facts["computed"]) == ("complete", reference, FILES), facts
    again = run(pool, "submit", "submit", "lab-htcondor", ANALYSIS, store, sleep_s=0, workers=0)
    assert (again["status"], again["sha"], again["reused"]) == ("complete", reference, FILES), "its parts went along"
    assert "'complete'" in str(shown(pool, facts["run"], store)) or '"complete"' in shown(pool, facts["run"], store)
    left = "ls ~/.local/state/vrecompute/htcondor | grep -E '^(carried|secrets)|[.]sh$'; true"
    assert pool.on("submit", "sh", "-c", left) == ""


def test_its_client_may_die_and_what_was_done_before_an_eviction_is_not_done_again(pool, reference):
    store = "/home/alice/store-evicted"
    process, said = started(pool, "submit", "submit", "lab-htcondor", ANALYSIS, store, sleep_s=1, workers=0)
    process.kill()
    pool.on("submit", "kill", "-9", str(said["pid"]))
    process.wait(30)
    parts = "find /var/lib/condor/execute -path '*/parts/*' -type f ! -name '.*' | wc -l"
    assert comes_true(lambda: any(int(pool.on(m, "sh", "-c", parts)) > 3 for m in ("e1", "e2")), 120)
    pool.on("submit", "condor_vacate_job", pool.running()[0])
    facts = run(pool, "submit", "attach", "lab-htcondor", said["run"], store)
    assert (facts["status"], facts["sha"]) == ("complete", reference), facts
    assert facts["reused"] > 3, "they came back and went along again"
