"""`Whereabouts`: the state of a run with its job, since when and why, in the words of every door."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, get_args

from vrecompute.batch.contract import JobStatus, State, SubmitError
from vrecompute.batch.post_mortem import log_ends
from vrecompute.detach import Detached, submitted_at
from vrecompute.errors import (
    EXIT_CODES,
    EndUnknown,
    Incomplete,
    Interrupted,
    OutOfTime,
    OverBudget,
    StoreError,
)
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.outcome import Outcome
from vrecompute.execution.progress import SPOKEN, Progress
from vrecompute.execution.runlog import (
    ENDED,
    REFUSALS,
    RunLog,
    began,
    cancel_requested,
    latest_event,
    outcomes,
    speaks,
)
from vrecompute.reports.report import Status
from vrecompute.seenover import over_for_s
from vrecompute.stores.base import Store

__all__ = [
    "CANCELLED",
    "GONE",
    "Whereabouts",
    "cancelled_early",
    "heard",
    "how_it_ended",
    "how_its_job_is",
    "refusal_word",
    "state_by_job",
    "state_of_job",
    "tell_refusal",
    "unknown_end",
    "whereabouts",
    "without_outcome",
]

#: Why a run has ended of which its site does not say so.
CANCELLED = "it was cancelled by its user"
GONE = "the process that carried it out has ended without a word"
# A Runner's process ends with these once it has said in the store how the run ended. NFS may show it a minute late.
_SAID, _LAG_S = frozenset(code for code, meaning in EXIT_CODES.items() if meaning in get_args(Status)), 70.0
# How long a Runner says nothing before its job is asked about: a job that is suspended says nothing.
_QUIET_S = 15.0
_WAITS = "its job waits in the queue"
_ENDED_WITH_OUTCOME = frozenset({"complete", "test", "partial", "failed"})


class Whereabouts(NamedTuple):
    """Where a run is. `since` is in seconds since 1970, None where that is not known; `job` its latest submission."""

    state: str
    job: str = ""
    since: float | None = None
    reason: str = ""
    log: str = ""  # how the log of a job ends that ended badly

    def __str__(self) -> str:
        """In one line, in the time of this machine."""
        job = f", job {self.job}" if self.job else ""
        since = "" if self.since is None else f" since {datetime.fromtimestamp(self.since):%Y-%m-%d %H:%M:%S}"
        return ": ".join(filter(None, [f"{self.state}{since}{job}", self.reason, self.log]))


def state_of_job(job: JobStatus | None) -> str:
    """The state of a run for which its job alone speaks."""
    if job is None or job.state is State.UNKNOWN:
        return "unknown"
    if job.state in {State.QUEUED, State.HELD}:
        return "queued"
    if job.state is State.CANCELLED:
        return "cancelled"
    return "interrupted" if job.state.terminal else "running"


def state_by_job(store: Store, run: str, job_id: str, job: JobStatus) -> str:
    """The same of a run in a store, where the end of the job may be known before that of the run is to be seen."""
    by_itself = job.state in {State.COMPLETED, State.FAILED} and job.exit_code in _SAID
    if by_itself and over_for_s(store, run, job_id, job.attempt) < _LAG_S:
        return "unknown"
    state = state_of_job(job)
    return "cancelled" if state == "interrupted" and cancel_requested(store, run) else state


def how_it_ended(run: str, state: str, why: str) -> str:
    """Why a run whose Runner said how it ended is not complete, in the Runner's words where it had any."""
    if why or state in {"complete", "test"}:
        return why
    return CANCELLED if state == "cancelled" else f"`vrecompute runs report {run}` says what is missing"


def how_its_job_is(run: str, job_id: str, job: JobStatus, state: str) -> str:
    """Why a run is in that state for which its job alone speaks, as a sentence; empty where nothing is known."""
    if state == "queued" and job.never:
        cancel = f"`vrecompute runs cancel {run}` takes it out of the queue"
        return f"it can never start: {job.reason or _WAITS}; {cancel}"
    if state == "queued":
        return job.reason or _WAITS
    if not job.state.terminal or state == "cancelled":
        return job.reason or (CANCELLED if state == "cancelled" else "")
    ended = job.reason or f"job {job_id} has ended with exit code {job.exit_code or 0}"
    if state == "unknown":
        return f"{ended}, and the store does not show yet how the run ended: it may be a minute late"
    if job.blame == "none" and not job.reason:
        return f"{ended}, and left no word of the run: its log says what it did, `vrecompute runs logs {run}`"
    return ended


def whereabouts(
    store: Store,
    manifest: Manifest,
    state: str,
    detached: Detached | None,
    outcome: Outcome | None,
    error: BaseException | None,
) -> Whereabouts:
    """What store and site say of a run in that state; `error` is what stopped its Runner in this process."""
    job_id, at = submitted_at(store, manifest.run)
    job = detached.status() if detached is not None and job_id else None
    if outcome is not None and state in {*_ENDED_WITH_OUTCOME, "cancelled"}:
        ended = outcomes(store, manifest.run)[0]
        why = how_it_ended(manifest.run, state, outcome.why)
        return Whereabouts(state, job_id, ended[0].ended if ended else None, why)
    event = latest_event(store, manifest.run) or {}
    heard = event.get("time")
    latest = max((t for t in (heard, at) if t is not None), default=None)  # a run may be submitted, or put back, again
    if error is not None or event.get("event") in REFUSALS:
        return Whereabouts(state, job_id, heard, str(error or event.get("reason", "")))
    if state in {"queued", "submitted", "unknown"}:
        return Whereabouts(state, job_id, latest, _why_not_running(state, manifest, job_id, job))
    if state == "running":
        since = began(event)
        if job is not None and job.elapsed_s is not None:
            started = time.time() - job.elapsed_s  # as of the last poll, so late by its age
            since = started if since is None or (heard or 0) < started else since
        stopped = "" if job is None else job.stopped
        waiting = str(event.get("waiting", ""))
        why = waiting or stopped if manifest.shares else stopped or waiting
        return Whereabouts(state, job_id, since or at, why)
    if job is None:
        return Whereabouts(state, job_id, latest, CANCELLED if state == "cancelled" else GONE)
    log = ""
    if detached is not None and job.state.terminal and job.state is not State.CANCELLED:
        log = log_ends(detached.backend, detached.told_by())
    return Whereabouts(state, job_id, latest, how_its_job_is(manifest.run, job_id, job, state) or GONE, log)


def heard(store: Store, manifest: Manifest, detached: Detached | None) -> Progress:
    """How far a run elsewhere is: as its Runner said last, as it ended, or why its job waits."""
    event = latest_event(store, manifest.run)
    if event is not None and event["event"] == ENDED and (ended := outcomes(store, manifest.run)[0]):
        of = ended[0].outcome.summary
        done = of.chunks.computed + of.chunks.reused
        return Progress(
            "done",
            done,
            of.chunks.total,
            failures=len(ended[0].outcome.failures),
            events=of.events.seen,
            events_expected=of.events.expected,
        )
    if detached is not None and (event is None or not speaks(event, detached.over)):
        if (told := detached.progress()) is not None:
            return told
        if submitted_at(store, manifest.run)[0] and (job := detached.status()).state in {State.QUEUED, State.HELD}:
            return Progress("queued", waiting=job.reason or _WAITS, waiting_for="workers")
    said = Progress(**{field: event[field] for field in SPOKEN if field in event}) if event else Progress()
    silent_s = _QUIET_S if event is None else max(0.0, time.time() - event["time"])
    if detached is None or manifest.shares or silent_s < _QUIET_S:
        return said
    if stopped := detached.status().stopped:
        return replace(said, waiting=stopped, waiting_s=silent_s, waiting_for="job")
    return said


def _why_not_running(state: str, manifest: Manifest, job_id: str, job: JobStatus | None) -> str:
    if state == "queued":
        return _WAITS if job is None else how_its_job_is(manifest.run, job_id, job, state)
    if state == "submitted":
        return f"site {manifest.site!r} was not asked: this machine has no site file of that name"
    told = "" if job is None else how_its_job_is(manifest.run, job_id, job, state)
    return told or f"site {manifest.site!r} does not say what became of its job"


def unknown_end(store: Store, manifest: Manifest) -> str:
    """Why the store does not say how the run's Runner ended, though it did; empty where that was interrupted."""
    if damaged := outcomes(store, manifest.run)[1]:
        return "; ".join(map(str, damaged.values()))
    event = latest_event(store, manifest.run)
    ended = event is not None and event["event"] == ENDED
    return f"{store.url}: its outcome in {manifest.prefix}outcomes is missing" if ended else ""


def without_outcome(store: Store, manifest: Manifest, where: Whereabouts, job: JobStatus | None) -> Incomplete:
    """What is raised of a run that has ended and whose outcome is asked for, where there is none."""
    run, what = manifest.run, "was cancelled" if where.state == "cancelled" else "was interrupted"
    kind: type[Incomplete] = Interrupted
    how = where.reason + (f". {where.log}" if where.log else "")
    if why := unknown_end(store, manifest):  # it may have ended in any way
        kind, what, how = EndUnknown, "has no outcome", f"how it ended is not known: {why}"
    if job is not None and job.exit_code == OutOfTime.exit_code:
        how += "; it was out of time, and its site does not let jobs requeue themselves"
    return kind(
        f"run {run} {what}: {how}. Finished chunks are durable; "
        f"client.attach({run!r}).resume() or `vrecompute runs attach {run}` finishes it"
    )


def cancelled_early(run: str) -> Interrupted:
    """The end of a run that was cancelled before it had workers."""
    return Interrupted(
        f"run {run} was cancelled before it had workers; `vrecompute runs attach {run}` takes it up again"
    )


def refusal_word(error: BaseException) -> str:
    """The last word of a run that got no workers: its site refused it or gave none, or it was cancelled.

    That of any other error is that of a site without workers: the run can be taken up again once that is mended.
    """
    if isinstance(error, Interrupted):
        return "cancelled"
    if isinstance(error, OverBudget):
        return "over-budget"
    if isinstance(error, SubmitError) and not error.transient:
        return "refused"
    return "unavailable" if isinstance(error, Exception) else ""


def tell_refusal(store: Store, manifest: Manifest, error: BaseException, logs: Sequence[RunLog] = ()) -> None:
    """Have the store tell other processes that the site gave a run no workers, and why.

    `logs` are those of Runners that lost theirs: without a last word each would seem to be at work.
    """
    if word := refusal_word(error):
        for log in logs or [RunLog(store, manifest)]:
            with contextlib.suppress(StoreError):
                log.event(word, reason=str(error))
