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


def allocation(folder, command: str, **variables: str) -> subprocess.Popen[str]:
    """An allocation of one worker whose command is `command`."""
    environment = {**os.environ, "VRECOMPUTE_JOB": "77", **variables}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    argv = [sys.executable, "-m", "vrecompute.batch.allocation", "--processes", "1"]
    argv += ["--no-tls", "--interface", "lo", "--", "sh", "-c", command]
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
