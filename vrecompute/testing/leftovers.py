"""`LeftoverContract`: what is left of jobs and clients that were ended: no job, no secret, no temporary file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest

from vrecompute.batch.contract import Backend, Job, JobId, State
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.testing.suite import Suite

__all__ = ["LeftoverContract"]

_LITTERS = """
import os, signal, socket, sys, tempfile, time
print("folder", tempfile.mkdtemp(), socket.gethostname(), "there", flush=True)
for pid in (os.getppid(), os.getpid()) if sys.argv[1] == "killed" else ():
    os.kill(pid, signal.SIGKILL)
time.sleep(300)
"""
_BEATS = """
import os, socket, tempfile, time
print("folder", tempfile.mkdtemp(), socket.gethostname(), "there", flush=True)
print("ends", os.environ["VRECOMPUTE_JOB_ENDS"], flush=True)
while True:
    print("beat", time.time(), flush=True)
    time.sleep(0.5)
"""
#: The system's clock runs before that of the job, as while a shell starts.
_EARLY_S = 8.0
_LOOKS = """
import os, socket, sys, time
time.sleep(2)
print("there" if os.path.exists(sys.argv[1]) else "gone", "on", socket.gethostname())
"""
#: A client in a process of its own: it makes the Backend of its stdin, submits a job, and is told how to go on.
_CLIENT = """
import signal, sys, time
import cloudpickle
from vrecompute.signals import heeded
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which a suite that runs under nohup passes on as ignored
make, job = cloudpickle.load(sys.stdin.buffer)
backend = make()
with heeded():
    job_id = backend.submit(job)
    try:
        print(job_id, flush=True)
        time.sleep(600)
    finally:
        backend.cancel([job_id])
"""


class LeftoverContract(Suite):
    """Skipped for a driver that is no `QueueBackend`, but for the walltime."""

    def test_nothing_is_left_of_jobs_that_are_cancelled_or_killed(self, backend: Backend) -> None:
        """Neither secrets nor temporary files; of those that are killed outright, once the next job began there."""
        queue = self.queue(backend)
        before = self._secrets(queue)
        for how in ("cancelled", "killed"):
            job_id = backend.submit(self.python(_LITTERS, how, name=f"left-{how}", secret_files={"key": b"s3cr3t"}))
            said = self.until_said(backend, job_id, "folder ", " there")
            if how == "cancelled":
                backend.cancel([job_id])
            self.until(backend, [job_id], lambda s: s.state.terminal)
            self._no_file(backend, said, how)
            assert self._secrets(queue) <= before

    def test_walltime_is_a_state_of_its_own(self, backend: Backend) -> None:
        """A job that outlives its walltime is TIMEOUT, which is not the fault of the code, and leaves nothing."""
        before = self._secrets(backend) if isinstance(backend, QueueBackend) else set()
        late = self._private(_BEATS, "late", walltime_s=self.walltime_s)
        job_id, status = self.end(backend, late, self.patience_s + self.walltime_s + 160)
        said = backend.logs(job_id)
        assert (status.state, status.blame) == (State.TIMEOUT, "infrastructure"), (status, said)
        assert status.reason, status
        beats = [float(line.split()[1]) for line in said.splitlines() if re.fullmatch(r"beat [0-9.]+", line)]
        ends = float(said.partition("ends ")[2].split()[0])
        assert beats[-1] >= ends - _EARLY_S, f"it was ended {ends - beats[-1]:.0f} s before the time that it had"
        if isinstance(backend, QueueBackend):
            assert self._secrets(backend) <= before
            self._no_file(backend, said, "late")

    def test_nothing_is_left_of_jobs_that_another_process_cancels(self, make_backend: Callable[..., Backend]) -> None:
        """It learns of them by their ids alone; who submitted them may be gone. One may be started again, or waits."""
        before = self._secrets(self.queue(make_backend()))
        litters = self._private(_LITTERS, "another", requeue=True)
        job_id = (submitter := make_backend()).submit(litters)
        said = self.until_said(submitter, job_id, "folder ", " there")
        stranger = self.queue(make_backend())
        assert self._secrets(stranger) > before, "an attempt that follows would need them"
        stranger.cancel([job_id])
        assert self._secrets(stranger) <= before
        self.until(stranger, [job_id], lambda s: s.state is State.CANCELLED)
        self._no_file(stranger, said, "cancelled by another process")

    def test_nothing_is_left_of_a_job_that_ended_behind_the_back_of_its_client(
        self, make_backend: Callable[..., Backend]
    ) -> None:
        """Such as by the batch system's own command; any process that learns of the end deletes the secrets."""
        before = self._secrets(self.queue(make_backend()))
        job_id = (submitter := make_backend()).submit(self._private(_LITTERS, "behind", requeue=True))
        self.until_said(submitter, job_id, "folder ", " there")
        self.queue(make_backend()).end([job_id])
        stranger = self.queue(make_backend())
        self.until(stranger, [job_id], lambda s: s.state is State.CANCELLED)
        assert self._secrets(stranger) <= before

    def test_nothing_is_left_of_a_waiting_job_that_another_process_cancels(
        self, make_backend: Callable[..., Backend]
    ) -> None:
        """It never runs, so that nothing in it can delete what was brought for it."""
        stranger = self.queue(make_backend())
        before = self._secrets(stranger)
        job_id = make_backend(**self.waits_long()).submit(self._private(_LITTERS, "waits"))
        assert self._secrets(stranger) > before
        stranger.cancel([job_id])
        assert self._secrets(stranger) <= before
        self.until(stranger, [job_id], lambda s: s.state is State.CANCELLED)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    def test_a_process_that_is_told_to_end_takes_its_waiting_jobs_along(
        self, make_backend: Callable[..., Backend], number: signal.Signals
    ) -> None:
        """No other process knows of them: they would begin hours later, and find no client."""
        queue = self.queue(make_backend())
        before, waits = self._secrets(queue), self.waits_long()
        given = cloudpickle.dumps((lambda: make_backend(**waits), self._private(_LITTERS, f"told-{number.name}")))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", _CLIENT]
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(given)
            client.stdin.close()
            job_id = JobId(client.stdout.readline().decode().strip())
            assert job_id, "the client submitted nothing"
            client.send_signal(number)
            client.stdout.read()
        self.until(queue, [job_id], lambda s: s.state is State.CANCELLED)
        assert self._secrets(queue) <= before

    def _private(self, program: str, how: str, **changes: Any) -> Job:
        """A job with a secret that no other has."""
        secret = f"s3cr3t {time.time_ns()}".encode()
        return self.python(program, how, name=f"left-{how}", secret_files={"key": secret}, **changes)

    def _no_file(self, backend: Backend, said: str, how: str) -> None:
        """What the job says that it made on its node is gone once another has begun there."""
        folder, node = said.partition("folder ")[2].split()[:2]
        deadline = time.monotonic() + self.patience_s
        found = ""
        while f"on {node}" not in found:  # several at a time, so that one of them gets there
            assert time.monotonic() < deadline, f"no other job ran on {node}"
            looks = backend.submit_many(self.python(_LOOKS, folder), 3)
            self.until(backend, looks, lambda s: s.state.terminal)
            found = next((log for log in map(backend.logs, looks) if f"on {node}" in log), "")
        assert "gone" in found, f"a file of a job that was {how} is still in {folder} of {node}"

    def _secrets(self, backend: QueueBackend) -> set[str]:
        """Folders of secrets in the spool."""
        listed = backend.access.run(["ls", "--", backend.spool]).text.split()
        return {name for name in listed if name.startswith("secrets-")}
