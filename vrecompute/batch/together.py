"""`together`: what many independent jobs are as one, in the words for a run of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vrecompute.batch.contract import JobStatus, State

__all__ = ["together"]

_WAITS = frozenset({State.QUEUED, State.HELD})


def together(jobs: Sequence[JobStatus]) -> JobStatus:
    """One status of all: running while any runs, then waiting while any waits, ended once all of them have.

    >>> together([JobStatus(State.COMPLETED), JobStatus(State.RUNNING), JobStatus(State.QUEUED)]).reason
    '1 of 3 jobs has ended, 1 is running, 1 is waiting'
    """
    if len(jobs) < 2:
        return jobs[0] if jobs else JobStatus(State.UNKNOWN)
    waiting = [job for job in jobs if job.state in _WAITS]
    ended = [job for job in jobs if job.state.terminal]
    bad = [job for job in ended if job.blame != "none"]
    if any(job.state is State.RUNNING for job in jobs):
        state, speaker = State.RUNNING, _usual(waiting) if waiting else None
    elif waiting:
        state, speaker = (State.HELD if len(waiting) == len(jobs) == _held(waiting) else State.QUEUED), _usual(waiting)
    elif len(ended) < len(jobs):
        state, speaker = State.UNKNOWN, None
    else:
        speaker = _usual(bad) if bad else None
        state = State.COMPLETED if speaker is None else speaker.state
        if state is State.CANCELLED and any(job.state is not State.CANCELLED for job in jobs):
            state = State.NODE_FAIL  # some were taken away, and others have their work done
    return JobStatus(
        state,
        reason=_told(jobs, ended, waiting, speaker),
        reason_code=speaker.reason_code if speaker and state is not State.RUNNING else "",
        never=state in _WAITS and all(job.never for job in waiting),
        elapsed_s=max((job.elapsed_s or 0.0 for job in jobs), default=None) if state is State.RUNNING else None,
    )


def _told(
    jobs: Sequence[JobStatus], ended: Sequence[JobStatus], waiting: Sequence[JobStatus], speaker: JobStatus | None
) -> str:
    running = sum(job.state is State.RUNNING for job in jobs)
    unknown = len(jobs) - len(ended) - len(waiting) - running
    words = [f"{len(ended)} of {len(jobs)} jobs {'has' if len(ended) == 1 else 'have'} ended"]
    words += [f"{running} {'is' if running == 1 else 'are'} running"] if running else []
    words += [f"{len(waiting)} {'is' if len(waiting) == 1 else 'are'} waiting"] if waiting else []
    words += [f"of {unknown} the site says nothing"] if unknown else []
    if len(ended) == len(jobs) and (bad := sum(job.blame != "none" for job in jobs)):
        words.append(f"{bad} of them badly")
    return ", ".join(words) + (f": {speaker.reason}" if speaker is not None and speaker.reason else "")


def _held(jobs: Sequence[JobStatus]) -> int:
    return sum(job.state is State.HELD for job in jobs)


def _usual(jobs: Sequence[JobStatus]) -> JobStatus:
    """The first of those in the most usual state, of the most usual reason."""
    usual = Counter((job.state, job.reason_code) for job in jobs).most_common(1)[0][0]
    return next(job for job in jobs if (job.state, job.reason_code) == usual)
