"""How a job ended, that it is stopped or will never start, as a sentence: the same words for every batch system."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from vrecompute.batch.contract import Backend, JobId, JobStatus, State, SubmitError
from vrecompute.errors import Unavailable
from vrecompute.units import to_slurm_time

__all__ = ["SUSPENDED", "end_of", "how_it_ended", "log_ends", "near_limit", "never_starts", "telling", "was_killed"]

#: What is said of a job that runs and does nothing, after its id.
SUSPENDED = "is suspended: its processes are stopped until its batch system, or an administrator, resumes it"
# Of its limit, what a job must have used for a bare SIGKILL to be blamed on memory: sampling misses the peak.
_NEARLY_ALL = 0.95
_LOG_LINES = 5
#: Lines that say nothing of why a program ended: Python's own about semaphores of processes that were killed.
_IDLE = re.compile(r"resource_tracker|warnings\.warn\(")
#: How Python begins what it says of an installation that it cannot start with; what follows is where it looked.
_PYTHON = re.compile(r"Fatal Python error|Could not find platform|ModuleNotFoundError|ImportError")
_KILL = 9


def near_limit(peak_bytes: int | None, limit_bytes: int | None) -> bool:
    """Whether a job that was killed may have been so for its memory."""
    return bool(peak_bytes and limit_bytes and peak_bytes >= _NEARLY_ALL * limit_bytes)


def was_killed(signal: int | None, exit_code: int | None = None) -> bool:
    """Whether a bare SIGKILL ended a job, by its signal or as a shell says it of its command."""
    return signal == _KILL or exit_code == 128 + _KILL


def how_it_ended(job_id: str, status: JobStatus, *, limit_s: int | None = None, by: str = "") -> str:
    """Job, node, time and memory of a bad end; empty of any other state. `limit_s` is its walltime, `by` who ended it.

    >>> how_it_ended("7", JobStatus(State.FAILED, exit_code=3, node="n1", elapsed_s=61))
    'FAILED: job 7 on n1 ended with exit code 3 after 00:01:01'
    """
    peak, limit, elapsed_s = status.memory_peak_bytes, status.memory_limit_bytes, status.elapsed_s
    where = f"job {job_id}" + (f" on {status.node}" if status.node else "")
    after = "" if elapsed_s is None else f" after {to_slurm_time(int(elapsed_s))}"
    used = f" (peak memory {_mib(peak)}{_of(limit)})" if peak else ""
    match status.state:
        case State.OOM:
            return f"OOM: {where} {_memory(peak, limit)}{after}: raise `workers.memory` or use smaller chunks"
        case State.TIMEOUT:
            given = f" of {to_slurm_time(limit_s)}" if limit_s else ""
            return f"TIMEOUT: {where} reached its walltime{given}{after}{used}"
        case State.PREEMPTED:
            return f"PREEMPTED: {where} was preempted by another job{after}{used}"
        case State.NODE_FAIL if elapsed_s == 0 and not status.node:
            return f"NODE_FAIL: {where} was ended before it began by its batch system, as where its queue is removed"
        case State.NODE_FAIL:
            return f"NODE_FAIL: {where} lost its node{after}{used}"
        case State.CANCELLED:
            return f"CANCELLED: {where} was cancelled{f' by {by}' if by else ''}{after}{used}"
        case State.FAILED:
            how = f"signal {status.signal}" if status.signal else f"exit code {status.exit_code}"
            return f"FAILED: {where} ended with {how}{after}{used}"
        case _:
            return ""


def never_starts(backend: Backend, reason: str) -> SubmitError:
    """What a run ends with whose jobs the system took and will never start."""
    return SubmitError(
        f"site {backend.site.name!r}: no job of this run can ever start, so they are cancelled: {reason}"
    )


def log_ends(backend: Backend, job_id: JobId | None) -> str:
    """The last lines of what a job wrote, in one; "(nothing)" also where the site does not give them."""
    told = ""
    if job_id is not None:
        with contextlib.suppress(Unavailable, OSError):
            told = backend.logs(job_id)
    return f"Its log ends: {end_of(told)}"


def end_of(told: str) -> str:
    """The last lines of a log in one; "(nothing)" where it has none."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    lines = [line for line in lines if not _IDLE.search(line)][-_LOG_LINES:]
    return " | ".join(lines) or "(nothing)"


def telling(lines: Sequence[str]) -> str:
    """The line of a failed start that says most: a key of `environment`, Python's own fault, else the last.

    >>> telling(["Python path configuration:", "Fatal Python error: no encodings", "<no Python frame>"])
    'Fatal Python error: no encodings'
    """
    named = [line for line in lines if line.startswith("environment.")]
    fatal = [line for line in lines if _PYTHON.search(line)]
    return next(iter([*named[-1:], *fatal[-1:], *lines[-1:]]), "")


def _memory(peak: int | None, limit: int | None) -> str:
    """Peak and limit of a job killed for memory: accounting samples, and may not have seen the end of a steep rise."""
    if peak and (not limit or near_limit(peak, limit)):
        return f"used {_mib(peak)}{_of(limit)}"
    return f"reached its memory limit{_of(limit)}, of which accounting saw {_mib(peak) if peak else 'nothing'}"


def _of(limit: int | None) -> str:
    return f" of {_mib(limit)}" if limit else ""


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.0f} MiB"
