"""`Known`: what is believed of each job, after answers that lag, are silent, or say less than the system knows.

a mark in the spool     the command ended by itself: believed before all else
an answer               the system's word; a bad end that may still be explained is not believed yet
silence                 changes nothing
unknown to all          once that stays so for long enough, the job has ended without a trace
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from vrecompute.batch.contract import JobId, JobStatus, State, latest
from vrecompute.batch.post_mortem import how_it_ended

__all__ = ["Answer", "Known", "Seen"]

#: How long a job that ended badly waits for accounting to say why, before the queue's word is taken for it; and how
#: long one that was killed, for its memory or not, while accounting is silent.
_ACCOUNTING_S, _SILENCE_S = 30.0, 300.0
#: How long, and how often in a row, a job must be unknown to all that answer before it is over: only the queue may lag,
#: unless there is accounting that may have much to catch up with.
_GONE_S, _GONE_ACCOUNTED_S, _GONE_LOOKS = 30.0, 600.0, 3
#: After how many answers in a row an attempt before the latest is no answer that lags.
_BACKWARDS_LOOKS = 5
_LOG = logging.getLogger(__name__)

Record = TypeVar("Record")


@dataclass(frozen=True)
class Seen:
    """What an answer says of one job. `explained`: no more about its end is to come.

    `unclear`: only accounting can tell this end from another one, as a kill from a kill for memory. `secrets`: the
    folder in the spool that its secret files are brought from, where the system tells.
    """

    status: JobStatus
    explained: bool = True
    unclear: bool = False
    secrets: str = ""


@dataclass(frozen=True)
class Answer(Generic[Record]):
    """What one query learned of the jobs that it asked for.

    `silent`: accounting did not answer, so that what it knows is still to come. `instead`: what came instead of
    an answer about jobs that are not over, empty if one came. `gone`: ids that no source knows, although all
    of them answered; `accounting`: whether there is any here. `marks`: exit codes by attempt, of the spool.
    """

    records: Mapping[str, Record] = field(default_factory=dict)
    silent: bool = False
    instead: str = ""
    gone: frozenset[str] = frozenset()
    accounting: bool = True
    marks: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def meaning(self, seen: Callable[[Record], Seen]) -> Answer[Seen]:
        """The answer with what each record means in place of the record."""
        records = {job_id: seen(record) for job_id, record in self.records.items()}
        return Answer(records, self.silent, self.instead, self.gone, self.accounting, self.marks)


class Known:
    """The jobs of one Backend. `system` is the batch system's name in sentences; `lags`: accounting may come late."""

    def __init__(self, system: str, *, lags: bool = True) -> None:
        self.system, self._lags = system, lags
        self._statuses: dict[str, JobStatus] = {}
        self._ended: dict[str, float] = {}
        self._cancelled: set[str] = set()
        self._missed: dict[str, tuple[float, int]] = {}
        self._backwards: dict[str, int] = {}
        self._silent = float("-inf")

    def status(self, job_id: str) -> JobStatus:
        """What is believed now; UNKNOWN of a job that was never heard of."""
        return self._statuses.get(job_id, JobStatus(State.UNKNOWN))

    def submitted(self, ids: Iterable[JobId]) -> None:
        """These were taken a moment ago."""
        self._statuses.update(dict.fromkeys(ids, JobStatus(State.QUEUED)))

    def cancelled(self, ids: Iterable[JobId]) -> None:
        """These were cancelled here: why they end needs no explanation."""
        self._cancelled.update(ids)

    def silence(self) -> None:
        """Accounting, or all of the site, did not answer."""
        self._silent = time.monotonic()

    def take(self, answer: Answer[Seen]) -> None:
        """Learn from an answer."""
        if answer.silent:
            self.silence()
        for job_id in {*answer.records, *answer.marks}:
            self._missed.pop(job_id, None)
            self._learn(job_id, _marked(job_id, answer.records.get(job_id), answer.marks.get(job_id, {})))
        for job_id in answer.gone - set(answer.marks):
            self._miss(job_id, accounting=answer.accounting)

    def _learn(self, job_id: str, seen: Seen) -> None:
        status = seen.status
        bad = status.state.terminal and status.blame != "none"
        if bad and not seen.explained and self._may_be_explained(job_id, seen):
            # a terminal state cannot be taken back
            reason = f"job {job_id} has ended; {self.system} does not say why yet"
            status = replace(status, state=State.RUNNING, reason=reason)
        self._mind_attempts(job_id, status)
        self._statuses[job_id] = latest(self._statuses.get(job_id), status)

    def _mind_attempts(self, job_id: str, status: JobStatus) -> None:
        """Say it once where a driver keeps telling of an attempt before the latest: what it says is not believed."""
        known = self.status(job_id)
        if status.state is State.UNKNOWN or status.attempt >= known.attempt:
            self._backwards.pop(job_id, None)
            return
        self._backwards[job_id] = looks = self._backwards.get(job_id, 0) + 1
        if looks == _BACKWARDS_LOOKS:
            _LOG.warning(
                "job %s: %s says %s of attempt %d after it said %s of attempt %d; attempts of a job only count up, so "
                "it stays %s here: the driver is to be mended",
                job_id, self.system, status.state.value, status.attempt, known.state.value, known.attempt,
                known.state.value,
            )  # fmt: skip

    def _miss(self, job_id: str, *, accounting: bool) -> None:
        """No source knows the job. It has ended if that stays so: an answer may lag."""
        now = time.monotonic()
        since, looks = self._missed.get(job_id, (now, 0))
        self._missed[job_id] = since, looks + 1
        ours = job_id in self._cancelled
        late = accounting and self._lags and not ours
        if looks + 1 < _GONE_LOOKS or now - since < (_GONE_ACCOUNTED_S if late else _GONE_S):
            return
        known = f"neither {self.system} nor its accounting knows it"
        reason = (
            f"NODE_FAIL: job {job_id} has ended without an exit code and is in no queue; "
            f"{known if accounting else f'{self.system} keeps no accounting'}. Its walltime, a failure of its node or "
            "a cancellation may have ended it"
        )
        status = JobStatus(State.NODE_FAIL, self.status(job_id).attempt, reason)
        if ours:
            status = replace(status, state=State.CANCELLED)
            status = replace(status, reason=how_it_ended(job_id, status))
        self._statuses[job_id] = latest(self._statuses.get(job_id), status)

    def _may_be_explained(self, job_id: str, seen: Seen) -> bool:
        """Whether accounting may still be writing down why the job ended, or be about to come back and say it."""
        if job_id in self._cancelled and seen.status.state is State.CANCELLED:
            return False
        now = time.monotonic()
        first = self._ended.setdefault(job_id, now)
        asked = max(first, self._silent) if seen.unclear else first
        return now - asked < _ACCOUNTING_S and now - first < _SILENCE_S


def _marked(job_id: str, seen: Seen | None, marks: Mapping[int, int]) -> Seen:
    """What to believe beside the marks of a job's attempts: an end by itself, of this attempt or a later one."""
    status = JobStatus(State.UNKNOWN) if seen is None else seen.status
    attempt, code = max(marks.items(), default=(-1, 0))
    if attempt < status.attempt:
        return seen or Seen(status)
    base = status if status.attempt == attempt else JobStatus(State.UNKNOWN)
    state = State.FAILED if code else State.COMPLETED
    ended = replace(base, state=state, attempt=attempt, exit_code=code, signal=None, reason="", reason_code="")
    return Seen(replace(ended, reason=how_it_ended(job_id, ended)))
