"""`AnswerContract`: what a driver of a queue says beside the states of jobs, and what the layer above makes use of."""

from __future__ import annotations

import shlex
import time
from typing import Any

import pytest

from vrecompute.batch.contract import Backend, State
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Completed
from vrecompute.testing.suite import Suite

__all__ = ["AnswerContract"]


class AnswerContract(Suite):
    """Skipped for a driver that is no `QueueBackend`."""

    def test_an_answer_has_the_marks_of_commands_that_ended(self, backend: Backend) -> None:
        """A command leaves its exit code in the spool, which is believed before what the system says late or not.

        A driver that puts the two together itself (`merges_marks`) says so in its record.
        """
        queue = self.queue(backend)
        if not queue.shares_spool:
            pytest.skip(f"{type(backend).__name__}.shares_spool is False: jobs leave their marks elsewhere")
        job_id, _ = self.end(backend, self.python("raise SystemExit(3)"))
        answer = queue.ask_about([job_id])
        told: dict[int, int | None] = dict(answer.marks.get(job_id, {}))
        if self.merges_marks:
            told = {seen.status.attempt: seen.status.exit_code for i, seen in answer.records.items() if i == job_id}
        assert told == {0: 3}, "give the marks of `ask_site`"

    def test_what_no_source_knows_is_gone(self, backend: Backend) -> None:
        """A job whose end the system has forgotten, or whose node took it along, would else go on for ever."""
        queue = self.queue(backend)
        unseen = self.unseen_id(backend.submit(self.job("true")))
        assert queue.is_id(unseen), f"`is_id` does not take {unseen!r}: override {type(self).__name__}.unseen_id"
        answer = queue.ask_about([unseen])
        assert answer.gone == {unseen} or answer.instead or answer.silent, answer
        assert unseen not in answer.records, answer

    def test_an_answer_says_whether_there_is_accounting(self, backend: Backend) -> None:
        """A job that is gone is waited for twenty times longer where accounting may still tell of it."""
        queue = self.queue(backend)
        if self.accounting is None:
            pytest.skip(f"{type(self).__name__}.accounting is not set: whether ended jobs are recorded here")
        job_id, _ = self.end(backend, self.job("true"))
        assert queue.ask_about([job_id]).accounting is self.accounting

    def test_the_command_that_people_are_told_ends_a_job(self, backend: Backend) -> None:
        """`ending` is in messages about jobs that could not be cancelled."""
        queue = self.queue(backend)
        job_id = backend.submit(self.job("sleep", "300"))
        self.until(backend, [job_id], lambda s: s.state is State.RUNNING)
        done = queue.access.run([*shlex.split(queue.ending), job_id])
        try:
            assert done.code == 0, f"`{queue.ending} {job_id}`: {done.complaint}"
            self.until(backend, [job_id], lambda s: s.state is State.CANCELLED)
        finally:
            backend.cancel([job_id])

    def test_a_job_whose_node_went_is_charged_to_no_code(self, backend: Backend) -> None:
        """It is tried again elsewhere; taken for an end it would be a result that is not there."""
        self.queue(backend)
        job_id = backend.submit(self.job("sleep", "300"))
        self.until(backend, [job_id], lambda s: s.state is State.RUNNING)
        self.lose_node(backend, job_id)
        status = self.until(backend, [job_id], lambda s: s.state.terminal)[job_id]
        assert (status.state, status.blame) == (State.NODE_FAIL, "infrastructure"), status
        assert status.reason, status

    def test_a_system_that_is_not_there_does_not_greet(self, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
        """The probe says so, and runs are not begun."""
        queue = self.queue(backend)

        def absent(*given: Any, **options: Any) -> Completed:
            return Completed(127, b"", b"command not found")

        monkeypatch.setattr(queue.access, "run", absent)
        with pytest.raises(Unavailable):
            queue.greet()

    def test_a_running_job_s_time_goes_on_in_seconds(self, backend: Backend) -> None:
        """Of a system that counts it; one that counts in minutes is ahead or behind."""
        job_id = backend.submit(self.job("sleep", "300"))
        self.until(backend, [job_id], lambda s: s.state is State.RUNNING)
        first, at = backend.poll([job_id])[job_id].elapsed_s, time.monotonic()
        if first is not None:
            deadline = at + self.patience_s
            while True:
                time.sleep(4)
                passed, last = time.monotonic() - at, backend.poll([job_id])[job_id].elapsed_s or 0.0
                if 0.5 * passed <= last - first <= 2 * passed + 1:
                    break
                assert time.monotonic() < deadline, f"in {passed:.0f} s `elapsed_s` went from {first} to {last}"
        backend.cancel([job_id])
