"""`BackendContract`: what every driver must do, as tests that run real jobs on its batch system.

    class TestMine(BackendContract):
        @pytest.fixture
        def make_backend(self):
            return lambda: MyBackend(MY_SITE)

is all that a driver's own test file needs. What the driver's `Capabilities` deny is skipped with that
reason; nothing else is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from vrecompute.batch.contract import Backend, Job, JobId, JobStatus, State

__all__ = ["BackendContract"]

_HOSTILE = ("a b", "$(echo expanded)", "`echo expanded`", "'", '"', "\\", "*", "-x", "; echo expanded", "é→∞", "")
_TELL = "import sys; sys.stdout.write('|'.join(sys.argv[1:]))"
_SECRET = """
import os, stat
folder = os.environ["VRECOMPUTE_SECRETS"]
key = os.path.join(folder, "key")
print("folder", folder)
print("modes", oct(stat.S_IMODE(os.stat(folder).st_mode)), oct(stat.S_IMODE(os.stat(key).st_mode)))
print("length", len(open(key, "rb").read()))
"""
_SUM = """
from distributed import Client
client = Client()
client.wait_for_workers(2, timeout=90)
print("sum", sum(client.gather(client.map(lambda n: n * n, range(10)))))
"""


class BackendContract:
    """The suite. `patience_s` is how long a job may take from submission to its end on this system."""

    patience_s = 90.0

    @pytest.fixture
    def make_backend(self) -> Callable[[], Backend]:
        """A function that makes a Backend; two of them must know nothing of each other."""
        raise NotImplementedError("override the fixture `make_backend`")

    @pytest.fixture
    def backend(self, make_backend: Callable[[], Backend]) -> Iterator[Backend]:
        """One Backend, closed after the test."""
        made = make_backend()
        yield made
        made.close()

    def job(self, *command: str, **changes: Any) -> Job:
        """A small job of one core."""
        return replace(Job("contract", command, memory_bytes=512 << 20, walltime_s=300), **changes)

    def python(self, program: str, *arguments: str, **changes: Any) -> Job:
        """A small job that runs a Python program with the site's Python."""
        return self.job("python", "-c", program, *arguments, **changes)

    def until(
        self, backend: Backend, ids: Sequence[JobId], fits: Callable[[JobStatus], bool], patience_s: float | None = None
    ) -> dict[JobId, JobStatus]:
        """Poll until every status fits; fails with what was seen last where that takes too long."""
        deadline = time.monotonic() + (patience_s or self.patience_s)
        while True:
            seen = backend.poll(ids)
            if all(fits(status) for status in seen.values()):
                return seen
            assert time.monotonic() < deadline, f"still {seen}"
            time.sleep(0.5)

    def end(self, backend: Backend, job: Job, patience_s: float | None = None) -> tuple[JobId, JobStatus]:
        """Submit a job and see it to its end."""
        job_id = backend.submit(job)
        return job_id, self.until(backend, [job_id], lambda s: s.state.terminal, patience_s)[job_id]

    def test_script_is_pure_and_holds_no_secret(self, make_backend: Callable[[], Backend]) -> None:
        """Same job, same text, in any process; nothing of a secret in it."""
        job = self.job("true", secret_files={"key": b"canary-0815"}, environment={"A": "b"})
        script = make_backend().script(job)
        assert script
        assert script == make_backend().script(replace(job))
        assert "canary-0815" not in script

    def test_an_unseen_id_is_unknown(self, backend: Backend) -> None:
        """Outage is neither success nor failure, and whatever was asked for is answered."""
        unseen = [JobId("999999999"), JobId("never; was")]
        assert {i: s.state for i, s in backend.poll(unseen).items()} == dict.fromkeys(unseen, State.UNKNOWN)
        assert backend.poll([]) == {}
        assert backend.logs(unseen[0]) == ""

    def test_a_job_completes_and_stays_completed(self, backend: Backend, make_backend: Callable[[], Backend]) -> None:
        """The end of a job is seen by every poll with its id, now and later."""
        job_id, status = self.end(backend, self.python("print('said so')"))
        assert (status.state, status.exit_code, status.blame) == (State.COMPLETED, 0, "none")
        assert "said so" in backend.logs(job_id)
        stranger = make_backend()
        seen = self.until(stranger, [job_id], lambda s: s.state.terminal)
        assert seen[job_id].state is State.COMPLETED
        assert "said so" in stranger.logs(job_id)
        backend.cancel([job_id])
        assert backend.poll([job_id])[job_id].state is State.COMPLETED
        stranger.close()

    def test_a_failing_command_is_failed_with_its_code(self, backend: Backend) -> None:
        """A bad end is code's, and says what ended and how."""
        _, status = self.end(backend, self.python("raise SystemExit(3)"))
        assert (status.state, status.exit_code, status.blame) == (State.FAILED, 3, "code")
        assert "3" in status.reason

    def test_arguments_and_environment_arrive_and_are_not_executed(self, backend: Backend) -> None:
        """An argument list stays one, whatever is in it; so do values."""
        text = _TELL + "; import os; sys.stdout.write('=' + os.environ['VALUE'])"
        job = self.python(text, *_HOSTILE, name="$(touch x) 'y", environment={"VALUE": "$HOME '\""})
        job_id, status = self.end(backend, job)
        assert status.state is State.COMPLETED, backend.logs(job_id)
        assert "|".join(_HOSTILE) + "=$HOME '\"" in backend.logs(job_id)

    def test_secret_files_are_private_and_gone_afterwards(self, backend: Backend) -> None:
        """Secrets reach the job in a folder that only it can enter, and leave no trace."""
        job_id, status = self.end(backend, self.python(_SECRET, secret_files={"key": b"canary-0815"}))
        said = backend.logs(job_id)
        assert status.state is State.COMPLETED, said
        assert "modes 0o700 0o600" in said
        assert "length 11" in said
        assert "canary" not in said
        folder = next(line for line in said.splitlines() if line.startswith("folder ")).removeprefix("folder ")
        look = "import os, sys; print('there' if os.path.exists(sys.argv[1]) else 'gone')"
        later, _ = self.end(backend, self.python(look, folder))
        assert "gone" in backend.logs(later)

    def test_a_cancelled_job_is_cancelled(self, backend: Backend) -> None:
        """Cancelling is asked for once or often, and is no failure of the code."""
        job_id = backend.submit(self.job("sleep", "300"))
        self.until(backend, [job_id], lambda s: s.state is State.RUNNING)
        backend.cancel([job_id, JobId("999999999")])
        seen = self.until(backend, [job_id], lambda s: s.state.terminal)
        assert (seen[job_id].state, seen[job_id].blame) == (State.CANCELLED, "infrastructure")
        backend.cancel([job_id])

    def test_many_jobs_are_told_apart(self, backend: Backend) -> None:
        """Copies of a job know their number and their id, each has the secrets, and one poll tells about all."""
        tell = "import os; print('number', os.environ['VRECOMPUTE_INDEX'], 'of', os.environ['VRECOMPUTE_JOB'])"
        tell += "; assert open(os.environ['VRECOMPUTE_SECRETS'] + '/key').read() == 's3cr3t'"
        ids = backend.submit_many(self.python(tell, secret_files={"key": b"s3cr3t"}), 3)
        assert len(set(ids)) == 3
        seen = self.until(backend, ids, lambda s: s.state.terminal)
        assert {s.state for s in seen.values()} == {State.COMPLETED}
        assert all(f"number {index} of {job_id}" in backend.logs(job_id) for index, job_id in enumerate(ids))

    def test_a_job_with_workers_finds_them_as_any_dask_program_does(self, backend: Backend) -> None:
        """`distributed.Client()` without arguments is connected to the job's own workers."""
        self.needs(backend, "workers")
        job_id, status = self.end(backend, self.python(_SUM, workers=2), 3 * self.patience_s)
        assert status.state is State.COMPLETED, backend.logs(job_id)
        assert "sum 285" in backend.logs(job_id)

    def test_a_cluster_computes_scales_and_closes(self, backend: Backend) -> None:
        """Workers come, work, come back after a loss, and are gone when the cluster is closed."""
        self.needs(backend, "clusters")
        with backend.open_cluster(2) as cluster:
            client = cluster.client
            client.wait_for_workers(2, timeout=self.patience_s)
            assert sum(client.gather(client.map(_square, range(10), pure=False))) == 285
            cluster.scale(0)
            deadline = time.monotonic() + self.patience_s
            while client.nthreads() and time.monotonic() < deadline:
                time.sleep(0.2)
            assert not client.nthreads()
            cluster.scale(1)
            client.wait_for_workers(1, timeout=self.patience_s)
        cluster.close()

    def test_walltime_is_a_state_of_its_own(self, backend: Backend) -> None:
        """A job that outlives its walltime is TIMEOUT, which is not the fault of the code."""
        _, status = self.end(backend, self.job("sleep", "600", walltime_s=5), self.patience_s + 180)
        assert (status.state, status.blame) == (State.TIMEOUT, "infrastructure")
        assert status.reason

    def needs(self, backend: Backend, capability: str) -> None:
        """Skip where the driver says that it cannot."""
        if not getattr(backend.capabilities, capability):
            pytest.skip(f"{type(backend).__name__}.capabilities.{capability} is False")


def _square(number: int) -> int:
    return number * number
