"""What is left of runs that somebody ended: no job, no key, and a state that says so at once."""

from __future__ import annotations

import json
import time

import pytest

from tests.patience import comes_true

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

SPOOL = ".local/state/vrecompute/slurm"
PENDING = "schema: 1\nname: pending\nextends: lab-slurm\noptions: {directives: {add: [--begin=now+1hour]}}\n"
SLEEPY = """
import time
from vrecompute import Analysis, Result

class Sleepy(Analysis):
    name = "sleepy"
    def columns(self, source):
        return ["Muon_pt"]
    def process(self, events):
        time.sleep(5)
        return Result(counters={"events": float(len(events))})
"""


@pytest.fixture
def made(lab):
    """The lab with data, an analysis that takes its time, and a site whose jobs wait for ever."""
    generate = ["generate", "/home/alice/left", "--events", "4000", "--files", "8", "--seed", "1"]
    lab.on("login", "python", "-m", "vrecompute", *generate)
    for name, text in {"left/pending.yaml": PENDING, "left/sleepy.py": SLEEPY}.items():
        lab.on("login", "sh", "-c", f"cat > {name}", stdin=text)
    return lab


def keys(lab):
    """Files with a private key, wherever jobs and clients write, and folders of secrets."""
    looked = "find /tmp /dev/shm -name '*.pem' 2> /dev/null; grep -rlI 'PRIVATE KEY' /tmp 2> /dev/null; true"
    found = {f"{m}: {line}" for m in ("root@login", "c1", "c2") for line in lab.on(m, "sh", "-c", looked).splitlines()}
    listed = lab.on("login", "sh", "-c", f"ls {SPOOL} | grep ^secrets-; true").splitlines()
    return found | set(listed)


def queue(lab):
    return lab.on("login", "squeue", "-h", "-u", "alice", "-o", "%i %T").split()


@pytest.mark.parametrize("number", ["TERM", pytest.param("HUP", marks=pytest.mark.acceptance)])
def test_a_live_client_that_is_told_to_end_takes_its_waiting_jobs_along(made, number):
    before = keys(made)
    command = "exec python -m vrecompute run dilepton left --site left/pending.yaml --store store-left -p channel=mumu"
    client = made.start("login", "sh", "-c", f"echo $$ > left/pid; {command}")
    assert comes_true(lambda: "PENDING" in queue(made), 120)
    made.on("login", "sh", "-c", f"kill -{number} $(cat left/pid)")
    said = client.communicate(timeout=120)[0]
    assert client.returncode == 130, said
    assert queue(made) == []
    assert keys(made) <= before


def test_a_detached_run_that_another_process_cancels_is_cancelled_at_once_and_leaves_no_key(made):
    before = keys(made)
    place = ["--site", "lab-slurm", "--store", "/home/alice/store-left"]
    command = ["run", "left/sleepy.py", "left/dataset.yaml", *place, "--detach", "--no-reuse"]
    run = made.on("login", "python", "-m", "vrecompute", *command).split()[-1]

    def state():
        told = made.on("login", "python", "-m", "vrecompute", "runs", "show", run, *place, "--json")
        return json.loads(told)["state"]

    events = f"ls store-left/runs/{run}/events 2> /dev/null; true"
    assert comes_true(lambda: made.on("login", "sh", "-c", events).strip() != "", 240)
    assert state() == "running"
    made.on("login", "python", "-m", "vrecompute", "runs", "cancel", run, *place)
    began = time.monotonic()
    assert comes_true(lambda: state() == "cancelled", 3)
    assert time.monotonic() - began < 120, "not after the silence of its Runner"
    assert comes_true(lambda: queue(made) == [], 60)
    assert keys(made) <= before


def submitted(lab, *more):
    """(name of a detached run that is at work, its job, where it is kept)."""
    place = ["--site", "lab-slurm", "--store", "/home/alice/store-left"]
    command = ["run", "left/sleepy.py", "left/dataset.yaml", *place, "--detach", "--no-reuse", *more]
    run = lab.on("login", "python", "-m", "vrecompute", *command).split()[-1]
    events = f"ls store-left/runs/{run}/events 2> /dev/null; true"
    assert comes_true(lambda: lab.on("login", "sh", "-c", events).strip() != "", 240)
    return run, queue(lab)[0], place


def state_of(lab, run, place):
    return json.loads(lab.on("login", "python", "-m", "vrecompute", "runs", "show", run, *place, "--json"))


ENDS = {
    "killed": ["sh", "-c", "scancel --full --signal=KILL $0"],
    "requeued": ["sh", "-c", "scontrol requeue $0; sleep 5; scancel $0"],
    "held": ["sh", "-c", "scontrol requeuehold $0; sleep 5; scancel $0"],
    "terminated": ["sh", "-c", "scancel --batch --signal=TERM $0"],
}


@pytest.mark.parametrize(
    "end", ["killed", *(pytest.param(end, marks=pytest.mark.acceptance) for end in ("requeued", "held", "terminated"))]
)
def test_a_detached_run_whose_job_ends_in_another_way_leaves_no_job_and_no_key(made, end):
    before = keys(made)
    run, job, place = submitted(made)
    made.on("login", *ENDS[end], job, check=False)
    assert comes_true(lambda: queue(made) == [], 120)
    assert comes_true(lambda: state_of(made, run, place)["state"] in {"cancelled", "interrupted"}, 40)
    shown = state_of(made, run, place)
    assert (shown["job"], bool(shown["reason"])) == (job, True)
    assert comes_true(lambda: keys(made) <= before, 3), keys(made) - before


def test_a_job_that_can_never_start_is_refused_and_one_that_waits_is_queued(made):
    never = "schema: 1\nname: never\nextends: lab-slurm\noptions: {partition: closed}\n"
    made.on("login", "sh", "-c", "cat > left/never.yaml", stdin=never)
    command = ["python", "-m", "vrecompute", "run", "dilepton", "left", "--site", "left/never.yaml"]
    client = made.start("login", *command, "--store", "store-left", "-p", "channel=mumu")
    said = client.communicate(timeout=150)[0]
    assert client.returncode == 2, said
    assert "no job of this run can ever start" in said
    assert "options.partition" in said
    assert queue(made) == []


def test_as_many_jobs_as_the_account_may_have_do_the_work(made):
    """MaxSubmitJobs is below what the run grows to; a run that starts with more is refused with the number."""
    many = "schema: 1\nname: many\nextends: lab-slurm\n"
    many += "workers: {{processes: 1, memory: 500MiB, nodes: {{min: {}, max: 4}}}}\n"
    limit = ["sacctmgr", "-iQ", "modify", "user", "alice", "set"]
    made.on("head", *limit, "MaxSubmitJobs=2")
    try:
        for least, code, words in ((1, 0, "goes on with 2 jobs"), (4, 5, "takes 2 of the 4 jobs")):
            made.on("login", "sh", "-c", f"cat > left/many{least}.yaml", stdin=many.format(least))
            command = ["python", "-m", "vrecompute", "run", "dilepton", "left", "--site", f"left/many{least}.yaml"]
            command += ["--workers", "4"] * (least == 1)
            client = made.start("login", *command, "--no-reuse", "--store", "store-left", "-p", "channel=mumu")
            said = client.communicate(timeout=240)[0]
            assert client.returncode == code, said
            assert words in said
            assert queue(made) == []
    finally:
        made.on("head", *limit, "MaxSubmitJobs=-1")
