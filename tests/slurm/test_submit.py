"""Submissions to the real Slurm whose answers are lost: one job is there, and it is the one that was wanted."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace

import pytest

from tests.slurm.lab import SITE
from vrecompute.batch.contract import Job, State, SubmitError
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Completed, SshAccess
from vrecompute.testing import BackendContract
from vrecompute_backends.slurm import SlurmBackend

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

until = BackendContract().until
READS = ("sh", "-c", 'sleep 1; cat "$VRECOMPUTE_SECRETS/key"')


class Lossy(SshAccess):
    """A connection that loses the answer of an sbatch: `lost` says how, and `cut` whether all later ones too."""

    def __init__(self, config, lost):
        super().__init__(SITE.access.ssh, config=config)
        self.lost, self.cut = lost, False

    def run(self, command, **options):
        """Run it there, if not cut."""
        if self.cut:
            raise Unavailable("no connection")
        done = super().run(command, **options)
        if "sbatch" not in command or not self.lost:
            return done
        assert done.code == 0, done.complaint
        lost, self.lost = self.lost, ""
        if lost == "timeout":
            said = b"sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n"
            return Completed(1, b"", said)
        self.cut = lost == "cut"
        raise Unavailable("the connection broke")


@pytest.fixture
def lossy(lab):
    def make(lost, **options):
        site = replace(lab.site, options={**lab.site.options, **options}, limits=replace(lab.site.limits, min_poll=1.0))
        return SlurmBackend(site, Lossy(lab.keys / "ssh_config", lost))

    return make


@pytest.fixture
def name():
    return f"lossy-{os.urandom(4).hex()}"


def queued(lab, name):
    """{id: state} of the jobs of a name, ended or not; an array counts as one."""
    lines = lab.on("login", "squeue", "-h", "-t", "all", "-o", "%F %T", f"--name={name}").splitlines()
    return dict(line.split() for line in lines)


def secrets(lab, backend):
    """The folders of secrets in the spool; other tests may have left some by killing their clients."""
    return {name for name in lab.on("login", "ls", backend.spool).split() if name.startswith("secrets-")}


@pytest.mark.parametrize(("lost", "count"), [("timeout", 1), ("broken", 3)])
def test_a_job_that_was_taken_is_not_submitted_again(lab, lossy, name, caplog, lost, count):
    backend = lossy(lost)
    with caplog.at_level(logging.WARNING):
        ids = backend.submit_many(Job(name, READS, memory_bytes=50 << 20, secret_files={"key": b"s3cr3t"}), count)
    assert "was taken although the answer was lost" in caplog.text
    assert list(queued(lab, name)) == [ids[0].partition("_")[0]]
    seen = until(backend, ids, lambda s: s.state.terminal, 120)
    assert [s.state for s in seen.values()] == [State.COMPLETED] * count
    assert [backend.logs(i).strip() for i in ids] == ["s3cr3t"] * count
    again = backend.submit(Job(name, ("true",)))
    assert again not in ids


def test_one_that_cannot_be_asked_for_is_cancelled_before_the_next(lab, lossy, name):
    backend, left = lossy("cut"), secrets(lab, lab.backend())
    job = Job(name, ("sleep", "60"), secret_files={"key": b"s3cr3t"})
    with pytest.raises(Unavailable, match="broke"):
        backend.submit(job)
    with pytest.raises(Unavailable, match="no connection"):
        backend.submit(job)
    (stray,) = queued(lab, name)
    backend.access.cut = False
    wanted = backend.submit(replace(job, secret_files={"key": b"other"}))
    seen = queued(lab, name)
    assert seen.pop(stray) in {"CANCELLED", "COMPLETING"}
    assert list(seen) == [wanted]
    backend.cancel([wanted])
    until(backend, [wanted], lambda s: s.state.terminal, 120)
    assert secrets(lab, backend) <= left


def test_a_poll_settles_it_too(lab, lossy, name):
    backend = lossy("cut")
    other = lab.backend().submit(Job(f"{name}-other", ("sleep", "60")))
    with pytest.raises(Unavailable):
        backend.submit(Job(name, ("sleep", "60")))
    backend.access.cut = False
    assert not backend.poll([other])[other].state.terminal
    assert set(queued(lab, name).values()) <= {"CANCELLED", "COMPLETING"}
    assert set(queued(lab, f"{name}-other").values()) <= {"PENDING", "RUNNING"}


def test_of_a_refused_submission_no_secret_stays(lab, name):
    backend = lab.backend(partition="nowhere")
    left = secrets(lab, backend)
    with pytest.raises(SubmitError, match="partition"):
        backend.submit_many(Job(name, READS, secret_files={"key": b"s3cr3t"}), 2)
    assert secrets(lab, backend) <= left


def test_copies_have_secrets_of_their_own_where_there_are_no_arrays(lab, name):
    backend = lab.backend(array=False)
    left = secrets(lab, backend)
    ids = backend.submit_many(Job(name, READS, memory_bytes=50 << 20, secret_files={"key": b"s3cr3t"}), 2)
    seen = until(backend, ids, lambda s: s.state.terminal, 120)
    assert [s.state for s in seen.values()] == [State.COMPLETED] * 2
    assert [backend.logs(i).strip() for i in ids] == ["s3cr3t"] * 2
    deadline = time.monotonic() + 30  # a job says how it ended, and then removes them
    while not secrets(lab, backend) <= left:
        assert time.monotonic() < deadline
        time.sleep(0.2)
