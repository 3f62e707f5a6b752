"""Walltimes shorter than the work: no chunk is begun that would not end, and nobody has to wait for a run."""

from __future__ import annotations

import time

import pytest

from tests.slurm.runs import ANALYSIS, FILES, run, started

# minutes each: the TIMEOUT of a job, the requeue of a run and the end of a worker's time have short tests elsewhere
pytestmark = [pytest.mark.slurm, pytest.mark.acceptance, pytest.mark.timeout(1800)]

WORKERS = 2  # of each job
# Slurm counts minutes, and on a busy machine workers take most of one to start. 24 chunks of 18 s on four workers
# are more than one such job, which keeps a fifth of its time free, has room for.
WALLTIME_S = 120


def now(lab) -> str:
    return lab.on("login", "date", "+%FT%T").strip()


def jobs_since(lab, began: str) -> list[list[str]]:
    """(name, state) of each attempt of each job since then, as accounting has it."""
    told = lab.on("login", "sacct", "-X", "-D", "-n", "-P", "-S", began, "-o", "JobName,State")
    return [line.split("|") for line in told.splitlines() if line.startswith("vre-")]


def diary(lab, path: str) -> list[str]:
    return lab.on("login", "cat", path).splitlines()


def test_a_live_run_outlives_the_walltime_of_its_jobs(lab, reference):
    store, began = "/home/alice/store-walltime", now(lab)
    settings = {"sleep_s": 18, "site.walltime": WALLTIME_S, "diary": f"{store}.diary"}
    lab.on("login", "rm", "-rf", store, f"{store}.diary")
    facts = run(lab, "login", "run", "lab-slurm", ANALYSIS, store, **settings)
    assert (facts["status"], facts["sha"], facts["computed"]) == ("complete", reference, FILES)
    begun = diary(lab, f"{store}.diary")
    assert len(begun) == len(set(begun)) == FILES, "no chunk was begun twice"
    jobs = jobs_since(lab, began)
    assert len(jobs) > 2, "jobs were replaced"
    answers = lab.on("login", "grep", "-rl", '"event":"no-time"', f"{store}/runs").split()
    assert len(answers) <= 3 * WORKERS * len(jobs), "each worker says so a few times, and leaves"
    states = {state for _, state in jobs}
    assert "COMPLETED" in states, "workers left, and their jobs ended by themselves"
    assert not any(state.startswith(("TIMEOUT", "FAILED")) for state in states), jobs


def test_a_detached_run_longer_than_its_walltime_completes_with_the_client_away(lab, reference):
    store, began = "/home/alice/store-walltime-detached", now(lab)
    settings = {"sleep_s": 18, "site.walltime": WALLTIME_S, "diary": f"{store}.diary"}
    lab.on("login", "rm", "-rf", store, f"{store}.diary")
    process, facts = started(lab, "client", "submit", "lab-slurm-ssh", ANALYSIS, store, **settings)
    lab.on("client", "kill", "-9", str(facts["pid"]))
    process.communicate(timeout=120)
    deadline = time.monotonic() + 1200
    while lab.on("login", "squeue", "-h", "-u", "alice").strip():
        assert time.monotonic() < deadline, lab.on("login", "squeue")
        time.sleep(1)
    found = run(lab, "client", "attach", "lab-slurm-ssh", facts["run"], store)
    assert (found["status"], found["sha"]) == ("complete", reference)
    assert found["computed"] + found["reused"] == FILES
    assert found["reused"] > 0
    begun = diary(lab, f"{store}.diary")
    assert len(begun) == len(set(begun)) == FILES, "no chunk was begun twice"
    assert lab.on("login", "ls", f"{store}/runs/{facts['run']}/jobs").split() == ["0000.json"], "submitted once"
    states = [state for name, state in jobs_since(lab, began) if facts["run"] in name]
    assert len(states) >= 2, states
    assert states[-1] == "COMPLETED"
    assert set(states[:-1]) == {"REQUEUED"}


def test_where_no_job_may_be_requeued_the_run_is_interrupted_and_can_be_resumed(lab, reference):
    store = "/home/alice/store-walltime-refused"
    settings = {"sleep_s": 18, "site.walltime": WALLTIME_S, "site.directive": "--no-requeue"}
    process, facts = started(lab, "login", "submit", "lab-slurm", ANALYSIS, store, **settings)
    output, _ = process.communicate(timeout=1000)
    assert f"run {facts['run']} was interrupted: FAILED: job" in output
    assert "its site does not let jobs requeue themselves" in output
    assert "resume()" in output
    found = run(lab, "login", "resume", "lab-slurm", facts["run"], store)
    assert found["before"] == "interrupted"
    assert (found["status"], found["sha"]) == ("complete", reference)
    assert found["reused"] > 0


def test_a_chunk_longer_than_the_walltime_of_a_live_run_is_named_with_timeout(lab, data):
    settings = {"sleep_s": 0, "slow_source": "events_0005", "slow_s": 600, "on_bad": "skip", "deaths": 1}
    settings |= {"site.walltime": WALLTIME_S, "patience_s": 1000}
    facts = run(lab, "login", "run", "lab-slurm", ANALYSIS, "/home/alice/store-too-long", **settings)
    assert (facts["status"], facts["computed"]) == ("partial", FILES - 1)
    (failure,) = facts["failures"]
    assert "events_0005" in failure
    assert "TIMEOUT: job " in failure
    assert "on c" in failure
    assert "reached its walltime of 00:02:00" in failure
    assert "longer walltime" in failure


def test_a_chunk_longer_than_the_walltime_of_a_detached_run_is_named_and_ends_it(lab, data):
    settings = {"sleep_s": 0, "slow_source": "events_0005", "slow_s": 600, "site.walltime": WALLTIME_S}
    facts = run(lab, "login", "submit", "lab-slurm", ANALYSIS, "/home/alice/store-too-long-detached", **settings)
    assert facts["status"] == "failed"
    (failure,) = facts["failures"]
    assert "events_0005" in failure
    assert "TIMEOUT: the walltime of 2 min 00 s" in failure
    assert "longer walltime" in failure
    assert facts["reused"] == FILES - 1, "what fits was computed before"
