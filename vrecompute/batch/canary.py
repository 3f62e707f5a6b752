"""The canary of a probe: a small job through the real queue, and the process that meets it near the scheduler."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from vrecompute.batch.contract import Job, JobId, JobStatus, State, SubmitError
from vrecompute.batch.finding import advice_on, yaml_line
from vrecompute.batch.post_mortem import log_ends, telling
from vrecompute.batch.probe_job import THEIRS
from vrecompute.batch.prologue import login_shell
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.scheduler import first_facts
from vrecompute.batch.survey import Survey
from vrecompute.batch.tls import TLS_FILE, fresh_keys
from vrecompute.errors import Unavailable, VrecomputeError
from vrecompute.records import json_of
from vrecompute.sites.limits import SiteLimits
from vrecompute.stores.address import secret_files
from vrecompute.stores.base import Store
from vrecompute.stores.site_store import site_store

__all__ = ["Seen", "fly"]

_WALLTIME_S = 240
# What the canary's worker needs at most, of what workers have; and what its scheduler and the canary itself need.
_WORKER_BYTES, _BESIDE_BYTES = 1 << 30, 1 << 29
# How long Python may take to start near the scheduler, at least and at most; and to say why it does not.
_LEAST_START_S, _MOST_START_S, _WHY_S = 30.0, 120.0, 45
_LOOK_S = 0.5
# While the canary waits, its reason is told this often.
_TELL_S = 15.0
# How long those who met have to say so, after the job's end; and how long who met nobody has to end.
_PARTING_S = 15.0
_END_S = 5.0
# With this code coreutils' `timeout` ends that ended a command.
_TIMED_OUT = 124


@dataclass(frozen=True)
class Seen:
    """What was seen of a canary and around it.

    `place` and `met` are what the process said that met it, `told` what the job said; `complaint` why there was no
    such process, empty maps where nothing was said. `refusal` is why the job was not taken, `reason` why it did not
    run, `advice` the line that would mend it, where one is known, and `store` what is wrong with its object as seen
    from here, empty if nothing. `problem` is what the system was silent with when asked about the job; `spool` where
    its log should be, and is not.
    """

    where: str
    place: Mapping[str, Any] = field(default_factory=dict)
    complaint: str = ""
    met: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    job_id: str = ""
    ran: bool = False
    waited_s: float = 0.0
    refusal: str = ""
    advice: str = ""
    reason: str = ""
    log: str = ""
    store: str = ""
    problem: str = ""
    spool: str = ""


def fly(backend: QueueBackend, survey: Survey | None, patience_s: float, tell: Callable[[str], None]) -> Seen:
    """Send a canary and wait for its end; what waiting cannot mend, and a wait above `patience_s`, ends it.

    It asks for less than any limit of `survey`: `system_limits` says which of them the jobs of runs exceed.
    """
    site = backend.site
    files: dict[str, bytes] = {TLS_FILE: keys.encode()} if (keys := fresh_keys() if site.network.tls else None) else {}
    own = secrets.token_hex(8)
    store, unusable = _store(backend)
    try:
        files |= secret_files(store) if store is not None else {}
    except VrecomputeError as error:
        store, unusable = None, str(error)
    folders: list[str] = []
    try:
        if store is not None:
            folders = _new_folders(backend, store)
            store.create(f"probe/{own}{THEIRS}", own.encode())
    except (VrecomputeError, OSError) as error:
        store, unusable = None, str(error)
    try:
        return _flown(backend, survey, patience_s, tell, keys, files, store, unusable, own)
    finally:
        if store is not None:
            _remove(backend, store, own, folders)


def _flown(
    backend: QueueBackend,
    survey: Survey | None,
    patience_s: float,
    tell: Callable[[str], None],
    keys: str | None,
    files: Mapping[str, bytes],
    store: Store | None,
    unusable: str,
    own: str,
) -> Seen:
    """The flight itself, with what the canary takes along and the name of its object in the store."""
    where = str(backend.access)
    with _meeting(backend, keys, patience_s) as (meet, place):
        complaint = "" if place else _why_no_python(backend)
        began = time.monotonic()
        try:
            address = place.get("address", "")
            job_id = backend.submit(_canary(backend, survey, address, files, "" if store is None else store.url, own))
        except (SubmitError, Unavailable) as error:
            advice = advice_on(error, "options: {...}")
            return Seen(where, place, complaint, refusal=str(error), advice=advice, store=unusable)
        status = _await(backend, job_id, patience_s, tell)
        waited_s = time.monotonic() - began
        told = _told(backend, job_id)
        met = _met(meet) if place and told else {}
    ended = status.state.terminal
    seen = Seen(
        where=where,
        place=place,
        complaint=complaint,
        met=met,
        told=told,
        job_id=job_id,
        ran=status.state.terminal and (bool(told) or status.state in {State.COMPLETED, State.FAILED}),
        waited_s=waited_s,
        problem="" if status.state.terminal else backend.problem,
        spool="" if told or _has_log(backend, job_id) else backend.spool,
        advice=yaml_line(key) if not ended and (key := backend.key_of(status)) else "",
        reason=status.reason or f"job {job_id} is {status.state} after {waited_s:.0f} s",
        log="" if told else log_ends(backend, job_id),
        store=unusable or (_seen_from_here(backend, store, told["store"]) if told and store is not None else ""),
    )
    backend.forget([job_id], logs=bool(told) or not ended)  # else its log is what the trouble is to be found by
    return seen


def _store(backend: QueueBackend) -> tuple[Store | None, str]:
    """The store that jobs of runs would write to, where they do; and why it cannot be opened."""
    if not backend.site.store.workers_reach:
        return None, ""
    try:
        return site_store(backend.site, lambda: backend.access), ""
    except VrecomputeError as error:
        return None, str(error)


def _canary(
    backend: QueueBackend, survey: Survey | None, address: str, files: Mapping[str, bytes], store: str, own: str
) -> Job:
    site, network = backend.site, backend.site.network
    given = {
        "--call": address,
        "--store": store,
        "--object": own,
        "--interface": network.interface,
        "--worker-ports": network.worker_ports,
        "--scheduler-ports": network.scheduler_ports,
        "--processes": site.workers.processes,
        "--threads": site.workers.threads,
        "--memory-bytes": site.workers.memory_per_process,
        "--gpus": site.workers.gpus,
    }
    command = ["python", "-m", "vrecompute.batch.probe_job", "job"]
    command += [f"{flag}={value}" for flag, value in given.items() if value]
    command += ["--holds-scheduler"] if site.scheduler_runs == "allocation" else []
    command += ["--try-worker"] if backend.capabilities.clusters or backend.capabilities.workers else []
    least = site.workers.memory_per_process
    job = Job(
        "vre-probe",
        tuple(command),
        memory_bytes=None if least is None else min(least, _WORKER_BYTES) + _BESIDE_BYTES,
        walltime_s=min(_WALLTIME_S, SiteLimits(site).job_s()),
        secret_files=files,
        image=site.environment.image,
        step=tuple(backend.step(1, 1)),  # as workers are started
    )
    if survey is None:
        return job
    queues = survey.named(backend.queues_of(job))
    most = [queue.walltime_s for queue in queues if queue.walltime_s]
    most += [limit.most for limit in survey.limits if limit.of == "walltime"]
    job = replace(job, walltime_s=min([job.walltime_s, *most]))
    if job.memory_bytes is None:
        return job
    room = [queue.largest_memory_bytes for queue in queues if queue.largest_memory_bytes]
    room += [limit.most for limit in survey.limits if limit.of == "memory"]
    return replace(job, memory_bytes=min([job.memory_bytes, *room]))


@contextlib.contextmanager
def _meeting(
    backend: QueueBackend, keys: str | None, patience_s: float
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """The process that meets the job, and what it says of itself; nothing where it does not start."""
    ports = backend.site.network.scheduler_ports if backend.site.scheduler_runs in {"client", "login"} else None
    wanted = {
        "interface": backend.site.network.interface or "",
        "ports": ports and [ports.first, ports.last],
        "tls": keys,
        "wait_s": patience_s + _WALLTIME_S,
    }
    # what it complains of is asked for again where it does not start
    meet = backend.access.start(_python(backend, "-m vrecompute.batch.probe_job meet"))
    try:
        if meet.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                meet.stdin.write(json.dumps(wanted).encode() + b"\n")
                meet.stdin.flush()
        yield meet, first_facts(meet, min(_MOST_START_S, max(_LEAST_START_S, patience_s)))
    finally:
        if meet.stdin is not None:  # it ends with its input; killed, it would leave what an image was unpacked to
            with contextlib.suppress(BrokenPipeError):
                meet.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            meet.wait(_END_S)
        meet.kill()
        meet.wait()


def _why_no_python(backend: QueueBackend) -> str:
    """What Python says instead of meeting, in a line; or the site's shell, which is ended where it waits."""
    limited = ["timeout", "--kill-after=5", str(_WHY_S)]
    try:
        done = backend.access.run([*limited, *_python(backend, "-c 'import vrecompute.batch.probe_job'")])
    except Unavailable as error:
        return str(error)
    said = [line.strip() for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    if done.code in {0, _TIMED_OUT} and not any(line.startswith("environment.") for line in said):
        how = f"did not start it within {_WHY_S} s" if done.code else "ends without starting it"
        return f"environment.setup: the shell {how}, as where a line waits for something, or is `exec` or `exit`"
    return telling(said)


def _await(backend: QueueBackend, job_id: JobId, patience_s: float, tell: Callable[[str], None]) -> JobStatus:
    """The job's end, or its last state where it cannot start, or not within the patience; then it is cancelled."""
    began, told_at, said, runs_s = time.monotonic(), float("-inf"), "", 0
    status = JobStatus(State.UNKNOWN)
    try:
        while (waited_s := time.monotonic() - began) < patience_s + runs_s:
            status = backend.poll([job_id])[job_id]
            if status.state.terminal or status.never or status.state is State.HELD:
                break
            runs_s = 2 * _WALLTIME_S if status.state is State.RUNNING else 0
            why = status.reason or f"job {job_id} is {status.state}"
            if why != said or time.monotonic() - told_at > _TELL_S:
                said, told_at = why, time.monotonic()
                tell(f"probe, {waited_s:.0f} s of at most {patience_s:.0f} s: {why}")
            time.sleep(_LOOK_S)
    finally:
        if not status.state.terminal:
            with contextlib.suppress(Unavailable):
                backend.cancel([job_id])
    return status


def _told(backend: QueueBackend, job_id: JobId) -> dict[str, Any]:
    for line in reversed(backend.logs(job_id).splitlines()):
        with contextlib.suppress(ValueError):
            found = json_of(line) if line.startswith("{") else None
            if isinstance(found, dict) and "versions" in found:
                return found
    return {}


def _has_log(backend: QueueBackend, job_id: JobId) -> bool:
    """Whether its node wrote into the spool: a job may end before it says a word."""
    try:
        return backend.access.get(f"{backend.spool}/{backend.log(job_id)}") is not None
    except OSError:
        return False


def _met(meet: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The last line of the meeting; nothing where the job never called."""
    try:
        said = meet.communicate(timeout=_PARTING_S)[0].splitlines()[-1:]
        return dict(json_of(said[0])) if said else {}
    except (subprocess.TimeoutExpired, ValueError):
        return {}


def _seen_from_here(backend: QueueBackend, store: Store, stored: Mapping[str, Any]) -> str:
    if stored["error"]:
        return ""
    if "://" in store.url:
        return _seen_in(store, stored)
    try:
        data = backend.access.get(stored["path"])
    except (OSError, VrecomputeError) as error:
        return f"{backend.access}: {error}"
    if data is None or sha256(data).hexdigest() != stored["sha256"]:
        return f"{stored['path']} differs between the compute node and {backend.access}"
    return ""


def _seen_in(store: Store, stored: Mapping[str, Any]) -> str:
    """The same of a store that is a service."""
    try:
        store.get(stored["name"], sha256=stored["sha256"])
    except VrecomputeError as error:
        return str(error)
    return ""


def _new_folders(backend: QueueBackend, store: Store) -> list[str]:
    """The folders of a store that a probe may remove once they are empty: its own, and one that is not there yet."""
    if "://" in store.url:
        return []
    there = backend.access.run(["test", "-e", store.url]).code == 0
    return [f"{store.url}/probe", *([] if there else [store.url])]


def _remove(backend: QueueBackend, store: Store, own: str, folders: list[str]) -> None:
    """Remove the object of this side and of the job, and of these folders those that hold nothing else."""
    with contextlib.suppress(OSError, VrecomputeError):
        for name in (f"probe/{own}", f"probe/{own}{THEIRS}"):
            store.delete(name)
        for folder in folders:
            backend.access.run(["rmdir", "--", folder])


def _python(backend: QueueBackend, arguments: str) -> list[str]:
    """What starts the site's Python near the scheduler."""
    words = backend.image_words(backend.site.environment.image)
    return login_shell(backend.site, {}, f"{words}python -P {arguments}")
