"""What runs in an allocation, with a real scheduler and worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

LEAVE = """
import contextlib
import sys
import time
from distributed import Client
from vrecompute.workers.drain import leave

async def go(dask_worker):
    await leave(dask_worker)

if __name__ == "__main__":
    with Client() as client:
        client.wait_for_workers(1, timeout=60)
        client.run(go, wait=False)
        deadline = time.monotonic() + 30
        while client.nthreads() and time.monotonic() < deadline:
            time.sleep(0.1)
        with contextlib.suppress(TimeoutError):
            client.wait_for_workers(1, timeout=float(sys.argv[1]))
"""


def allocation(folder, command: str, *options: str, **variables: str) -> subprocess.Popen[str]:
    """An allocation of one worker whose command is `command`."""
    environment = {**os.environ, "VRECOMPUTE_JOB": "77", **variables}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    argv = [sys.executable, "-m", "vrecompute.batch.allocation", "--processes", "1"]
    argv += ["--no-tls", "--interface", "lo", *options, "--", "sh", "-c", command]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(argv, env=environment, cwd=folder, text=True, **streams)


@pytest.mark.slow
@pytest.mark.parametrize("code", [4, 75])
def test_the_command_s_end_is_the_job_s(tmp_path, code):
    job = allocation(tmp_path, f"exit {code}")
    job.communicate(timeout=120)
    assert job.returncode == code


@pytest.mark.slow
@pytest.mark.parametrize(("passed_s", "left_s", "again"), [(10, 590, True), (70, 30, False)])
def test_workers_that_left_for_want_of_time_are_not_started_again(tmp_path, passed_s, left_s, again):
    (tmp_path / "leave.py").write_text(LEAVE)
    now = time.time()
    told = {"VRECOMPUTE_JOB_BEGAN": str(now - passed_s), "VRECOMPUTE_JOB_ENDS": str(now + left_s)}
    job = allocation(tmp_path, f"{sys.executable} leave.py {60 if again else 8}", **told)
    output, _ = job.communicate(timeout=120)
    assert job.returncode == 0, output
    assert ("starting them again" in output) is again


#: Beside workers: what is known of their ends, until there is something to say.
ASKS = """
import sys
import time
from distributed import Client
from vrecompute.batch.barren_steps import NoWorkerComes

if __name__ == "__main__":
    with Client() as client:
        none_comes, deadline = NoWorkerComes(client), time.monotonic() + float(sys.argv[1])
        while not none_comes.why() and time.monotonic() < deadline:
            time.sleep(0.3)
        print("why:", none_comes.why())
"""


@pytest.mark.slow
def test_workers_that_end_three_times_before_one_connects_are_given_up_with_their_last_words(tmp_path):
    (tmp_path / "asks.py").write_text(ASKS)
    (tmp_path / "step").write_text('#!/bin/sh\necho "no such thing" >&2; exit 7\n')
    (tmp_path / "step").chmod(0o755)
    job = allocation(tmp_path, f"{sys.executable} asks.py 60", "--step", str(tmp_path / "step"))
    output, _ = job.communicate(timeout=120)
    said = next(line for line in output.splitlines() if line.startswith("why: "))
    assert "no worker starts: the workers of this job ended 3 times before one connected" in said
    assert "with exit code 7. Their log ends: no such thing. Mend" in said
    assert output.count("no such thing\n") == 3, "it is in the log at once"


@pytest.mark.slow
def test_a_scheduler_whose_own_workers_never_connect_ends_with_what_they_say(tmp_path):
    """Of a live run on whole nodes: its client then says how the job ended."""
    (tmp_path / "step").write_text('#!/bin/sh\necho "no such thing" >&2; exit 7\n')
    (tmp_path / "step").chmod(0o755)
    command = f"exec {sys.executable} -m vrecompute.batch.keepalive --announce a.json"
    job = allocation(tmp_path, command, "--step", str(tmp_path / "step"))
    output, _ = job.communicate(timeout=120)
    assert job.returncode == 5, output
    assert output.splitlines()[-1].startswith("no worker starts: the workers of this job ended 3 times"), output


@pytest.mark.slow
def test_workers_that_connected_once_are_not_given_up(tmp_path):
    """They may have been killed for the memory of a chunk."""
    (tmp_path / "asks.py").write_text(ASKS)
    (tmp_path / "step").write_text('#!/bin/sh\n[ -e begun ] && exit 7; touch begun; timeout 12 "$@"; exit 7\n')
    (tmp_path / "step").chmod(0o755)
    job = allocation(tmp_path, f"{sys.executable} asks.py 35", "--step", str(tmp_path / "step"))
    output, _ = job.communicate(timeout=120)
    assert output.count("starting them again") >= 3, output
    assert "why: \n" in output, output


@pytest.mark.slow
def test_workers_of_a_step_delete_their_folder_when_the_command_ends(tmp_path):
    (tmp_path / "tmp").mkdir()
    wait = f"{sys.executable} -c 'from distributed import Client; Client().wait_for_workers(1, timeout=60)'"
    given = {"VRECOMPUTE_TMPDIR": str(tmp_path / "tmp"), "TMPDIR": str(tmp_path / "tmp")}
    # as srun: told to end, it kills
    (tmp_path / "step").write_text(
        f"#!{sys.executable}\nimport os, signal, subprocess, sys\n"
        "step = subprocess.Popen(sys.argv[1:], start_new_session=True)\n"
        "signal.signal(15, lambda *told: (os.killpg(step.pid, 9), os._exit(9)))\nsys.exit(step.wait())\n"
    )
    (tmp_path / "step").chmod(0o755)
    job = allocation(tmp_path, wait, "--step", str(tmp_path / "step"), **given)
    output, _ = job.communicate(timeout=120)
    assert job.returncode == 0, output
    assert [path.name for path in (tmp_path / "tmp").iterdir() if path.name.startswith("vre-")] == [], output
