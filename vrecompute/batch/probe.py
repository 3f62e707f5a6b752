"""`probe`: one small job through the real queue, and what it saw, as findings with the YAML line that would help."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from vrecompute.batch.contract import Finding, Job, JobId, JobStatus, State
from vrecompute.batch.probe_job import facts_here
from vrecompute.batch.prologue import prologue
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.scheduler import first_facts
from vrecompute.errors import Unavailable, VrecomputeError
from vrecompute.sites.model import Site

__all__ = ["judge", "probe"]

_WALLTIME_S = 120
# How long the probe job may wait in the queue.
_PATIENCE_S = 240.0
_SKEW_S = 5.0
_STORE = "$HOME/vrecompute-store"
_DETACHED = "submit detached, which needs no route"


def probe(backend: QueueBackend) -> list[Finding]:
    """Send the probe job and judge what it and the scheduler's place say; without Python there, none is sent."""
    findings = []
    meet = _start_meeting(backend)
    try:
        if meet.stdout is None or not (place := first_facts(meet.stdout)):
            return [_no_python(backend)]
        findings.append(
            _versions("versions of this client", facts_here()["versions"], place["versions"], "at the site")
        )
        started = time.monotonic()
        job_id, status = _send(backend, place["address"])
        waited = time.monotonic() - started
        told = _told(backend, job_id)
        met = _met(meet)
    finally:
        meet.kill()
        meet.wait()
    findings.append(_queue(job_id, status, waited, backend.logs(job_id) if told is None else ""))
    if told is not None:
        store = _seen_from_here(backend, told["store"]) if backend.site.store.workers_reach else ""
        findings += judge(backend.site, place, told, met, store)
    return findings


def judge(
    site: Site, place: Mapping[str, Any], told: Mapping[str, Any], met: Mapping[str, Any], store: str
) -> list[Finding]:
    """Findings from what the login node (`place`, `met`) and the job (`told`) said. Pure.

    `store` is what is wrong with the job's object as seen from here, empty if nothing. Routes are those between the
    login node and a job, on any free port. A scheduler in the allocation is reached by a tunnel through the login node,
    and calls from jobs to it are not needed.
    """
    interface, in_job = site.network.interface, site.scheduler_runs == "allocation"
    findings = [_versions("versions where the scheduler runs", place["versions"], told["versions"], "in jobs")]
    there = told["interfaces"]
    usable = [name for name in there if name in place["interfaces"] and name != "lo"]
    detail = ", ".join(f"{name} {address}" for name, address in there.items() if name != "lo")
    known = interface is None or interface in there
    advice = "" if known or not usable else f"network: {{interface: {usable[0]}}}"
    findings.append(Finding("interfaces", known, f"{told['host']}: {detail}", advice))
    if in_job:
        # the job that could not call was never called back: then nothing is known of the way to it
        routes = {"route to a job": met.get("error", "")}
    else:
        routes = {"route to the scheduler": told["call"], "route to a worker": met.get("error", "it was never called")}
    for check, error in routes.items():
        other = next((name for name in usable if name != interface), None)
        advice = f"network: {{interface: {other}}}" if error and other else ""
        if error and not advice:
            advice = f"scheduler_runs: allocation   # or {_DETACHED}" if not in_job else _DETACHED
        findings.append(Finding(check, not error, error or ("not tried" if in_job and not met else "open"), advice))
    if ports := [f"network.{key}" for key in ("worker_ports", "scheduler_ports") if getattr(site.network, key)]:
        findings.append(Finding("ports", True, f"not tried: {' and '.join(ports)}; routes were tried on free ports"))
    if "skew_s" in met:
        skew = float(met["skew_s"])
        findings.append(
            Finding("clock", abs(skew) < _SKEW_S, f"{skew:+.1f} s between the scheduler and {told['host']}")
        )
    wrong = told["store"]["error"] or store
    advice = "store: {url: ...}   # a folder that compute nodes and login node both see" if wrong else ""
    right = "the job and this machine read the same bytes" if site.store.workers_reach else "jobs need not reach it"
    findings.append(Finding("store", not wrong, wrong or right, advice))
    return findings


def _versions(check: str, here: Mapping[str, str], there: Mapping[str, str], where: str) -> Finding:
    differ = [f"{n} {mine}, {where} {there.get(n)}" for n, mine in sorted(here.items()) if there.get(n) != mine]
    advice = "environment: {venv: ...}   # the same environment for client and jobs" if differ else ""
    return Finding(check, not differ, "; ".join(differ) or f"as {where}", advice)


def _no_python(backend: QueueBackend) -> Finding:
    """The meeting did not begin: what Python says instead."""
    script = [*prologue(backend.site, {}), "exec python -c 'import vrecompute.batch.probe_job'"]
    done = backend.access.run(["bash", "-l", "-c", "\n".join(script)])
    last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
    said = f": {last[0]}" if last else ""
    lines = "environment.venv, environment.modules or environment.cvmfs"
    return Finding("python", False, f"vrecompute does not start on {backend.access}{said}", f"mend {lines}")


def _start_meeting(backend: QueueBackend) -> subprocess.Popen[bytes]:
    command = ["exec", "python", "-m", "vrecompute.batch.probe_job", "meet"]
    script = [*prologue(backend.site, {}), " ".join(command) + ' --interface "$1"']
    # what it complains of is asked for again where it does not start
    return backend.access.start(["bash", "-l", "-c", "\n".join(script), "bash", backend.site.network.interface or ""])


def _send(backend: QueueBackend, address: str) -> tuple[JobId, JobStatus]:
    url = backend.site.store.url or _STORE if backend.site.store.workers_reach else ""
    command = ["python", "-m", "vrecompute.batch.probe_job", "job", "--call", address, "--store", url]
    command += ["--interface", backend.site.network.interface or ""]
    image = backend.site.environment.image
    job_id = backend.submit(Job("vre-probe", tuple(command), memory_bytes=None, walltime_s=_WALLTIME_S, image=image))
    deadline = time.monotonic() + _PATIENCE_S
    status = JobStatus(State.UNKNOWN)
    try:
        while time.monotonic() < deadline and not status.state.terminal:
            time.sleep(0.5)
            status = backend.poll([job_id])[job_id]
    finally:
        if not status.state.terminal:
            with contextlib.suppress(Unavailable):
                backend.cancel([job_id])
    return job_id, status


def _told(backend: QueueBackend, job_id: JobId) -> dict[str, Any] | None:
    for line in reversed(backend.logs(job_id).splitlines()):
        with contextlib.suppress(json.JSONDecodeError):
            found = json.loads(line)
            if isinstance(found, dict) and "versions" in found:
                return found
    return None


def _met(meet: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The last line of the meeting; nothing where the job never called."""
    try:
        said = meet.communicate(timeout=15)[0].splitlines()[-1:]
        return dict(json.loads(said[0])) if said else {}
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return {}


def _queue(job_id: JobId, status: JobStatus, waited_s: float, log: str) -> Finding:
    if status.state is State.COMPLETED and not log:
        return Finding("queue", True, f"job {job_id} ran on {status.node}, {waited_s:.0f} s after it was submitted")
    why = status.reason or f"job {job_id} is {status.state} after {waited_s:.0f} s"
    return Finding("queue", False, f"{why} {log[-500:]}".strip(), "options: {...}   # see the reason")


def _seen_from_here(backend: QueueBackend, stored: Mapping[str, Any]) -> str:
    if stored["error"]:
        return ""
    try:
        data = backend.access.get(stored["path"])
        backend.access.delete(stored["path"])
    except (OSError, VrecomputeError) as error:
        return f"{backend.access}: {error}"
    if data is None or sha256(data).hexdigest() != stored["sha256"]:
        return f"{stored['path']} differs between the compute node and {backend.access}"
    return ""
