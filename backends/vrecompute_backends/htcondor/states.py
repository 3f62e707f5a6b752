"""What a record means: a state, whom a bad end is charged to, and a sentence.

    JobStatus 1 idle             QUEUED; PREEMPTED or NODE_FAIL of a job that was put back and must not start again
              2, 6, 7            RUNNING: also while its files come back, or while it is suspended
              3 removed          CANCELLED; by its own policy TIMEOUT, or what it was held for; FAILED for its image
              4 completed        RUNNING until what it made is retrieved from a schedd elsewhere; COMPLETED or FAILED;
                                 PREEMPTED where it must not start again, and did, and left at once
              5 held             HELD; OOM, TIMEOUT, ... where its own policy removes it for that

The attempt is the number of shadows that were started for it before: of a job that waits, of the attempt to come. A job
that must not start again has one attempt.
"""

from __future__ import annotations

import re
from dataclasses import replace

from vrecompute.batch.contract import JobStatus, State
from vrecompute.batch.post_mortem import SUSPENDED as STOPPED
from vrecompute.batch.post_mortem import how_it_ended, near_limit, was_killed
from vrecompute.errors import OutOfTime
from vrecompute_backends.htcondor.description import ONCE, WALLTIME
from vrecompute_backends.htcondor.holds import ACCIDENTS, SPOOLING, hold_ends, image_failed, why_held
from vrecompute_backends.htcondor.record import Record

__all__ = ["LEAVES", "WAITS", "status_of", "why_waiting"]

IDLE, RUNNING, REMOVED, COMPLETED, HELD, TRANSFERRING, SUSPENDED = range(1, 8)
#: The exit code with which a job leaves that was started once more.
LEAVES = OutOfTime.exit_code
#: Why the last negotiation gave it no machine (LastRejMatchReason), by how that begins.
WAITS = {
    "no match found": "no machine that is free has what it asks for",
    "insufficient priority": "machines that fit are used by others, whose turn it is",
    "submitter limit": "you have as many machines as your share allows; it starts when others of your jobs end",
    "group quota": "its accounting group has as many machines as it may",
    "concurrency limit": "a concurrency limit that it names is reached",
    "preemption_requirements": "machines that fit are used by others, and their jobs are not stopped for it",
}
#: What a shadow or starter says of an attempt that went away with its machine.
_MACHINE_LOST = re.compile(r"disconnected|reconnect|lease|starter (?:exited|died)|connection|communicat", re.IGNORECASE)
_BY = re.compile(r"by user ([A-Za-z0-9_.@-]+)")


def status_of(record: Record, unmatched: str = "") -> JobStatus:
    """The status that a record means; `unmatched` is why no machine matches it, where that was asked."""
    code, shadows = record.number("JobStatus"), record.number("NumShadowStarts") or 0
    state = _state(record, code)
    waits = state in {State.QUEUED, State.HELD}
    size, asked = record.number("ResidentSetSize"), record.number("RequestMemory")
    exits = code == COMPLETED and state not in {State.PREEMPTED, State.RUNNING}
    by_signal = record.true("ExitBySignal")
    host = record.text("RemoteHost") or record.text("LastRemoteHost")
    status = JobStatus(
        state,
        attempt=_attempt(record, shadows if waits or _waited(record, code) else shadows - 1),
        reason_code=_reason_code(record, state),
        never=state is State.HELD and record.number("HoldReasonCode") not in {1, 15, SPOOLING, *ACCIDENTS},
        exit_code=record.number("ExitCode") if exits and not by_signal else None,
        signal=record.number("ExitSignal") if exits and by_signal else None,
        node=host.rpartition("@")[2] if shadows else "",
        memory_peak_bytes=None if size is None else size << 10,
        memory_limit_bytes=None if asked is None else asked << 20,
        elapsed_s=_elapsed_s(record, state),
    )
    if (
        state is State.FAILED
        and was_killed(status.signal)
        and near_limit(status.memory_peak_bytes, status.memory_limit_bytes)
    ):
        status = replace(status, state=State.OOM)
    return replace(status, reason=_sentence(record, status, unmatched))


def why_waiting(reason: str) -> str:
    """What an idle job waits for, of its last negotiation."""
    for begins, sentence in WAITS.items():
        if begins in reason.lower():
            return sentence
    return f"HTCondor gives the reason {reason!r}" if reason else "HTCondor has not looked for a machine yet"


def _attempt(record: Record, number: int) -> int:
    return 0 if record.true(ONCE) else max(0, number)


def _waited(record: Record, code: int | None) -> bool:
    """Whether a job that was removed was waiting for another attempt then."""
    return code == REMOVED and _state(record, record.number("LastJobStatus")) in {State.QUEUED, State.HELD}


def _elapsed_s(record: Record, state: State) -> float | None:
    """How long the attempt has taken by now, or took; no time where there was none."""
    if not record.number("NumShadowStarts"):
        return 0.0 if state.terminal else None
    began = record.number("JobCurrentStartDate")
    until = record.number("EnteredCurrentStatus") if state.terminal else record.now
    if state in {State.QUEUED, State.HELD} or began is None or until is None:
        return None
    return max(0.0, float(until - began))


def _held_for(record: Record) -> tuple[int | None, int | None]:
    """Code and subcode of its hold, also once it was removed for that."""
    if (code := record.number("HoldReasonCode")) is not None:
        return code, record.number("HoldReasonSubCode")
    return record.number("LastHoldReasonCode"), record.number("LastHoldReasonSubCode")


def _state(record: Record, code: int | None) -> State:
    match code:
        case 1:
            again = record.true(ONCE) and (record.number("NumJobStarts") or 0) > 0
            return _put_back(record) if again else State.QUEUED
        case 2 | 6 | 7:
            return State.RUNNING
        case 3:
            return _removed(record)
        case 4 if record.to_retrieve:
            return State.RUNNING
        case 4:
            if record.true(ONCE) and (record.number("NumJobStarts") or 0) > 1 and record.number("ExitCode") == LEAVES:
                return _put_back(record)
            right = record.number("ExitCode") == 0 and not record.true("ExitBySignal")
            return State.COMPLETED if right else State.FAILED
        case 5:
            ends = hold_ends(*_held_for(record))
            accident = _held_for(record)[0] in ACCIDENTS
            return ends if ends is not None and (record.true(ONCE) or not accident) else State.HELD
        case _:
            return State.UNKNOWN


def _put_back(record: Record) -> State:
    if image_failed(record.text("VacateReason")):
        return State.FAILED
    return State.NODE_FAIL if _MACHINE_LOST.search(record.text("VacateReason")) else State.PREEMPTED


def _removed(record: Record) -> State:
    """Its own policy names itself; a person, or the pool's policy, is named with what they did."""
    said = record.text("RemoveReason")
    if "PeriodicRemove" not in said:
        return State.TIMEOUT if "SYSTEM_PERIODIC_REMOVE" in said and _is_late(record) else State.CANCELLED
    if _is_late(record):
        return State.TIMEOUT
    if _held_for(record)[0] == SPOOLING:
        return State.NODE_FAIL
    return hold_ends(*_held_for(record)) or _put_back(record)


def _is_late(record: Record) -> bool:
    """Whether it ran for as long as it may."""
    began, until, limit = (record.number(n) for n in ("JobCurrentStartDate", "EnteredCurrentStatus", WALLTIME))
    return bool(began and until and limit and until - began >= limit)


def _reason_code(record: Record, state: State) -> str:
    if state is State.HELD:
        return f"Hold{record.number('HoldReasonCode') or 0}"
    return (record.text("LastRejMatchReason") or "Idle") if state is State.QUEUED else ""


def _sentence(record: Record, status: JobStatus, unmatched: str) -> str:
    job_id = record.job_id
    held, _ = _held_for(record)
    reason = record.text("HoldReason") or record.text("LastHoldReason")
    no_image = image_failed(record.text("VacateReason"))
    if status.state is State.HELD:
        return f"job {job_id} is held: {why_held(held, reason)}"
    if status.state is State.QUEUED:
        again = "was put back, and waits" if record.number("NumShadowStarts") else "waits"
        waits = unmatched or no_image or why_waiting(record.text("LastRejMatchReason"))
        return f"job {job_id} {again}: {waits}"
    if record.to_retrieve:
        return f"job {job_id} has ended; what it made is still at the access point"
    if record.number("JobStatus") == SUSPENDED:
        return f"job {job_id} {STOPPED}"
    said = record.text("RemoveReason")
    by = _BY.search(said)
    who = f"user {by[1]}" if by else f"the pool ({said})" if said and "PeriodicRemove" not in said else ""
    sentence = how_it_ended(job_id, status, limit_s=record.number(WALLTIME), by=who)
    if status.state in {State.FAILED, State.NODE_FAIL} and status.exit_code is None and status.signal is None and held:
        return f"{status.state.name}: job {job_id} was held: {why_held(held, reason)}"
    if status.state is State.FAILED and status.exit_code is None and status.signal is None and no_image:
        return f"FAILED: job {job_id} on {status.node}: {no_image}"
    if status.state in {State.PREEMPTED, State.NODE_FAIL} and (why := record.text("VacateReason")):
        return f"{sentence} ({why})"
    return sentence
