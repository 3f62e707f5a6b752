"""What runs in an allocation, with a real scheduler and worker, and a `scontrol` that is asked to requeue the job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ASKED = (
    "#!/bin/sh\necho \"$@\" >> '{folder}/asked'\necho 'Requested operation is presently disabled' >&2\nexit {code}\n"
)


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


def allocation(folder, code: int, command: str, **variables: str) -> subprocess.Popen[str]:
    """An allocation of one worker whose command is `command`; `scontrol` ends with `code`."""
    scontrol = folder / "scontrol"
    scontrol.write_text(ASKED.format(folder=folder, code=code))
    scontrol.chmod(0o755)
    environment = {
        **os.environ,
        "SLURM_JOB_ID": "77",
        "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    environment |= variables
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    argv = [sys.executable, "-m", "vrecompute_backends.slurm.allocation", "--workers", "1", "--processes", "1"]
    argv += ["--launcher", "direct", "--no-tls", "--interface", "lo", "--", "sh", "-c", command]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(argv, env=environment, cwd=folder, text=True, **streams)


@pytest.mark.slow
def test_a_command_out_of_time_where_no_job_may_be_requeued_ends_the_job_and_says_so(tmp_path):
    job = allocation(tmp_path, 1, "exit 75")
    output, _ = job.communicate(timeout=120)
    assert job.returncode == 75, output
    assert (tmp_path / "asked").read_text() == "requeue 77\n"
    said = "job 77 is out of time and cannot be requeued (Requested operation is presently disabled)"
    assert said in output
    assert "`vrecompute runs attach` finishes the run" in output


@pytest.mark.slow
def test_a_job_whose_core_hours_are_used_does_not_ask_to_be_requeued(tmp_path):
    job = allocation(tmp_path, 0, "exit 75", VRECOMPUTE_JOB_ATTEMPTS="3", SLURM_RESTART_COUNT="2")
    output, _ = job.communicate(timeout=120)
    assert job.returncode == 75, output
    assert not (tmp_path / "asked").exists()
    assert "cannot be requeued (limits.core_hours of the site pays for 3 attempts)" in output


@pytest.mark.slow
def test_a_requeued_job_waits_for_slurm_to_end_it(tmp_path):
    """An exit of its own would leave a completion marker, which means that the job is over."""
    job = allocation(tmp_path, 0, "exit 75", VRECOMPUTE_JOB_ATTEMPTS="3", SLURM_RESTART_COUNT="1")
    deadline = time.monotonic() + 60
    while not (tmp_path / "asked").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    with pytest.raises(subprocess.TimeoutExpired):
        job.wait(2)
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 128 + signal.SIGTERM
    job.communicate()


@pytest.mark.slow
def test_any_other_end_is_the_job_s(tmp_path):
    job = allocation(tmp_path, 0, "exit 4")
    job.communicate(timeout=120)
    assert job.returncode == 4
    assert not (tmp_path / "asked").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("passed_s", "left_s", "again"), [(10, 590, True), (70, 30, False)])
def test_workers_that_left_for_want_of_time_are_not_started_again(tmp_path, passed_s, left_s, again):
    (tmp_path / "leave.py").write_text(LEAVE)
    now = time.time()
    told = {"VRECOMPUTE_JOB_BEGAN": str(now - passed_s), "VRECOMPUTE_JOB_ENDS": str(now + left_s)}
    job = allocation(tmp_path, 0, f"{sys.executable} leave.py {60 if again else 8}", **told)
    output, _ = job.communicate(timeout=120)
    assert job.returncode == 0, output
    assert ("starting them again" in output) is again
