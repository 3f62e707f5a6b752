"""Questions to the real Slurm: how many, what silence means, what a waiting or refused job is told."""

from __future__ import annotations

import time

import pytest

from vrecompute.access import SshAccess
from vrecompute.backend import Job, State, SubmitError
from vrecompute.errors import Unavailable
from vrecompute.site import Ssh
from vrecompute.testing import BackendContract
from vrecompute_backends.slurm import SlurmBackend

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

until = BackendContract().until


class Counted(SshAccess):
    """An SshAccess that counts commands."""

    commands = 0

    def run(self, command, **options):
        """Run and count."""
        self.commands += 1
        return super().run(command, **options)


def test_a_poll_of_500_jobs_is_one_command_and_so_is_their_submission(lab):
    plain = lab.backend()
    access = Counted(lab.site.access.ssh, config=plain.access.config)
    backend = SlurmBackend(plain.site, access)
    assert backend.spool
    access.commands = 0
    ids = backend.submit_many(Job("many", ("sleep", "60"), memory_bytes=100 << 20), 500)
    assert access.commands == 1
    seen = backend.poll(ids)
    assert access.commands == 2
    assert len(seen) == 500
    assert {s.state for s in seen.values()} <= {State.QUEUED, State.RUNNING}
    backend.cancel([ids[0].partition("_")[0]])
    time.sleep(1.1)
    ended = SlurmBackend(plain.site, access)
    assert ended.spool
    access.commands = 0
    until(ended, ids[-2:], lambda s: s.state is State.CANCELLED, 60)
    access.commands = 0
    fresh = SlurmBackend(plain.site, access)
    fresh.poll(ids)
    assert access.commands == 2, "one to find the spool, one poll, though all have ended"


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


def test_json_and_text_agree_about_jobs_that_ended(lab):
    text = lab.backend()
    ids = [text.submit(Job("a", ("sh", "-c", f"exit {code}"))) for code in (0, 3)]
    ids += text.submit_many(Job("b", ("true",)), 2)
    seen = until(text, ids, lambda s: s.state.terminal, 60)
    as_json = until(lab.backend(prefer="json"), ids, lambda s: s.state.terminal, 60)
    assert {i: (s.state, s.exit_code, s.node) for i, s in seen.items()} == {
        i: (s.state, s.exit_code, s.node) for i, s in as_json.items()
    }


def test_slurmrestd_says_the_same_and_its_token_is_in_no_argument(lab, tmp_path):
    text = lab.backend()
    ids = [text.submit(Job("a", ("sh", "-c", f"exit {code}"))) for code in (0, 3)]
    seen = until(text, ids, lambda s: s.state.terminal, 60)
    (tmp_path / "token").write_text(lab.on("login", "scontrol", "token", "lifespan=600"))
    options = {"prefer": "rest", "rest_url": "http://head:6820"}
    rest = lab.backend(**options, rest_token_file=str(tmp_path / "token"))
    by_rest = until(rest, ids, lambda s: s.state.terminal, 60)
    assert {i: (s.state, s.exit_code, s.node) for i, s in seen.items()} == {
        i: (s.state, s.exit_code, s.node) for i, s in by_rest.items()
    }
    (tmp_path / "token").write_text("not.a.token")
    refused = lab.backend(**options, rest_token_file=str(tmp_path / "token"))
    assert {s.state for s in refused.poll(ids).values()} == {State.UNKNOWN}, "no answer is no end"


def test_while_slurmctld_is_silent_nothing_ends(lab):
    backend = lab.backend()
    runs = backend.submit(Job("a", ("sleep", "300"), walltime_s=600))
    ended = backend.submit(Job("b", ("true",)))
    until(backend, [runs], lambda s: s.state is State.RUNNING, 60)
    until(backend, [ended], lambda s: s.state is State.COMPLETED, 60)
    pid = lab.on("head", "pidof", "slurmctld").split()[0]
    lab.on("head", "kill", "-STOP", pid)
    try:
        stopped = time.monotonic()
        while time.monotonic() - stopped < 60:
            seen = backend.poll([runs, ended])
            assert (seen[runs].state, seen[ended].state) == (State.RUNNING, State.COMPLETED)
            time.sleep(2)
        stranger = lab.backend()
        assert stranger.poll([runs])[runs].state in {State.UNKNOWN, State.RUNNING}
        with pytest.raises((SubmitError, Unavailable)) as refused:
            stranger.submit(Job("c", ("true",)))
        assert refused.value.exit_code == 5, "trying again later makes sense"
    finally:
        lab.on("head", "kill", "-CONT", pid)
    backend.cancel([runs])
    until(backend, [runs], lambda s: s.state is State.CANCELLED, 90)


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
    until(backend, [job_id], lambda s: s.state is State.RUNNING, 60)
    arguments = "".join(lab.on(m, "sh", "-c", "cat /proc/[0-9]*/cmdline", check=False) for m in ("login", "c1", "c2"))
    assert canary not in arguments
    assert canary not in lab.on("login", "scontrol", "write", "batch_script", job_id, "-")
    until(backend, [job_id], lambda s: s.state.terminal, 60)
    assert canary not in lab.on("login", "grep", "-r", canary, "/home/alice/.local", check=False)
