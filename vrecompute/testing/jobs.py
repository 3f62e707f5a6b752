"""`JobContract`: jobs, as tests that run real ones."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from vrecompute.batch.contract import Backend, JobId, JobStatus, State
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.spool import secrets_folder
from vrecompute.errors import OutOfTime
from vrecompute.testing.suite import Suite
from vrecompute.workers.walltime import ATTEMPTS, BEGAN, ENDS

__all__ = ["JobContract"]

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
_AGAIN = """
import os, sys, time
attempt = int(os.environ["VRECOMPUTE_ATTEMPT"])
folder = os.environ.get("VRECOMPUTE_SECRETS", "")
key = os.path.join(folder, "key")
print("attempt", attempt, "began", open(key).read() if os.path.exists(key) else "", flush=True)
print("script began", os.environ["VRECOMPUTE_JOB_BEGAN"], "end", flush=True)
time.sleep(6 if attempt else float(sys.argv[1]))  # so that polls see it
sys.exit(0 if attempt else 75)
"""
#: What a job asks for that then uses four times as much.
_ASKED_BYTES = 128 << 20
_GROWS = f"import time; held = bytearray({4 * _ASKED_BYTES}); held[::4096] = b'x' * len(held[::4096]); time.sleep(60)"
#: What a job holds that asks for more, for as long as a system may need to see it; and how many times off a peak may be
#: that was sampled.
_HELD_BYTES, _FAR = 160 << 20, 100
_HOLDS = f"import time; held = bytearray({_HELD_BYTES}); held[::4096] = b'x' * len(held[::4096]); time.sleep(3)"
# How long an end is looked at.
_LATER_S = 8.0
# How far clocks of a site may be apart; how long an attempt lasts, from which the time of the next one does not count.
_SKEW_S, _FIRST_S = 5.0, 14.0
# How long after the end of a job its neighbours are looked at, and how many jobs are submitted for an id of two digits.
_NEIGHBOURS_S, _MOST_IDS = 3.0, 12


class JobContract(Suite):
    """One job, copies of it, and its ends."""

    def test_script_is_pure_and_holds_no_secret(self, make_backend: Callable[..., Backend]) -> None:
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

    def test_a_job_completes_and_stays_completed(self, backend: Backend, make_backend: Callable[..., Backend]) -> None:
        """The end of a job is seen by every poll with its id, now and later."""
        job_id, status = self.end(backend, self.python("print('said so')"))
        told = (status, backend.logs(job_id))
        assert (status.state, status.exit_code, status.blame) == (State.COMPLETED, 0, "none"), told
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
        job_id, status = self.end(backend, self.python("raise SystemExit(3)"))
        told = (status, backend.logs(job_id))
        assert (status.state, status.exit_code, status.blame) == (State.FAILED, 3, "code"), told
        assert "3" in status.reason, told

    def test_a_job_that_is_killed_is_failed(self, backend: Backend) -> None:
        """What a signal ends leaves no mark in the spool: the batch system alone tells of it, by code or by signal.

        One kills the command, whose script ends with 137; another one the script too.
        """
        its_own = ["os.getpid()", *(["os.getppid()"] if isinstance(backend, QueueBackend) else [])]
        for killed in (its_own[:1], its_own[::-1]):
            kills = "import os; " + "; ".join(f"os.kill({process}, 9)" for process in killed)
            job_id, status = self.end(backend, self.python(kills))
            said = backend.logs(job_id)
            assert status.state is State.FAILED, (status, said)
            assert status.exit_code != 0, (status, said)
            assert status.exit_code or status.signal or not isinstance(backend, QueueBackend), (status, said)
            assert job_id in status.reason or not isinstance(backend, QueueBackend), (status, said)

    def test_a_job_that_uses_too_much_memory_is_oom(self, make_backend: Callable[..., Backend]) -> None:
        """It is charged to memory, and the chunk that it worked on is not bad."""
        backend = make_backend(**self.over_memory())
        job_id, status = self.end(backend, self.python(_GROWS, memory_bytes=_ASKED_BYTES))
        assert (status.state, status.blame) == (State.OOM, "memory"), (status, backend.logs(job_id))
        assert status.reason, status

    def test_memory_is_told_in_bytes(self, backend: Backend) -> None:
        """Of a system that tells it: read in another unit, a job seems to need a thousandth, or a thousand times more.

        A system that takes samples may have seen a part of what the job had.
        """
        job = self.python(_HOLDS)
        job_id, status = self.end(backend, job)
        assert status.state is State.COMPLETED, (status, backend.logs(job_id))
        limit, peak, asked = status.memory_limit_bytes, status.memory_peak_bytes, job.memory_bytes or 0
        assert limit is None or limit >= asked, (
            f"`memory_limit_bytes` is {limit} of a job that asked for {asked} bytes: which unit is it in?"
        )
        assert not peak or _HELD_BYTES / _FAR <= peak <= _HELD_BYTES * _FAR, (
            f"`memory_peak_bytes` is {peak} of a job that held {_HELD_BYTES} bytes: which unit is it in?"
        )

    def test_arguments_and_environment_arrive_and_are_not_executed(self, backend: Backend) -> None:
        """An argument list stays one, whatever is in it; so do values."""
        text = _TELL + "; import os; sys.stdout.write('=' + os.environ['VALUE'])"
        job = self.python(text, *_HOSTILE, name="$(touch x) 'y", environment={"VALUE": "$HOME '\""})
        job_id, status = self.end(backend, job)
        assert status.state is State.COMPLETED, backend.logs(job_id)
        assert "|".join(_HOSTILE) + "=$HOME '\"" in backend.logs(job_id)

    def test_secret_files_are_private_and_gone_afterwards(self, backend: Backend) -> None:
        """Secrets reach the job in a folder that only it can enter, and leave no trace."""
        job = self.python(_SECRET, secret_files={"key": b"canary-0815"})
        job_id, status = self.end(backend, job)
        said = backend.logs(job_id)
        assert status.state is State.COMPLETED, said
        assert "modes 0o700 0o600" in said
        assert "length 11" in said
        assert "canary" not in said
        folder = next(line for line in said.splitlines() if line.startswith("folder ")).removeprefix("folder ")
        look = "import os, sys; print('there' if os.path.exists(sys.argv[1]) else 'gone')"
        later, _ = self.end(backend, self.python(look, folder))
        assert "gone" in backend.logs(later)
        if isinstance(backend, QueueBackend):  # nor where they were brought from, once its end is known
            left = backend.access.names(backend.spool)
            assert not [name for name in left if name.startswith(secrets_folder(job))]

    def test_a_job_is_found_by_its_name(self, backend: Backend, make_backend: Callable[..., Backend]) -> None:
        """By a client that never had its id, as long as it may go on; a longer name is another."""
        if type(backend).named is Backend.named:
            pytest.skip(f"{type(backend).__name__} cannot look for jobs by their name")
        job = self.job("sleep", "300", name=f"named-{time.time_ns():x}")
        job_id, stranger = backend.submit(job), make_backend()
        assert stranger.named(job.name) == [job_id]
        assert stranger.named(job.name[:-1]) == []
        backend.cancel([job_id])
        self.until(backend, [job_id], lambda s: s.state.terminal)
        deadline = time.monotonic() + self.patience_s
        while stranger.named(job.name):
            assert time.monotonic() < deadline, "a job that was cancelled is found as if it went on"
            time.sleep(0.5)
        stranger.close()

    def test_a_cancelled_job_is_cancelled(self, backend: Backend) -> None:
        """Cancelling is asked for once or often, and is no failure of the code."""
        ids = [backend.submit(self.job("sleep", "300")) for _ in range(2)]
        self.until(backend, ids, lambda s: s.state is State.RUNNING)
        backend.cancel([JobId("999999999"), self.unseen_id(ids[0]), *ids])
        seen = self.until(backend, ids, lambda s: s.state.terminal)
        assert {(s.state, s.blame) for s in seen.values()} == {(State.CANCELLED, "infrastructure")}
        assert all(s.reason for s in seen.values())
        backend.cancel(ids)

    def test_a_cancel_of_one_job_leaves_its_neighbours(self, backend: Backend) -> None:
        """Copies that came with it, and jobs whose id only begins as its does."""
        ended, *others = ids = backend.submit_many(self.job("sleep", "300"), 3)
        self.until(backend, ids, lambda s: s.state is State.RUNNING)
        backend.cancel([ended])
        self.until(backend, [ended], lambda s: s.state is State.CANCELLED)
        time.sleep(_NEIGHBOURS_S)
        seen = backend.poll(others)
        assert not [s for s in seen.values() if s.state.terminal], f"{ended} alone was to be cancelled: {seen}"
        backend.cancel(others)
        if not isinstance(backend, QueueBackend):
            return
        for _ in range(_MOST_IDS):  # of a system that has had few jobs, ids have one digit
            job_id = backend.submit(self.job("sleep", "300"))
            over = [i for i in _shorter(job_id) if backend.is_id(i) and not self._may_go_on(backend, i)]
            if over:
                self.until(backend, [job_id], lambda s: s.state is State.RUNNING)
                backend.end(over)
                time.sleep(_NEIGHBOURS_S)
                seen = backend.poll([job_id])
                assert not seen[job_id].state.terminal, f"{over} were to be ended: {seen}"
            backend.cancel([job_id])
            if over:
                return

    def _may_go_on(self, backend: Backend, job_id: JobId) -> bool:
        """Whether it may be a job of this user that has not ended."""
        state = backend.poll([job_id])[job_id].state
        return not state.terminal and state is not State.UNKNOWN

    def test_an_end_stays_what_it_is(self, backend: Backend) -> None:
        """Whatever is polled later: a run has acted on it."""
        ids = [backend.submit(self.python(f"raise SystemExit({code})")) for code in (0, 3)]
        ids.append(backend.submit(self.job("sleep", "300")))
        self.until(backend, ids[2:], lambda s: s.state is State.RUNNING)
        backend.cancel(ids[2:])
        ended = self.until(backend, ids, lambda s: s.state.terminal)
        states = [ended[i].state for i in ids]
        assert states == [State.COMPLETED, State.FAILED, State.CANCELLED], [backend.logs(i) for i in ids]
        deadline = time.monotonic() + _LATER_S
        while time.monotonic() < deadline:
            seen = backend.poll(ids)
            assert {i: (s.state, s.attempt) for i, s in seen.items()} == {
                i: (s.state, s.attempt) for i, s in ended.items()
            }
            time.sleep(0.5)

    def test_many_jobs_are_told_apart(self, backend: Backend) -> None:
        """Copies of a job know their number and their id, each has the secrets, and one poll tells about all."""
        tell = "import os; print('number', os.environ['VRECOMPUTE_INDEX'], 'of', os.environ['VRECOMPUTE_JOB'])"
        tell += "; assert open(os.environ['VRECOMPUTE_SECRETS'] + '/key').read() == 's3cr3t'"
        job = self.python(tell, name=f"copies-{time.time_ns():x}", secret_files={"key": b"s3cr3t"})
        ids = backend.submit_many(job, 3)
        if isinstance(backend, QueueBackend):  # a client that knows the name alone asks about them, and ends them
            refused = [taken for taken in backend.ages(job.name) if not backend.is_id(taken)]
            assert not refused, f"`is_id` does not take {refused}, which `ages` gives for three copies: `hand_in`'s id"
        assert len(set(ids)) == 3, f"`copies` gives {ids} for three copies"
        self.ended_well(backend, ids)
        for index, job_id in enumerate(ids):
            said, wanted = backend.logs(job_id), f"number {index} of {job_id}"
            assert wanted in said, (
                f"the log of job {job_id}, copy {index} of {ids}, is {said!r}, without {wanted!r}: `variables` give a "
                "job its id as `copies` made it and its number from 0, and `log` names another file for each"
            )

    def test_each_copy_keeps_its_secrets_until_it_ends(self, backend: Backend) -> None:
        """The first copy to end leaves those of the others, and so do jobs of the same that ended before."""
        read = "import os, time; time.sleep(3 * int(os.environ['VRECOMPUTE_INDEX'])); "
        read += "print('key', open(os.environ['VRECOMPUTE_SECRETS'] + '/key').read())"
        for _ in range(2):
            ids = backend.submit_many(self.python(read, secret_files={"key": b"s3cr3t"}), 2)
            self.until(backend, ids, lambda s: s.state.terminal)
            logs = [backend.logs(i) for i in ids]
            assert ["key s3cr3t" in log for log in logs] == [True, True], (ids, logs, backend.poll(ids))

    def test_a_running_job_shows_its_log_and_for_how_long_it_runs(self, backend: Backend) -> None:
        """It can be seen how far it came, and since when; a system that does not count the time says None."""
        tell = f"import os, time; print('began', os.environ['{BEGAN}'], 'end', flush=True); time.sleep(300)"
        job_id = backend.submit(self.python(tell))
        began = float(self.until_said(backend, job_id, "began", "end").split("began ")[1].split()[0])
        seen = self.until(backend, [job_id], lambda s: s.state is not State.QUEUED)[job_id]
        assert seen.state is State.RUNNING
        assert seen.elapsed_s is None or abs(time.time() - began - seen.elapsed_s) <= 2 * _SKEW_S
        backend.cancel([job_id])

    def test_a_cancel_ends_the_process_itself(self, backend: Backend) -> None:
        """A job that is CANCELLED and goes on is charged for, and may write what is not expected."""
        beat = "import itertools, time\nfor n in itertools.count(): print(n, flush=True); time.sleep(0.2)"
        job_id = backend.submit(self.python(beat))
        self.until_said(backend, job_id, "\n5\n")
        backend.cancel([job_id])
        self.until(backend, [job_id], lambda s: s.state is State.CANCELLED)
        deadline = time.monotonic() + min(60.0, self.patience_s)
        before = ""
        while (said := backend.logs(job_id)) != before:
            assert time.monotonic() < deadline, f"still writing: {said[-20:]!r}"
            before = said
            time.sleep(2)

    def test_a_job_knows_when_it_began_and_when_it_ends(self, backend: Backend) -> None:
        """Workers leave, and parts are written, before the walltime; a system may count it in minutes."""
        began = time.time()
        tell = f"import os; print('times', os.environ['{BEGAN}'], os.environ['{ENDS}'], 'end')"
        job_id, status = self.end(backend, self.python(tell, walltime_s=240))
        assert status.state is State.COMPLETED, backend.logs(job_id)
        words = backend.logs(job_id).partition("times ")[2].split()
        assert began - _SKEW_S <= float(words[0]) <= time.time() + _SKEW_S
        assert 240 <= float(words[1]) - float(words[0]) <= 300

    def test_a_command_out_of_time_goes_on_in_another_attempt(self, backend: Backend) -> None:
        """It has the same id, its secrets, and knows that it is not the first; the end is that of the last.

        Where the system has no command for it (`requeue` is empty) and does not do so by itself (`goes_on`), there is
        one attempt, which says that it was so.
        """
        commanded = not isinstance(backend, QueueBackend) or bool(backend.requeue)
        if not (commanded if self.goes_on is None else self.goes_on):
            job_id, status = self.end(backend, self.python(_AGAIN, "0", requeue=True))
            ended = (status.state, status.exit_code, status.attempt)
            assert ended == (State.FAILED, OutOfTime.exit_code, 0), backend.logs(job_id)
            return
        job = self.python(_AGAIN, str(_FIRST_S), requeue=True, secret_files={"key": b"s3cr3t"})
        job_id, attempts = backend.submit(job), set[int]()
        ran: list[tuple[float, float]] = []

        def over(status: JobStatus) -> bool:
            attempts.update([] if status.state.terminal else [status.attempt])
            if (status.state, status.attempt) == (State.RUNNING, 1) and status.elapsed_s is not None:
                ran.append((time.time(), status.elapsed_s))
            return status.state.terminal

        status = self.until(backend, [job_id], over, 4 * self.patience_s)[job_id]
        said = backend.logs(job_id)
        assert (attempts, status.attempt) == ({0, 1}, 1), "a status says which attempt it is of"
        assert (status.state, status.exit_code) == (State.COMPLETED, 0), said
        assert "attempt 0 began" in said
        assert "attempt 1 began" in said
        assert said.count("s3cr3t") == 2
        began = float(said.rpartition("script began ")[2].split()[0])
        more = [f"{elapsed_s:.0f} s" for at, elapsed_s in ran if elapsed_s > max(0.0, at - began) + 2 * _SKEW_S]
        assert not more, f"`elapsed_s` of the second attempt counts what was before it: {more}"

    def test_a_job_knows_its_attempt_as_a_number(self, backend: Backend) -> None:
        """From 0 up: the mark that it leaves is named by it, and is believed of that attempt alone."""
        tell = "import os; print('attempt', repr(os.environ['VRECOMPUTE_ATTEMPT']), 'end')"
        job_id, status = self.end(backend, self.python(tell))
        said = backend.logs(job_id)
        assert "attempt '0' end" in said, f"the first attempt of a job is number 0 (`variables`): {said!r}"
        assert (status.state, status.attempt) == (State.COMPLETED, 0), (status, said)

    def test_no_attempt_more_than_is_paid_for(self, backend: Backend) -> None:
        """The limit is the site's core-hours; without `requeue` there is one attempt."""
        for changes in ({"requeue": True, "environment": {ATTEMPTS: "1"}}, {"requeue": False}):
            job_id, status = self.end(backend, self.python(_AGAIN, "0", **changes))
            assert (status.state, status.exit_code) == (State.FAILED, OutOfTime.exit_code), backend.logs(job_id)

    def test_polls_at_the_same_time_answer_what_each_asked(self, backend: Backend) -> None:
        """Every run polls from its own thread."""
        ids = backend.submit_many(self.job("sleep", "300"), 2)
        asked = [[ids[n % 2], JobId(f"99999999{n}")] for n in range(24)]
        with ThreadPoolExecutor(8) as pool:
            seen = list(pool.map(backend.poll, asked))
        assert [list(statuses) for statuses in seen] == asked
        assert {statuses[i[1]].state for i, statuses in zip(asked, seen, strict=True)} == {State.UNKNOWN}
        backend.cancel(ids)

    def test_the_site_s_variables_reach_the_job_and_its_own_win(self, make_backend: Callable[..., Backend]) -> None:
        """Values are taken as they are written, but for `$NAME`, which is resolved on the site."""
        environment = make_backend().site.environment
        given = {**environment.variables, "VRE_SITE": "of the 'site' `echo`", "VRE_BOTH": "site"}
        backend = make_backend(environment=replace(environment, variables=given))
        tell = "import os; print(os.environ['VRE_SITE'], os.environ['VRE_BOTH'], sep='|')"
        job_id, status = self.end(backend, self.python(tell, environment={"VRE_BOTH": "job"}))
        assert status.state is State.COMPLETED, backend.logs(job_id)
        assert "of the 'site' `echo`|job" in backend.logs(job_id)
        backend.close()

    def test_a_probe_finds_facts_and_says_what_to_write_about_bad_ones(self, backend: Backend) -> None:
        """It sends a job through the real queue, where there is one."""
        findings = backend.probe()
        assert len(findings) > 1, findings
        assert all(f.detail and (f.ok or f.advice) for f in findings), findings
        if isinstance(backend, QueueBackend):
            assert backend.greet().strip(), "`greet` is the system's name and version"
            assert {"queue": True}.items() <= {f.check: f.ok for f in findings}.items(), findings


def _shorter(job_id: JobId) -> list[JobId]:
    """The ids that lack the last digit of one of its numbers."""
    numbers = (found for found in re.finditer(r"[0-9]{2,}", job_id))
    return [JobId(job_id[: found.end() - 1] + job_id[found.end() :]) for found in numbers]
