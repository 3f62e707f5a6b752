"""Questions to the real Slurm: how many, and what a waiting or refused job is told."""

from __future__ import annotations

import time

import pytest

from vrecompute.batch.contract import Job, State, SubmitError
from vrecompute.sites.access import SshAccess
from vrecompute.sites.model import Ssh
from vrecompute.testing import BackendContract
from vrecompute_backends.slurm import SlurmBackend

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1200)]

until = BackendContract().until


class Counted(SshAccess):
    """An SshAccess that counts commands."""

    commands = 0

    def run(self, command, **options):
        """Run and count."""
        self.commands += 1
        return super().run(command, **options)


def test_500_jobs_are_submitted_polled_and_known_by_one_command_in_every_way(lab, rest):
    plain = lab.backend()
    access = Counted(lab.site.access.ssh, config=plain.access.config)
    submitter = SlurmBackend(plain.site, access)
    assert submitter.spool
    submitter.left_out.nodes()  # one look for all that is submitted soon
    access.commands = 0
    ids = submitter.submit_many(Job("many", ("sleep", "60"), memory_bytes=100 << 20), 500)
    assert access.commands == 1

    def poll_of_another(options):
        other = SlurmBackend(lab.backend(**options).site, access)
        other.poll(ids[:1])  # finds the spool, and the version of slurmrestd's interface
        time.sleep(plain.site.limits.min_poll)
        access.commands = 0
        seen = other.poll(ids)
        assert (access.commands, len(seen)) == (1, 500), options
        return {status.state for status in seen.values()}

    ways = [{}, {"prefer": "json"}, rest]
    for options in ways:
        assert poll_of_another(options) <= {State.QUEUED, State.RUNNING}, options
    submitter.cancel([ids[0].partition("_")[0]])
    until(submitter, ids, lambda s: s.state is State.CANCELLED, 240)
    for options in ways:
        assert poll_of_another(options) == {State.CANCELLED}, options


def test_polls_keep_their_distance(lab):
    plain = lab.backend()
    access = Counted(Ssh(host="login"), config=plain.access.config)
    backend = SlurmBackend(plain.site, access)
    ids = [backend.submit(Job("a", ("sleep", "20")))]
    backend.poll(ids)
    access.commands = 0
    for _ in range(20):
        backend.poll(ids)
    assert access.commands <= 1


@pytest.mark.parametrize(
    ("options", "job", "words"),
    [
        ({"partition": "nope"}, {}, "invalid partition"),
        ({"account": "nope"}, {}, "Invalid account"),
        ({}, {"memory_bytes": 1 << 40}, "Requested node configuration is not available"),
    ],
)
def test_a_refused_job_says_why_and_that_trying_again_is_no_use(lab, options, job, words):
    with pytest.raises(SubmitError, match=words) as refused:
        lab.backend(**options).submit(Job("a", ("true",), **job))
    assert not refused.value.transient


def test_waiting_jobs_say_what_they_wait_for(lab):
    closed = lab.backend(partition="closed")
    waits = closed.submit(Job("a", ("true",)))
    held = lab.backend(directives={"add": ["--hold"]})
    stays = held.submit(Job("b", ("true",)))
    seen = until(closed, [waits], lambda s: "options.partition" in s.reason, 30)
    assert seen[waits].state is State.QUEUED
    assert until(held, [stays], lambda s: s.state is State.HELD, 30)[stays].reason.endswith("lets it go")
    closed.cancel([waits, stays])


def test_nothing_of_a_secret_is_on_any_machine_afterwards(lab):
    backend = lab.backend()
    canary = f"canary-{time.time_ns()}"
    job_id = backend.submit(Job("a", ("sleep", "3"), secret_files={"key": canary.encode()}))
    until(backend, [job_id], lambda s: s.state is State.RUNNING, 240)
    arguments = "".join(lab.on(m, "sh", "-c", "cat /proc/[0-9]*/cmdline", check=False) for m in ("login", "c1", "c2"))
    assert canary not in arguments
    assert canary not in lab.on("login", "scontrol", "write", "batch_script", job_id, "-")
    until(backend, [job_id], lambda s: s.state.terminal, 240)
    assert canary not in lab.on("login", "grep", "-r", canary, "/home/alice/.local", check=False)
