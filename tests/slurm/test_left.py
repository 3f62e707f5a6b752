"""What is left of runs and jobs that were ended in all ways: no job, no secret, no temporary file, and a true state.

Files that a job left on a node whose script could not delete them, since it was killed, go when the user's next job
begins there; each module of these tests ends with a look at the temporary folders of all machines (`conftest`).

| scenario | test |
|---|---|
| 1 a detached run, cancelled by another process | here: `three detached runs` |
| 2 a detached run, its job killed outright (`scancel --signal=KILL`) | here: `three detached runs` |
| 3 a detached run, requeued and cancelled at once | here: `three detached runs` |
| 4 a job held after a requeue, then cancelled | here: `jobs that end in six ways` |
| 5 a job whose script is told to end (SIGTERM) | here: `jobs that end in six ways` |
| 6 a job at its walltime | here: `jobs that end in six ways`; of runs: `test_walltime` (acceptance) |
| 7 a job whose node kills it for its memory | here: `jobs that end in six ways`, `test_memory` |
| 8 a job cancelled; a worker's job in a live run | here: `jobs that end in six ways`; `test_live`, `test_disturbed` |
| 9 a live client told to end by SIGTERM, its jobs waiting | here: `a live client` |
| 10 by SIGHUP | here: `a live client` (acceptance); on the simulated queue: `tests/batch/test_left_behind.py` |
| 11 by Ctrl-C | `test_ssh`: `interrupted in a terminal` |
| 12 a script of the user told to end by SIGTERM | `tests/batch/test_left_behind.py`: `a script` |
| 13 a client killed outright, live and detached | `test_runs`: `a client killed`, `a live run whose client is killed` |
| 14 a node that loses power | `test_disturbed`: `the death of a worker, a job and a node` |
| 15 a preempted job | `test_disturbed`: `a preempted job` |
| 16 a requeued run | `test_disturbed`: `a detached run survives a requeue` |
| 17 a scheduler that dies, in a job and on the login node | `test_disturbed` |
| 18 slurmctld, slurmdbd away | `test_silence`, `test_runs`; a client closes then: `tests/batch/test_left_behind.py` |
| 19 submissions without an answer, and refused ones | `test_submit` |
| 20 jobs that can never start; more jobs than the account may have | here |
| 21 workers that cannot start | `test_unable` |
| 22 a lost connection | `test_ssh` |
| 23 a spool without room | here |
"""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.patience import comes_true
from tests.slurm.runs import said
from vrecompute.batch.contract import Job, State
from vrecompute.testing import BackendContract

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

until = BackendContract().until
PLACE = ["--site", "left/small.yaml", "--store", "/home/alice/store-left"]
SPOOL = ".local/state/vrecompute/slurm"
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
    told = client.communicate(timeout=120)[0]
    assert client.returncode == 130, told
    assert queue(made) == []
    assert keys(made) <= before


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
    before = keys(made)
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
    assert comes_true(lambda: look() and keys(made) <= before, 3), keys(made) - before


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
        assert queue(made) == []
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
    assert queue(made) == []


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
            assert queue(made) == []
