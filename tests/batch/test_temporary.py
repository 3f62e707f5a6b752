"""The temporary folder of a job: its own, gone with it, and swept by the next one where it was killed outright."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.patience import comes_true
from vrecompute import Client
from vrecompute.batch.contract import Job
from vrecompute.batch.temporary import on_nodes
from vrecompute.kernels.cache import cache_folder
from vrecompute.sites.model import Environment, Site
from vrecompute_backends.slurm import SlurmBackend

LITTER = 'mkdir "$TMPDIR/dask-scratch-space"; echo "$TMPDIR"; '


@pytest.fixture
def start(tmp_path):
    """`start(command)`: the script of a job whose node keeps temporary files below `tmp_path/tmp`, as a process."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "spool").mkdir()
    site = Site(name="a", backend="slurm", environment=Environment(variables={"TMPDIR": str(tmp_path / "tmp")}))
    begun = []

    def started(command, number="7", setup=()):
        there = replace(site, environment=replace(site.environment, setup=setup))
        script = SlurmBackend(there).script(Job("a", ("sh", "-c", command), requeue=bool(setup)))
        (tmp_path / "script").write_text(script)
        environment = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": number}
        job = subprocess.Popen(
            ["bash", "-c", script], cwd=tmp_path / "spool", env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        begun.append(job)
        return job

    yield started
    for job in begun:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
        job.communicate()


def left(tmp_path):
    return sorted(path.name for path in (tmp_path / "tmp").iterdir())


def test_what_a_job_leaves_in_its_folder_goes_with_it(start, tmp_path):
    job = start(LITTER + 'ls -ld "$TMPDIR"; echo "$DASK_TEMPORARY_DIRECTORY $VRECOMPUTE_TMPDIR"; exit 3')
    folder, listed, more = job.communicate(timeout=120)[0].splitlines()
    assert folder.startswith(f"{tmp_path}/tmp/vre-{os.getuid()}-")
    assert listed.startswith("drwx------")
    assert more == f"{folder} {tmp_path}/tmp"
    assert (job.returncode, left(tmp_path)) == (3, [])
    assert (tmp_path / "spool" / "7.0.end").read_text() == "3\n"


def test_a_job_whose_setup_goes_elsewhere_ends_where_it_began(start, tmp_path):
    job = start("pwd; exit 75", setup=(f"cd {tmp_path}/tmp",))
    assert job.communicate(timeout=120)[0].splitlines()[0] == f"{tmp_path}/spool"
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["7.0.end"]
    assert left(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_job_that_is_told_to_end_deletes_it(start, tmp_path, number):
    job = start(LITTER + "exec sleep 60")
    job.stdout.readline()
    os.killpg(job.pid, number)
    job.wait(120)
    assert left(tmp_path) == []


def test_a_job_that_is_killed_leaves_it_to_the_next_and_that_of_a_living_one_stays(start, tmp_path):
    lives, killed = start(LITTER + "exec sleep 60", "1"), start(LITTER + "exec sleep 60", "2")
    folders = [job.stdout.readline().strip() for job in (lives, killed)]
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait(120)
    assert len(left(tmp_path)) == 2
    assert start("true", "3").wait(120) == 0
    assert [os.path.isdir(folder) for folder in folders] == [True, False]


def test_it_stays_while_a_process_of_the_job_lives_whose_shell_was_killed(start, tmp_path):
    job = start(LITTER + "exec sleep 60")
    folder = job.stdout.readline().strip()
    job.kill()
    job.wait(120)
    assert start("true").wait(120) == 0
    assert os.path.isdir(folder)
    os.killpg(job.pid, signal.SIGKILL)
    assert comes_true(lambda: start("true").wait(120) == 0 and left(tmp_path) == [], 120)


def test_jobs_that_begin_at_once_take_nothing_from_each_other(start, tmp_path):
    jobs = [start('sleep 0.3; test -d "$TMPDIR" && echo kept', str(n)) for n in range(12)]
    assert [job.communicate(timeout=60)[0] for job in jobs] == ["kept\n"] * 12
    assert left(tmp_path) == []


SEMAPHORES = """
import multiprocessing, sys, time
from vrecompute.workers.daskworker import name_semaphores


def child(queue):
    lock = multiprocessing.get_context("spawn").Lock()
    queue.put(1)
    time.sleep(60)


if __name__ == "__main__":
    name_semaphores()
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    process = spawn.Process(target=child, args=(queue,))
    process.start()
    queue.get()
    print("there", flush=True)
    time.sleep(60)
"""


def semaphores(folder: str) -> list[str]:
    return sorted(path.name for path in Path("/dev/shm").glob(f"sem.{Path(folder).name}-*"))


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="semaphores are seen as files on Linux only")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_semaphores_of_workers_go_with_the_folder_of_their_job(start, tmp_path, number):
    """All processes of a job get the signal at once, Python's own keeper of semaphores too."""
    (tmp_path / "holds.py").write_text(SEMAPHORES)
    job = start(f'echo "$TMPDIR"; exec {sys.executable} {tmp_path}/holds.py')
    folder = job.stdout.readline().strip()
    assert job.stdout.readline() == "there\n"
    assert len(semaphores(folder)) >= 4
    os.killpg(job.pid, number)
    job.wait(120)
    if number == signal.SIGKILL:
        assert semaphores(folder), "nobody was left to delete them"
        assert start("true", "8").wait(120) == 0
    assert semaphores(folder) == []


def test_each_node_of_a_job_has_one_and_an_end_is_passed_on(tmp_path):
    assert on_nodes([], ["a", "b"]) == ["a", "b"], "the script's own is on that node"
    told = "import os, signal, sys, time; signal.signal(15, lambda *a: sys.exit(5)); "
    told += "print(os.environ['TMPDIR'], flush=True); time.sleep(60)"
    environment = {
        **os.environ,
        "VRECOMPUTE_TMPDIR": str(tmp_path),
        "TMPDIR": "/of/another/node",
        "HOSTNAME": "another",
    }
    step = subprocess.Popen(
        on_nodes(["env"], [sys.executable, "-c", told]), env=environment, stdout=subprocess.PIPE, text=True
    )
    folder = step.stdout.readline().strip()
    assert folder.startswith(f"{tmp_path}/vre-{os.getuid()}-{os.uname().nodename.partition('.')[0]}.")
    step.terminate()
    step.communicate(timeout=120)
    assert (step.returncode, list(tmp_path.iterdir())) == (5, [])


def test_the_end_of_its_input_ends_a_step_that_was_given_one(tmp_path):
    """What starts steps may kill them when it is told to end itself: srun does."""
    environment = {**os.environ, "VRECOMPUTE_TMPDIR": str(tmp_path)}
    waits = on_nodes(["env"], ["sh", "-c", 'echo "$TMPDIR"; exec sleep "$0"'])
    step = subprocess.Popen([*waits, "60"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    step.stdin.write("begin\n")
    step.stdin.flush()
    folder = step.stdout.readline().strip()
    assert [str(path) for path in tmp_path.iterdir()] == [folder]
    step.stdin.close()
    assert step.wait(30) == 128 + signal.SIGTERM
    step.stdout.close()
    assert list(tmp_path.iterdir()) == []
    unasked = subprocess.run(
        [*waits, "0.5"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False
    )
    assert (unasked.returncode, unasked.stderr, list(tmp_path.iterdir())) == (0, b"", [])


def test_compiled_kernels_outlive_the_job(monkeypatch, tmp_path):
    """A cache that cannot be written is copied to the node, not to the folder of one job."""
    for name, value in {"VRECOMPUTE_CACHE": "/proc/no", "VRECOMPUTE_TMPDIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    assert cache_folder().parent.parent == tmp_path


def test_semaphores_of_a_detached_run_s_own_workers_are_named_so_too(tmp_path, monkeypatch):
    folder = tmp_path / f"vre-{os.getuid()}-here.{tmp_path.name[-6:]}"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    with Client(workers=1, store=tmp_path / "store") as client:
        assert client.dask.submit(sum, [1, 2]).result() == 3
        assert semaphores(folder.name)
    assert comes_true(lambda: not semaphores(folder.name), 60)
