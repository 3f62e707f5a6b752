"""What Slurm's words mean: tables of states and of pending reasons, and the post-mortem of a job in a sentence.

Sources: squeue(1), JOB STATE CODES and JOB REASON CODES; sacct(1), JOB STATE CODES.
"""

from __future__ import annotations

import re

from vrecompute.batch.contract import JobStatus, State
from vrecompute.units import to_slurm_time
from vrecompute_backends.slurm.record import Record

__all__ = ["PENDING_REASONS", "STATES", "is_unclear", "status_of"]

#: Slurm's base states and flags. One that is not here is UNKNOWN: never success, never failure.
STATES: dict[str, State] = {
    "PENDING": State.QUEUED,
    "REQUEUED": State.QUEUED,
    "REQUEUE_FED": State.QUEUED,
    "REQUEUE_HOLD": State.HELD,
    "SPECIAL_EXIT": State.HELD,
    "RESV_DEL_HOLD": State.HELD,
    "CONFIGURING": State.RUNNING,
    "RUNNING": State.RUNNING,
    "COMPLETING": State.RUNNING,
    "STAGE_OUT": State.RUNNING,
    "SIGNALING": State.RUNNING,
    "RESIZING": State.RUNNING,
    "SUSPENDED": State.RUNNING,
    "STOPPED": State.RUNNING,
    "COMPLETED": State.COMPLETED,
    "FAILED": State.FAILED,
    "BOOT_FAIL": State.NODE_FAIL,
    "LAUNCH_FAILED": State.NODE_FAIL,
    "NODE_FAIL": State.NODE_FAIL,
    "CANCELLED": State.CANCELLED,
    "REVOKED": State.CANCELLED,
    "DEADLINE": State.TIMEOUT,
    "TIMEOUT": State.TIMEOUT,
    "PREEMPTED": State.PREEMPTED,
    "OUT_OF_MEMORY": State.OOM,
}

#: Why a job waits. Reasons in _HELD mean that it will not start before somebody acts.
PENDING_REASONS: dict[str, str] = {
    "None": "Slurm has not looked at it yet",
    "Priority": "jobs with a higher priority are before it",
    "Resources": "it is next, and waits for free cores or memory",
    "Dependency": "it waits for another job to end",
    "DependencyNeverSatisfied": "the job it waits for ended in a way it did not ask for; cancel it",
    "BeginTime": "its earliest start time has not come, or it was requeued a moment ago",
    "JobArrayTaskLimit": "as many jobs of its array run as may run at once",
    "JobHeldUser": "its owner holds it; `scontrol release` lets it go",
    "JobHeldAdmin": "an administrator holds it; ask the site",
    "JobHoldMaxRequeue": "it was requeued too often and is held; ask the site",
    "Licenses": "it waits for a licence",
    "NodeDown": "a node it needs is down",
    "ReqNodeNotAvail": "nodes it needs are down, drained or reserved",
    "PartitionDown": "its partition takes jobs but starts none; choose another `options.partition`",
    "PartitionInactive": "its partition is inactive; choose another `options.partition`",
    "PartitionNodeLimit": "it asks for more nodes than its partition has; lower `workers.nodes`",
    "PartitionTimeLimit": "it asks for more time than its partition gives; lower `workers.walltime`",
    "PartitionConfig": "its partition's limits do not allow what it asks for",
    "Reservation": "its reservation has not begun",
    "ReservationDeleted": "its reservation is gone",
    "InvalidAccount": "its account does not exist here; mend `options.account`",
    "InvalidQOS": "its quality of service does not exist here; mend `options.qos`",
    "AccountNotAllowed": "its account may not use this partition; mend `options.account` or `options.partition`",
    "QOSNotAllowed": "its quality of service may not use this partition; mend `options.qos`",
    "BadConstraints": "no node has what it asks for; mend `options.constraint`",
    "AssocGrpCPUMinutesLimit": "its account has used up its core time",
    "AssocGrpBillingMinutes": "its account has used up its budget",
    "AssocMaxJobsLimit": "its account runs as many jobs as it may; lower `limits.max_jobs`",
    "AssocMaxSubmitJobLimit": "its account has as many jobs in the queue as it may; lower `limits.max_jobs`",
    "QOSMaxJobsPerUserLimit": "you run as many jobs as its quality of service allows; lower `limits.max_jobs`",
    "QOSMaxSubmitJobPerUserLimit": "you have as many jobs in the queue as you may; lower `limits.max_jobs`",
    "QOSMaxWallDurationPerJobLimit": "it asks for more time than its quality of service gives",
    "MaxCpuPerAccount": "its account uses as many cores as it may",
}
_HELD = frozenset(
    {"JobHeldUser", "JobHeldAdmin", "JobHoldMaxRequeue", "DependencyNeverSatisfied", "ReservationDeleted"}
)
# Of its limit, what a job must have used for a bare SIGKILL to be blamed on memory: sampling misses the peak.
_NEARLY_ALL = 0.95
_KILL = 9
_LAST_SIGNAL = 64


def status_of(record: Record) -> JobStatus:
    """The status that a record means, with its reason as a sentence."""
    state = _state(record)
    # what a signal ended has no code of its own; the text form says 0 then, the others say nothing
    code = None if record.signal and not record.exit_code else record.exit_code
    return JobStatus(
        state=state,
        attempt=record.restarts,
        reason=_sentence(record, state),
        exit_code=code if state.terminal else None,
        # Slurm writes 125 where control groups killed, which is no signal
        signal=record.signal if state.terminal and 0 < (record.signal or 0) <= _LAST_SIGNAL else None,
        node=record.nodes,
        memory_peak_bytes=record.memory_peak_bytes,
        memory_limit_bytes=record.memory_limit_bytes,
        elapsed_s=record.elapsed_s,
    )


def _state(record: Record) -> State:
    words = re.split(r"[ ,]+", record.state.strip())
    state = STATES.get(words[0], State.UNKNOWN)
    # `--json` gives the base state and flags; a job that is still completing or requeued is not at its end
    if state.terminal and any(STATES.get(flag) in {State.RUNNING, State.QUEUED, State.HELD} for flag in words[1:]):
        state = next(STATES[flag] for flag in words[1:] if flag in STATES)
    if state is State.QUEUED and _code(record.reason) in _HELD:
        return State.HELD
    if state in {State.FAILED, State.CANCELLED} and _killed_for_memory(record):
        return State.OOM
    return state


def is_unclear(record: Record) -> bool:
    """Whether only accounting can tell this end from a memory kill: killed, and its peak is not known yet."""
    ended = STATES.get(record.state.split(" ")[0]) in {State.FAILED, State.CANCELLED}
    return ended and _killed(record) and record.memory_peak_bytes is None


def _killed(record: Record) -> bool:
    return record.signal == _KILL or record.exit_code == 128 + _KILL


def _killed_for_memory(record: Record) -> bool:
    """Memory kills have two shapes: OUT_OF_MEMORY with control groups, a bare SIGKILL without."""
    if any(step.startswith("OUT_OF_ME") for step in record.steps):
        return True
    peak, limit = record.memory_peak_bytes, record.memory_limit_bytes
    return bool(_killed(record) and peak and limit and peak >= _NEARLY_ALL * limit)


def _code(reason: str) -> str:
    """`ReqNodeNotAvail, UnavailableNodes:c1` and `(Priority)` begin with the code."""
    found = re.match(r"\(?([A-Za-z]+)", reason)
    return found[1] if found else ""


def _sentence(record: Record, state: State) -> str:
    if state in {State.QUEUED, State.HELD}:
        code = _code(record.reason)
        said = PENDING_REASONS.get(code, f"Slurm gives the reason {record.reason!r}" if code else "")
        return f"job {record.job_id} waits: {said}" if said else ""
    if not state.terminal or state is State.COMPLETED:
        return ""
    where = f"job {record.job_id}" + (f" on {record.nodes}" if _known(record.nodes) else "")
    after = "" if record.elapsed_s is None else f" after {to_slurm_time(int(record.elapsed_s))}"
    peak = "" if not record.memory_peak_bytes else f" (peak memory {_mib(record.memory_peak_bytes)}{_limit(record)})"
    match state:
        case State.OOM:
            return f"OOM: {where} {_memory(record)}{after}: raise `workers.memory` or use smaller chunks"
        case State.TIMEOUT:
            limit = f" of {to_slurm_time(record.limit_s)}" if record.limit_s else ""
            return f"TIMEOUT: {where} reached its walltime{limit}{after}{peak}"
        case State.PREEMPTED:
            return f"PREEMPTED: {where} gave way to another job{after}{peak}"
        case State.NODE_FAIL:
            return f"NODE_FAIL: {where} lost its node{after}{peak}"
        case State.CANCELLED:
            who = re.search(r"CANCELLED by (\d+)", record.state)
            return f"CANCELLED: {where} was cancelled{f' by user {who[1]}' if who else ''}{after}{peak}"
        case _:
            how = f"signal {record.signal}" if record.signal else f"exit code {record.exit_code}"
            return f"FAILED: {where} ended with {how}{after}{peak}"


def _memory(record: Record) -> str:
    """Peak and limit of a job killed for memory: accounting samples, and may not have seen the end of a steep rise."""
    peak, limit = record.memory_peak_bytes, record.memory_limit_bytes
    if peak and (not limit or peak >= _NEARLY_ALL * limit):
        return f"used {_mib(peak)}{_limit(record)}"
    reached = f"reached its memory limit{_limit(record)}"
    return f"{reached}, of which accounting saw {_mib(peak)}" if peak else f"{reached}, of which accounting saw nothing"


def _known(nodes: str) -> bool:
    return bool(nodes) and not nodes.startswith(("None", "(null)"))


def _limit(record: Record) -> str:
    return f" of {_mib(record.memory_limit_bytes)}" if record.memory_limit_bytes else ""


def _mib(n_bytes: int | None) -> str:
    return f"{(n_bytes or 0) / 2**20:.0f} MiB"
