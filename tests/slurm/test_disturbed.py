"""What Slurm does to runs: workers, jobs and nodes die, and the bytes are the same; and what each death is called."""

from __future__ import annotations

import time

import pytest

from tests.slurm.runs import ANALYSIS, finish, run, started, wait_for_parts
from vrecompute.batch.contract import Job, State
from vrecompute.testing import BackendContract

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1200)]

until = BackendContract().until


def jobs_of(lab) -> list[str]:
    return lab.on("login", "squeue", "-h", "-t", "R", "-o", "%i").split()


def test_a_live_run_survives_the_death_of_a_worker_a_job_and_a_node_which_is_told(lab, reference):
    store = "store-disturbed"
    process, _ = started(lab, "login", "run", "lab-slurm", ANALYSIS, f"/home/alice/{store}", sleep_s=3)
    backend = lab.backend(directives={"add": ["--nodelist=c2"]})
    other = backend.submit(Job("a", ("sleep", "300"), memory_bytes=50 << 20, walltime_s=600))
    wait_for_parts(lab, store, 2)
    deadline = time.monotonic() + 60  # the other node's may have been quicker
    while not (pids := lab.on("c1", "pgrep", "-f", "multiprocessing.spawn import spawn_main", check=False).split()):
        assert time.monotonic() < deadline, "no worker process on c1"
        time.sleep(0.2)
    lab.on("c1", "kill", "-9", pids[0])
    wait_for_parts(lab, store, 4)
    lab.on("login", "scancel", next(job for job in jobs_of(lab) if job != other))
    wait_for_parts(lab, store, 8)
    until(backend, [other], lambda s: s.state is State.RUNNING, 240)
    lab.power("kill", "c2")
    facts = finish(process)
    assert (facts["status"], facts["sha"]) == ("complete", reference)
    status = until(backend, [other], lambda s: s.state.terminal, 240)[other]
    assert (status.state, status.blame) == (State.NODE_FAIL, "infrastructure")
    assert status.reason.startswith(f"NODE_FAIL: job {other} on c2")


@pytest.mark.parametrize(
    ("machine", "site"),
    [pytest.param("login", "lab-slurm", marks=pytest.mark.acceptance), ("client", "lab-slurm-ssh")],
)
def test_a_live_run_survives_the_death_of_the_job_that_holds_its_scheduler(lab, reference, machine, site):
    store = f"store-scheduler-{machine}"
    settings = {"sleep_s": 2, "site.scheduler_runs": "allocation"}
    process, _ = started(lab, machine, "run", site, ANALYSIS, f"/home/alice/{store}", **settings)
    wait_for_parts(lab, store, 3)
    jobs = lab.on("login", "squeue", "-h", "-t", "R", "-o", "%i %j").splitlines()
    (held,) = (line.split()[0] for line in jobs if "vre-scheduler" in line)
    lab.on("login", "scancel", held)
    facts = finish(process)
    assert (facts["status"], facts["sha"]) == ("complete", reference)
    assert facts["reused"] >= 3, "the second cluster went on from what the first had finished"


def test_a_live_run_survives_the_death_of_a_scheduler_on_the_login_node(lab, reference):
    store = "store-scheduler-login-node"
    process, _ = started(lab, "client", "run", "lab-slurm-ssh", ANALYSIS, f"/home/alice/{store}", sleep_s=2)
    wait_for_parts(lab, store, 3)
    (pid,) = lab.on("login", "pgrep", "-f", "^python -P -m vrecompute.batch.scheduler").split()
    lab.on("login", "kill", "-9", pid)
    facts = finish(process)
    assert (facts["status"], facts["sha"]) == ("complete", reference)
    assert facts["reused"] >= 3


def test_where_nodes_are_charged_whole_workers_share_the_schedulers(lab, reference):
    settings = {"sleep_s": 0.2, "site.scheduler_runs": "allocation", "site.whole_node": "yes"}
    facts = run(lab, "login", "run", "lab-slurm", ANALYSIS, "/home/alice/store-whole", **settings)
    assert (facts["status"], facts["sha"]) == ("complete", reference)
    jobs = lab.on("login", "sacct", "-X", "-n", "-P", "-S", "now-2minutes", "-o", "JobName,NNodes,AllocCPUS")
    held = [line.split("|")[1:] for line in jobs.splitlines() if line.startswith("vre-scheduler")]
    assert held[-1] == ["1", "4"]


def test_a_detached_run_survives_a_requeue(lab, reference):
    store = "store-requeue"
    process, _ = started(lab, "login", "submit", "lab-slurm", ANALYSIS, f"/home/alice/{store}", sleep_s=2)
    wait_for_parts(lab, store, 3)
    lab.on("login", "scontrol", "requeue", jobs_of(lab)[0])
    facts = finish(process)
    assert (facts["status"], facts["sha"]) == ("complete", reference)
    assert facts["reused"] >= 3


@pytest.mark.acceptance  # a command out of time does the same to itself, in the conformance suite
def test_a_requeued_job_is_a_new_attempt_of_the_same_id(lab):
    backend = lab.backend()
    count = 'echo x >> "$1"; echo counted; [ "$(wc -l < "$1")" -ge 2 ] || sleep 300'
    job_id = backend.submit(Job("a", ("sh", "-c", count, "sh", f"tries-{time.time()}"), requeue=True))
    # Running is not enough: the first attempt must have counted itself before it is taken away.
    until(backend, [job_id], lambda s: s.state is State.RUNNING and "counted" in backend.logs(job_id), 240)
    lab.on("login", "scontrol", "requeue", job_id)
    status = until(backend, [job_id], lambda s: s.state.terminal, 240)[job_id]
    assert (status.state, status.attempt) == (State.COMPLETED, 1)


@pytest.mark.parametrize(
    ("requeue", "state"), [(False, State.PREEMPTED), pytest.param(True, State.QUEUED, marks=pytest.mark.acceptance)]
)
def test_a_preempted_job_is_not_a_failed_one(lab, requeue, state):
    scavenger = lab.backend(partition="scavenge")
    job = Job("low", ("sleep", "300"), cores=4, memory_bytes=3 << 30, walltime_s=600, requeue=requeue)
    ids = [scavenger.submit(job), scavenger.submit(job)]
    until(scavenger, ids, lambda s: s.state is State.RUNNING, 240)
    backend = lab.backend()
    high = backend.submit(Job("high", ("sleep", "5"), cores=4, memory_bytes=3 << 30, walltime_s=60))
    until(backend, [high], lambda s: s.state in {State.RUNNING, State.COMPLETED}, 240)
    deadline = time.monotonic() + 180
    while not (hit := [s for s in scavenger.poll(ids).values() if s.state is state or s.attempt > 0]):
        assert time.monotonic() < deadline, scavenger.poll(ids)
        time.sleep(0.5)
    assert hit[0].blame == ("none" if requeue else "infrastructure")
    scavenger.cancel(ids)
