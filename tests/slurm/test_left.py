"""What is left of runs and jobs that were ended in all ways: no job, no secret, no temporary file, and a true state.

Files that a job left on a node whose script could not delete them, since it was killed, go when the user's next job
begins there. `scenarios` names what ends runs and jobs on the lab, here and elsewhere; `conftest` looks after each.
"""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.patience import comes_true
from tests.slurm.leftovers import job_folders
from tests.slurm.runs import said
from vrecompute.batch.contract import Job, State
from vrecompute.testing import BackendContract

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

until = BackendContract().until
PLACE = ["--site", "left/small.yaml", "--store", "/home/alice/store-left"]
PENDING = "schema: 1\nname: pending\nextends: lab-slurm\noptions: {directives: {add: [--begin=now+1hour]}}\n"
SMALL = "schema: 1\nname: small\nextends: lab-slurm\n"
SMALL += "workers: {processes: 1, memory: 700MiB, nodes: {min: 1, max: 1}}\n"
SLEEPY = """
import time
from vrecompute import Analysis, Result

class Sleepy(Analysis):
    name = "sleepy"
    def columns(self, source):
        return ["Muon_pt"]
    def process(self, events):
        time.sleep(30)
        return Result(counters={"events": float(len(events))})
"""


@pytest.fixture
def made(lab):
    """The lab with data, an analysis that takes its time, and a site whose jobs wait for ever."""
    generate = ["generate", "/home/alice/left", "--events", "4000", "--files", "8", "--seed", "1"]
    lab.on("login", "python", "-m", "vrecompute", *generate)
    for name, text in {"left/pending.yaml": PENDING, "left/small.yaml": SMALL, "left/sleepy.py": SLEEPY}.items():
        lab.on("login", "sh", "-c", f"cat > {name}", stdin=text)
    return lab


def queue(lab):
    return lab.on("login", "squeue", "-h", "-u", "alice", "-o", "%i %T").split()


@pytest.mark.parametrize("number", ["TERM", "HUP"])
def test_a_live_client_that_is_told_to_end_takes_its_waiting_jobs_along(made, number):
    command = "exec python -m vrecompute run dilepton left --site left/pending.yaml --store store-left -p channel=mumu"
    client = made.start("login", "sh", "-c", f"echo $$ > left/pid; {command}")
    assert comes_true(lambda: "PENDING" in queue(made), 120)
    made.on("login", "sh", "-c", f"kill -{number} $(cat left/pid)")
    told = client.communicate(timeout=120)[0]
    assert client.returncode == 130, told
    assert comes_true(lambda: queue(made) == [])


SUBMIT = """
import sys
from vrecompute import Client
with Client("left/small.yaml", store="store-left") as client:
    for _ in range(3):
        print(client.submit("left/sleepy.py", "left/dataset.yaml", reuse=False).id)
"""
LOOK = """
import json, sys, time
from vrecompute import Client
with Client("left/small.yaml", store="store-left") as client:
    for run in sys.argv[1:]:
        print(json.dumps({run: client.attach(run).where()._asdict()}))
        time.sleep(client.site.limits.min_poll)
"""
#: On the node of a job: end all its processes outright.
KILL = "kill -9 $(scontrol listpids $0 | awk 'NR > 1 && $1 > 1 {print $1}')"


def test_three_detached_runs_that_end_in_other_ways_leave_nothing_and_say_so_at_once(made):
    """Each look is a process of its own, which remembers nothing of an earlier one."""
    runs = made.on("login", "python", "-", stdin=SUBMIT).split()
    cancelled, killed, requeued = runs
    at_work = f"for run in {' '.join(runs)}; do test -d store-left/runs/$run/events && echo $run; done; true"
    assert comes_true(lambda: made.on("login", "sh", "-c", at_work).split() == runs, 240, 0.5)

    def look():
        return said(made.on("login", "python", "-", *runs, stdin=LOOK))

    seen = look()
    assert {where["state"] for where in seen.values()} == {"running"}
    jobs = {run: where["job"] for run, where in seen.items()}
    assert sorted(jobs.values()) == sorted(queue(made)[::2])
    assert all(0 <= time.time() - where["since"] < 240 for where in seen.values())
    node = made.on("login", "squeue", "-h", "-j", jobs[killed], "-o", "%N").strip()
    made.on(node, "sh", "-c", KILL, jobs[killed])
    made.on("login", "sh", "-c", "scontrol requeue $0; scancel $0", jobs[requeued])
    made.on("login", "python", "-m", "vrecompute", "runs", "cancel", cancelled, *PLACE)
    ended = time.monotonic()
    wanted = {cancelled: "cancelled", killed: "interrupted", requeued: "cancelled"}
    assert comes_true(lambda: {run: where["state"] for run, where in look().items()} == wanted, 40, 0.5), look()
    assert time.monotonic() - ended < 100, "not after the silence of its Runner"
    assert {run: bool(where["reason"]) for run, where in look().items()} == dict.fromkeys(runs, True)
    assert comes_true(lambda: queue(made) == [], 60)


STEPS = "schema: 1\nname: steps\nextends: lab-slurm\noptions: {launcher: srun}\n"
STEPS += "workers: {processes: 1, memory: 700MiB, nodes: {min: 2, max: 2}}\n"
STEPS += "environment: {venv: /opt/venv, setup: ['cd /tmp']}\n"


def test_a_detached_run_of_steps_leaves_nothing_on_its_nodes(made):
    """Nor for the next job there to delete: srun kills when it is told to end. A setup that goes to /tmp moves none."""
    made.on("login", "sh", "-c", "cat > left/steps.yaml", stdin=STEPS)
    place = ["--site", "left/steps.yaml", "--store", "store-left"]
    command = ["run", "dilepton", "left", *place, "-p", "channel=mumu", "--no-reuse", "--detach"]
    run = made.on("login", "python", "-m", "vrecompute", *command).split()[-1]
    seen = ["runs", "show", run, *place]

    def done():
        return "state: complete" in made.on("login", "python", "-m", "vrecompute", *seen)

    assert comes_true(done, 300, 2), made.on("login", "python", "-m", "vrecompute", *seen)
    assert comes_true(lambda: queue(made) == [], 60)
    assert job_folders(made) == []
    assert made.on("c1", "sh", "-c", "ls -d /tmp/*.end /tmp/secrets-*; true") == ""


LITTERS = """
import os, sys, tempfile, time
assert os.path.exists(os.environ["VRECOMPUTE_SECRETS"] + "/key")
print("left", tempfile.mkdtemp(), flush=True)
eaten = bytearray(int(sys.argv[1]) << 20)
time.sleep(300)
"""
#: How -> what is done to the job, and what it is then.
ENDS = {
    "greedy": ("true", State.OOM),
    "cancelled": ("scancel $0", State.CANCELLED),
    "killed": ("scancel --full --signal=KILL $0", State.CANCELLED),  # Slurm takes it for a cancellation
    "terminated": ("scancel --batch --signal=TERM $0", State.FAILED),
    "held": ("scontrol requeuehold $0; scancel $0", State.CANCELLED),
    "late": ("scontrol update JobId=$0 EndTime=now+2", State.TIMEOUT),
}


def test_jobs_that_end_in_six_ways_leave_no_secret_and_no_file(lab):
    backend = lab.backend()
    polling = lab.backend(directives={"add": ["--nodelist=c1"]})  # where Slurm polls memory, and kills the whole job
    left = {name for name in backend.access.names(backend.spool) if name.startswith("secrets-")}
    jobs = {}
    for how in ENDS:
        command = ("python", "-c", LITTERS, "400" if how == "greedy" else "0")
        job = Job(f"left-{how}", command, memory_bytes=200 << 20, walltime_s=600, requeue=how == "held")
        job = replace(job, secret_files={"key": how.encode()})
        jobs[how] = (polling if how == "greedy" else backend).submit(job)
    assert comes_true(lambda: all("left " in backend.logs(job) for job in jobs.values()), 120, 0.5)
    for how, (command, _) in ENDS.items():
        lab.on("head", "sh", "-c", command, jobs[how])
    seen = until(backend, list(jobs.values()), lambda s: s.state.terminal, 240)
    until(polling, [jobs["greedy"]], lambda s: s.state.terminal, 60)
    assert {how: seen[job].state for how, job in jobs.items()} == {how: state for how, (_, state) in ENDS.items()}
    assert comes_true(lambda: {n for n in backend.access.names(backend.spool) if n.startswith("secrets-")} <= left, 20)
    for node in ("c1", "c2"):  # their next jobs
        last = lab.backend(directives={"add": [f"--nodelist={node}"]})
        until(last, [last.submit(Job("last", ("true",), memory_bytes=50 << 20))], lambda s: s.state.terminal, 120)
        assert lab.on(node, "sh", "-c", "ls -d /tmp/vre-*; true") == ""


def test_a_spool_without_room_is_said_and_leaves_nothing(made):
    full = "schema: 1\nname: full\nextends: lab-slurm\nstage: {scratch: /dev/shm/spool}\n"
    made.on("login", "sh", "-c", "cat > left/full.yaml", stdin=full)
    fill = "mkdir -p /dev/shm/spool; dd if=/dev/zero of=/dev/shm/filler bs=1M 2> /dev/null; true"
    made.on("login", "sh", "-c", fill)
    try:
        command = ["python", "-m", "vrecompute", "run", "dilepton", "left", "--site", "left/full.yaml"]
        client = made.start("login", *command, "--store", "store-left", "-p", "channel=mumu", "--no-reuse")
        told = client.communicate(timeout=120)[0]
        assert client.returncode == 5, told
        assert "No space left on device" in told
        assert "set another stage.scratch" in told
        assert comes_true(lambda: queue(made) == [])
        assert made.on("login", "find", "/dev/shm/spool", "-type", "f") == ""
    finally:
        made.on("login", "rm", "-rf", "/dev/shm/filler", "/dev/shm/spool")


def test_a_job_that_can_never_start_is_refused_and_one_that_waits_is_queued(made):
    never = "schema: 1\nname: never\nextends: lab-slurm\noptions: {partition: closed}\n"
    made.on("login", "sh", "-c", "cat > left/never.yaml", stdin=never)
    command = ["python", "-m", "vrecompute", "run", "dilepton", "left", "--site", "left/never.yaml"]
    client = made.start("login", *command, "--store", "store-left", "-p", "channel=mumu")
    told = client.communicate(timeout=150)[0]
    assert client.returncode == 2, told
    assert "no job of this run can ever start" in told
    assert "options.partition" in told
    assert comes_true(lambda: queue(made) == [])


def test_as_many_jobs_as_the_account_may_have_do_the_work(made):
    """MaxSubmitJobs is below what the run grows to; a run that starts with more is refused with the number."""
    many = "schema: 1\nname: many\nextends: lab-slurm\n"
    many += "workers: {{processes: 1, memory: 500MiB, nodes: {{min: {}, max: 4}}}}\n"
    with made.limited(2):
        for least, code, words in ((1, 0, "goes on with 2 jobs"), (4, 5, "takes 2 of the 4 jobs")):
            made.on("login", "sh", "-c", f"cat > left/many{least}.yaml", stdin=many.format(least))
            command = ["python", "-m", "vrecompute", "run", "dilepton", "left", "--site", f"left/many{least}.yaml"]
            command += ["--workers", "4"] * (least == 1)
            client = made.start("login", *command, "--no-reuse", "--store", "store-left", "-p", "channel=mumu")
            told = client.communicate(timeout=240)[0]
            assert client.returncode == code, told
            assert words in told
            assert comes_true(lambda: queue(made) == [])
