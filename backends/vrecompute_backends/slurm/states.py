"""What Slurm's words for states mean, and the post-mortem of a job in a sentence.

Sources: squeue(1) and sacct(1), JOB STATE CODES.
"""

from __future__ import annotations

import re
from dataclasses import replace

from vrecompute.batch.contract import JobStatus, State
from vrecompute.batch.post_mortem import SUSPENDED, how_it_ended, near_limit, was_killed
from vrecompute_backends.slurm.reasons import held, never, reason_code, why_waiting
from vrecompute_backends.slurm.record import Record

__all__ = ["STATES", "is_unclear", "status_of"]

_MEANING = {
    State.QUEUED: ("PENDING", "REQUEUED", "REQUEUE_FED"),
    State.HELD: ("REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"),
    State.RUNNING: (
        "CONFIGURING", "RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "RESIZING", "SUSPENDED", "STOPPED",
        "REVOKED",  # in another cluster of its federation, from which it may come back
    ),
    State.COMPLETED: ("COMPLETED",),
    State.FAILED: ("FAILED",),
    State.NODE_FAIL: ("BOOT_FAIL", "LAUNCH_FAILED", "NODE_FAIL"),
    State.CANCELLED: ("CANCELLED",),
    State.TIMEOUT: ("DEADLINE", "TIMEOUT"),
    State.PREEMPTED: ("PREEMPTED",),
    State.OOM: ("OUT_OF_MEMORY",),
}  # fmt: skip
#: Slurm's base states and flags. One that is not here is UNKNOWN: never success, never failure.
STATES = {word: state for state, words in _MEANING.items() for word in words}

#: Of a job that holds its nodes, and whose processes do nothing until it is resumed.
_STOPPED = frozenset({"SUSPENDED", "STOPPED"})
_LAST_SIGNAL = 64
#: What Slurm writes as the signal of a job whose output file could not be opened on its node.
_NO_OUTPUT = 53
_ELSEWHERE = "name the one to use as `options.cluster`, or cancel the job"


def status_of(record: Record, folder: str = "") -> JobStatus:
    """The status that a record means, with its reason as a sentence. `folder` is where its output should be."""
    state = _state(record)
    # a job that a signal ended has no exit code; the text form says 0 then, the others say nothing
    code = None if record.signal and not record.exit_code else record.exit_code
    status = JobStatus(
        state=state,
        attempt=record.restarts,
        reason_code=reason_code(record.reason) if state in {State.QUEUED, State.HELD} else "",
        never=state in {State.QUEUED, State.HELD} and never(record.reason),
        exit_code=code if state.terminal else None,
        # Slurm writes 125 where control groups killed, which is no signal
        signal=record.signal if state.terminal and 0 < (record.signal or 0) <= _LAST_SIGNAL else None,
        node="" if record.nodes.startswith(("None", "(null)")) else record.nodes,
        memory_peak_bytes=record.memory_peak_bytes,
        memory_limit_bytes=record.memory_limit_bytes,
        elapsed_s=record.elapsed_s,
    )
    return replace(status, reason=_sentence(record, status, folder))


def _state(record: Record) -> State:
    words = re.split(r"[ ,]+", record.state.strip())
    state = STATES.get(words[0], State.UNKNOWN)
    # `--json` gives the base state and flags; a job that is still completing or requeued is not at its end
    if state.terminal and any(STATES.get(flag) in {State.RUNNING, State.QUEUED, State.HELD} for flag in words[1:]):
        state = next(STATES[flag] for flag in words[1:] if flag in STATES)
    if state is State.QUEUED and held(record.reason):
        return State.HELD
    if state in {State.FAILED, State.CANCELLED} and _killed_for_memory(record):
        return State.OOM
    return state


def is_unclear(record: Record) -> bool:
    """Whether only accounting can tell this end from a memory kill: killed, and its peak is not known yet."""
    ended = STATES.get(record.state.split(" ")[0]) in {State.FAILED, State.CANCELLED}
    return ended and was_killed(record.signal, record.exit_code) and record.memory_peak_bytes is None


def _killed_for_memory(record: Record) -> bool:
    """Memory kills have two shapes: OUT_OF_MEMORY with control groups, a bare SIGKILL without."""
    if any(step.startswith("OUT_OF_ME") for step in record.steps):
        return True
    return was_killed(record.signal, record.exit_code) and near_limit(
        record.memory_peak_bytes, record.memory_limit_bytes
    )


def _sentence(record: Record, status: JobStatus, folder: str) -> str:
    if status.state in {State.QUEUED, State.HELD}:
        said = why_waiting(record.reason)
        return f"job {record.job_id} waits: {said}" if said else ""
    if status.state is State.RUNNING and _STOPPED & set(re.split(r"[ ,]+", record.state)):
        return f"job {record.job_id} {SUSPENDED}"
    if record.state.startswith("REVOKED"):
        return f"job {record.job_id} runs in another cluster of its federation; {_ELSEWHERE}"
    if status.state is State.FAILED and record.signal == _NO_OUTPUT:
        job, node = f"job {record.job_id}", status.node or "its node"
        where = f"in the folder {folder}" if folder else "in the folder of its jobs"
        said = f"FAILED: {job} could not begin: {node} cannot write its log {where}, or has no such folder"
        return f"{said}; set `stage.scratch` to one that all nodes share"
    who = re.search(r"CANCELLED by (\d+)", record.state)
    return how_it_ended(record.job_id, status, limit_s=record.limit_s, by=f"user {who[1]}" if who else "")
