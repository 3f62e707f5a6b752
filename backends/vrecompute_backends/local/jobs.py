"""Jobs on this machine: a script in a new folder, run in a new session, which outlives its client.

The folder is the native id, and what is in it is all there is to know: `script`, `pid`, `output`, `attempt`, and
`status` once it ended. A job whose process is gone and that left no status was killed. One that may be requeued is
started again, with its whole walltime, where its command ran out of time and came further.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vrecompute.batch.contract import Backend, Cluster, Job, JobId, JobStatus, State, SubmitError
from vrecompute.batch.finding import PROBE_PATIENCE_S, Finding, no_word
from vrecompute.errors import OutOfTime, UsageError
from vrecompute.sites.model import Site
from vrecompute.stores.ownership import make_private
from vrecompute.workers.walltime import ATTEMPTS, BEGAN, ENDS

__all__ = ["LocalJobs", "secrets_of_variables", "without_secrets"]

# How long a shell may take to start its command.
_START_S = 3.0
# Exit codes of timeout(1) when it ended the command: asked it to end, had to kill it.
_TIMED_OUT = frozenset({124, 137})
#: Whether a command came further and ran out of time, and how often it may was not said or not reached.
_AGAIN = f'[ "$code" = {OutOfTime.exit_code} ] && [ "$attempts" -lt "${{{ATTEMPTS}:-$((attempts + 1))}}" ]'
#: As the client does: process id and start time.
_WRITE_PID = 'echo "$$ $(sed "s/.*) //" "/proc/$$/stat" | cut -d " " -f 20)" > pid.job && mv pid.job pid'
# A shorter text may be in a secret by chance.
_LEAST_SECRET = 16
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class LocalJobs(Backend):
    """The job half of the local backend."""

    def __init__(self, site: Site) -> None:
        self.site = site

    @property
    def _spool(self) -> Path:
        state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        if state.startswith("~"):
            raise UsageError("this user has no home folder to keep jobs in: HOME is not set; set XDG_STATE_HOME")
        return Path(state) / "vrecompute" / "jobs"

    def script(self, job: Job) -> str:
        """A POSIX shell script whose arguments are all quoted; it expects to be run in the job's folder."""
        labels = ", ".join(f"{key} {value}" for key, value in job.labels.items())
        lines = ["#!/bin/sh", f"# {_comment(f'{job.name} {labels}')}"]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(self._environment(job).items())]
        command = shlex.join(self._command(job))
        lines += [
            'export VRECOMPUTE_JOB="${PWD##*/}"',
            'export VRECOMPUTE_SECRETS="$PWD/secrets"',
            "trap 'rm -rf \"$VRECOMPUTE_SECRETS\"' EXIT",
            # Itself: the client may be killed before it can write it.
            _WRITE_PID,
            # A TERM is for the command; this shell stays to say how it ended.
            "trap : TERM",
            "attempts=0",
            "while",
            '  export VRECOMPUTE_ATTEMPT="$attempts"',
            '  echo "$attempts" > attempt.tmp && mv attempt.tmp attempt',
            "  attempts=$((attempts + 1)) began=$(date +%s)",
            f'  export {BEGAN}="$began" {ENDS}="$((began + {job.walltime_s}))"',
            f"  timeout --kill-after=10 {job.walltime_s} {command}",
            "  code=$?",
            f"  {_AGAIN if job.requeue else 'false'}",
            "do :; done",
            f'echo "$code $(($(date +%s) - began)) {job.walltime_s}" > status.tmp && mv status.tmp status',
            "exit $code",
        ]
        return "\n".join(lines) + "\n"

    def submit(self, job: Job) -> JobId:
        """Start the script in a new session and give its folder."""
        _check(job)
        folder = self._spool / secrets.token_hex(8)
        try:
            make_private(folder)
            (folder / "script").write_text(self.script(job))
            if job.secret_files:
                (folder / "secrets").mkdir(mode=0o700)
            for name, content in job.secret_files.items():
                path = folder / "secrets" / name
                path.touch(mode=0o600)
                path.write_bytes(content)
            with (folder / "output").open("wb") as output:
                process = subprocess.Popen(
                    ["/bin/sh", "./script"],
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=without_secrets(job.secret_files),
                    start_new_session=True,
                )
            (folder / "pid.client").write_text(f"{process.pid} {_started(process.pid)}")
            (folder / "pid.client").replace(folder / "pid")
        except OSError as error:
            raise SubmitError(f"cannot start a job in {folder}: {error.strerror or error}") from error
        _CHILDREN[process.pid] = process
        return JobId(folder.name)

    def poll(self, ids: Sequence[JobId]) -> dict[JobId, JobStatus]:
        """The status of each job from its folder; UNKNOWN where there is none."""
        return {job_id: self._status(job_id) for job_id in ids}

    def named(self, name: str) -> list[JobId]:
        """Those whose process is there."""
        begins, found = f"# {_comment(name)} ", []
        with contextlib.suppress(OSError):
            for folder in sorted(self._spool.iterdir(), key=lambda folder: folder.stat().st_mtime):
                if (folder / "status").exists() or self._alive(JobId(folder.name)) is None:
                    continue
                with (folder / "script").open(errors="replace") as script:
                    if [script.readline(), script.readline()][1].startswith(begins):
                        found.append(JobId(folder.name))
        return found

    def cancel(self, ids: Iterable[JobId]) -> None:
        """Ask every process of each job's session to end; a command that does not is killed 10 s later."""
        for job_id in ids:
            pid = self._alive(job_id)
            if pid is None or (self._spool / job_id / "status").exists():
                continue
            (self._spool / job_id / "cancelled").touch()
            _end_session(pid)
            shutil.rmtree(self._spool / job_id / "secrets", ignore_errors=True)

    def logs(self, job_id: JobId) -> str:
        """What the job wrote so far."""
        try:
            return (self._spool / job_id / "output").read_text(errors="replace")
        except OSError:
            return ""

    @abstractmethod
    def open_cluster(self, workers: int) -> Cluster:
        """See `Backend`."""

    def probe(self, patience_s: float = PROBE_PATIENCE_S, tell: Callable[[str], None] = no_word) -> list[Finding]:
        """What this machine offers; nothing has to be sent anywhere."""
        del patience_s, tell
        from dask.system import cpu_count
        from distributed.system import MEMORY_LIMIT

        free = shutil.disk_usage(self._spool.anchor).free
        return [
            Finding("cores", True, f"{cpu_count()} usable cores"),
            Finding("memory", True, f"{MEMORY_LIMIT >> 20} MiB"),
            Finding("disk", free > 1 << 30, f"{free >> 20} MiB free where jobs are kept"),
        ]

    def _environment(self, job: Job) -> dict[str, str]:
        return {**self.site.environment.variables, **job.environment}

    def _command(self, job: Job) -> list[str]:
        # The environment of a job on this machine is the one that is running now.
        command = [
            sys.executable if word == "python" and not number else word for number, word in enumerate(job.command)
        ]
        if not job.workers:
            return command
        shape = ["--workers", str(job.workers), "--threads", str(self.site.workers.threads)]
        return [sys.executable, "-P", "-m", "vrecompute_backends.local.allocation", *shape, "--", *command]

    def _status(self, job_id: JobId) -> JobStatus:
        status = self._state(job_id)
        try:  # read last: an end is that of the attempt which was begun before it
            return replace(status, attempt=int((self._spool / job_id / "attempt").read_text()))
        except (OSError, ValueError):
            return status

    def _state(self, job_id: JobId) -> JobStatus:
        folder = self._spool / job_id
        if not (folder / "pid").exists():
            return JobStatus(State.UNKNOWN)
        # Looked at first: a process that is gone has left its status by then, or never will.
        alive = self._alive(job_id) is not None
        if (folder / "status").exists() and not (folder / "cancelled").exists():
            return _ended(*(int(word) for word in (folder / "status").read_text().split()))
        if alive:
            return JobStatus(State.RUNNING)
        # A shell that was killed could not tidy up after itself.
        shutil.rmtree(folder / "secrets", ignore_errors=True)
        if (folder / "cancelled").exists():
            return JobStatus(State.CANCELLED, reason="cancelled by its owner")
        return JobStatus(
            State.NODE_FAIL, reason="its process ended without a status: it was killed, or the machine rebooted"
        )

    def _alive(self, job_id: JobId) -> int | None:
        """The process id of a running job; the start time tells a process from a later one with the same number."""
        try:
            pid, started = (self._spool / job_id / "pid").read_text().split()
        except (OSError, ValueError):
            return None
        child = _CHILDREN.get(int(pid))
        if child is not None:
            child.poll()  # reaps it, so that an ended child of this process does not look alive
        return int(pid) if _started(int(pid)) == started else None


def without_secrets(secret_files: Mapping[str, bytes]) -> dict[str, str]:
    """The environment of this process without variables that hold what secret files hold: others may list it."""
    return {name: v for name, v in os.environ.items() if not any(_holds(c, v) for c in secret_files.values())}


def secrets_of_variables(secret_files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those that `without_secrets` leaves out; the others are where each process of this machine finds them."""
    values = list(os.environ.values())
    return {name: content for name, content in secret_files.items() if any(_holds(content, v) for v in values)}


def _holds(content: bytes, value: str) -> bool:
    """Whether the value of a variable is a secret, or a part of it that is not so by chance."""
    text, value = content.decode(errors="replace").strip(), value.strip()
    return bool(value) and (value == text or (len(value) >= _LEAST_SECRET and value in text))


_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty where there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _session(leader: int) -> list[int]:
    """The processes of a session, its leader last."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader:
                    members.append(int(entry.name))
    return sorted(members, key=lambda pid: pid == leader)


def _end_session(leader: int) -> None:
    """SIGTERM for every process of a session; not by its group, since timeout(1) makes another one.

    A shell that is met before it has started its command starts it all the same, so what it starts is met too.
    """
    deadline = time.monotonic() + _START_S
    asked: set[int] = set()
    while (members := _session(leader)) and time.monotonic() < deadline:
        for member in members:
            if member not in asked:
                asked.add(member)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member, signal.SIGTERM)
        time.sleep(0.02)


def _ended(code: int, elapsed_s: int, walltime_s: int) -> JobStatus:
    """How a command ended by itself, or at its walltime."""
    if code == 0:
        return JobStatus(State.COMPLETED, exit_code=0, elapsed_s=elapsed_s)
    if code in _TIMED_OUT and elapsed_s >= walltime_s:
        reason = f"the job reached its walltime of {walltime_s} s and was ended"
        return JobStatus(State.TIMEOUT, reason=reason, exit_code=code, elapsed_s=elapsed_s)
    signalled = code - 128 if 128 < code < 128 + signal.NSIG else None
    how = f"was ended by signal {signalled}" if signalled else f"ended with exit code {code}"
    return JobStatus(State.FAILED, reason=f"the command {how}", exit_code=code, signal=signalled, elapsed_s=elapsed_s)


def _check(job: Job) -> None:
    """Raise SubmitError for what a shell or a file system would take for something else."""
    for name in job.environment:
        if not _VARIABLE.fullmatch(name):
            raise SubmitError(f"job {job.name!r}: {name!r} is not a name of an environment variable")
    for name in job.secret_files:
        if not _FILE.fullmatch(name):
            raise SubmitError(f"job {job.name!r}: {name!r} is not a plain file name for a secret")
    if any("\0" in word for word in (*job.command, *job.environment.values())):
        raise SubmitError(f"job {job.name!r}: its command or environment holds a NUL character")


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
