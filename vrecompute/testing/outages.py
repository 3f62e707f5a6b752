"""`OutageContract`: a question that failed is no answer, and an order that failed was not carried out."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from vrecompute.batch.contract import Backend, State
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Completed
from vrecompute.testing.suite import Suite

__all__ = ["OutageContract"]

_REFUSAL = "Connection refused: the system does not answer"
#: The head of a part of a poll, see `batch.parts`.
_HEAD = re.compile(r"^==== ([a-z_]{1,40}) [0-9]{1,9}(.*)\n", re.MULTILINE)


class OutageContract(Suite):
    """Skipped for a driver that is no `QueueBackend`."""

    def test_a_list_that_failed_is_not_an_empty_one(self, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
        """A job whose answer was lost would be taken for one that was refused, and submitted twice."""
        queue = self.queue(backend)
        job = self.job("sleep", "300", name=f"listed-{time.time_ns():x}")
        job_id = backend.submit(job)
        with monkeypatch.context() as patch:
            patch.setattr(queue.access, "run", _refuse)
            with pytest.raises(Unavailable):
                queue.ages(job.name)
        backend.cancel([job_id])

    def test_a_cancel_that_failed_is_not_one_that_was_done(
        self, backend: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its jobs go on and are charged for: they are owed a cancel, which is asked for again with the next poll."""
        queue = self.queue(backend)
        job_id = backend.submit(self.job("sleep", "300"))
        with monkeypatch.context() as patch:
            patch.setattr(queue.access, "run", _refuse)
            with pytest.raises(Unavailable):
                queue.end([job_id])
            with pytest.raises(Unavailable):
                backend.cancel([job_id])
        assert list(queue.owed) == [job_id]
        self.until(backend, [job_id], lambda s: s.state is State.CANCELLED)

    def test_a_question_of_several_that_failed_makes_no_job_gone(
        self, make_backend: Callable[..., Backend], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Accounting that is down does not say that nothing ended; a queue that is down, not that nothing runs."""
        backend = self.queue(make_backend())
        over = backend.submit(self.job("sleep", "300"))
        self.until(backend, [over], lambda s: s.state is State.RUNNING)
        backend.cancel([over])
        self.until(backend, [over], lambda s: s.state.terminal)
        goes_on = backend.submit(self.job("sleep", "300"))
        self.until(backend, [goes_on], lambda s: s.state is State.RUNNING)
        stranger, run = self.queue(make_backend()), backend.access.run
        names = list[str]()

        def noted(*words: Any, **options: Any) -> Completed:
            done = run(*words, **options)
            names.extend(found[1] for found in _HEAD.finditer(done.text))
            return done

        with monkeypatch.context() as patch:
            patch.setattr(stranger.access, "run", noted)
            stranger.ask_about([goes_on, over])
        if len(names) < 2:
            backend.cancel([goes_on])
            pytest.skip(f"{type(backend).__name__}.ask_about asks one question, or tells no parts (`tell`)")
        for name in names:

            def without(*words: Any, silent: str = name, **options: Any) -> Completed:
                return _silenced(run(*words, **options), silent)

            with monkeypatch.context() as patch:
                patch.setattr(stranger.access, "run", without)
                answer = stranger.ask_about([goes_on, over])
            assert not answer.gone, f"{name} did not answer, and jobs are called gone: {answer}"
            seen = answer.records.get(goes_on)
            assert seen is None or not seen.status.state.terminal, f"{name} did not answer: {answer}"
        backend.cancel([goes_on])


def _refuse(*words: Any, **options: Any) -> Completed:
    """What a command ends with whose daemon is down."""
    del words, options
    return Completed(1, b"", _REFUSAL.encode())


def _silenced(done: Completed, name: str) -> Completed:
    """The output of a poll in which one of its questions failed."""
    said, heads = done.text, list(_HEAD.finditer(done.text))
    for head, end in zip(heads, [*(other.start() for other in heads[1:]), len(said)], strict=True):
        if head[1] == name:
            said = f"{said[: head.start()]}==== {name} 1{head[2]}\n{_REFUSAL}\n{said[end:]}"
            break
    return replace(done, stdout=said.encode())
