"""Jobs of an access point that shares no path with the machine that submits them: files go there and come back."""

from __future__ import annotations

import json

import pytest

from tests.patience import comes_true
from tests.slurm.runs import ANALYSIS, FILES, run, started

pytestmark = [pytest.mark.htcondor, pytest.mark.timeout(900)]

SITE, STORE = "lab-remote", "/home/alice/store-remote"
LEFT = "ls ~/.local/state/vrecompute/htcondor-submit.pool | grep -E '^(carried|secrets)|[.]sh$'; true"
SPOOLED = "find /var/spool/condor -name 'cluster*' -type d"


@pytest.fixture(autouse=True)
def _no_store(pool, data):
    pool.on("desk", "sh", "-c", f"rm -rf {STORE}*")


def shown(pool, name, store=STORE):
    command = ["python", "-m", "vrecompute", "runs", "show", name, "--site", SITE, "--store", store, "--json"]
    return json.loads(pool.on("desk", *command, check=False))


def test_the_machines_share_no_path(pool):
    mounts = {m: pool.on(m, "cat", "/proc/mounts").splitlines() for m in ("submit", "desk")}
    volumes = {m: [line for line in said if " /keys " in line or " /home" in line] for m, said in mounts.items()}
    assert (len(volumes["submit"]), volumes["desk"]) == (1, [])
    assert pool.on("desk", "sh", "-c", "command -v pgrep > /dev/null && pgrep condor_; true") == "", "nor a daemon"


@pytest.mark.parametrize("shares", [0, 6])
def test_a_detached_run_gives_the_same_bytes_and_leaves_nothing_on_either(pool, reference, shares):
    settings = {"sleep_s": 0, "workers": 0, **({"shares": shares} if shares else {})}
    facts = run(pool, "desk", "submit", SITE, ANALYSIS, STORE, **settings)
    assert (facts["status"], facts["sha"], facts["computed"]) == ("complete", reference, FILES), facts
    assert shown(pool, facts["run"])["state"] == "complete"
    assert pool.on("desk", "sh", "-c", LEFT) == ""
    assert comes_true(lambda: pool.queue() == [] and pool.on("root@submit", "sh", "-c", SPOOLED) == "", 60)


def test_another_client_attaches_and_the_job_s_log_comes_back(pool, reference):
    process, said = started(pool, "desk", "submit", SITE, ANALYSIS, STORE, sleep_s=1, workers=0)
    process.kill()
    pool.on("desk", "kill", "-9", str(said["pid"]))
    process.wait(30)
    facts = run(pool, "desk", "attach", SITE, said["run"], STORE)
    assert (facts["status"], facts["sha"], facts["computed"]) == ("complete", reference, FILES), facts
    logs = ["python", "-m", "vrecompute", "runs", "logs", said["run"], "--site", SITE, "--store", STORE]
    assert "complete: " in pool.on("desk", *logs)


def test_a_run_is_cancelled_from_afar(pool):
    _, said = started(pool, "desk", "submit", SITE, ANALYSIS, STORE, sleep_s=30, workers=0, shares=3)
    assert comes_true(lambda: pool.running(), 120)
    assert shown(pool, said["run"])["state"] in {"running", "queued"}
    pool.on("desk", "python", "-m", "vrecompute", "runs", "cancel", said["run"], "--site", SITE, "--store", STORE)
    assert shown(pool, said["run"])["state"] == "cancelled"
    assert comes_true(lambda: pool.queue() == [] and pool.on("root@submit", "sh", "-c", SPOOLED) == "", 60)
    assert pool.on("desk", "sh", "-c", LEFT) == ""


def test_a_live_run_has_its_workers_from_there(pool, reference):
    facts = run(pool, "desk", "run", SITE, ANALYSIS, STORE, sleep_s=0, workers=2)
    assert (facts["status"], facts["sha"], facts["computed"]) == ("complete", reference, FILES), facts
    assert comes_true(lambda: pool.queue() == [], 60)
    assert pool.on("desk", "sh", "-c", LEFT) == ""


def test_who_has_no_token_there_is_told_so_before_anything_is_submitted(pool):
    pool.on("desk", "mv", ".condor/tokens.d/pool", ".condor/pool")
    try:
        command = ["python", "-m", "vrecompute", "site", "check", SITE, "--probe"]
        assert "condor_token_fetch" in pool.on("desk", *command, check=False)
    finally:
        pool.on("desk", "mv", ".condor/pool", ".condor/tokens.d/pool")
    assert pool.queue() == []


def test_a_schedd_that_the_pool_does_not_have_is_named(pool):
    site = "schema: 1\nname: elsewhere\nbackend: htcondor\nextends: lab-remote\noptions: {schedd: nowhere.pool}\n"
    pool.on("desk", "sh", "-c", "cat > elsewhere.yaml", stdin=site)
    command = ["python", "-m", "vrecompute", "site", "check", "/home/alice/elsewhere.yaml", "--probe"]
    assert "nowhere.pool" in pool.on("desk", *command, check=False)
