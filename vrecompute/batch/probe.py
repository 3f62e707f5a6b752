"""`probe`: all that would keep a run of a site from starting, as findings with the YAML line that would help.

    limits     what the jobs of a run ask for beside what the batch system says it gives     system_limits
    refusals   what the system says to each of these jobs, taking none                       rehearsal
    canary     a small job through the real queue, called from where the scheduler would be  canary

Each is looked at whatever the others found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vrecompute.batch.canary import Seen, fly
from vrecompute.batch.finding import Finding, yaml_line
from vrecompute.batch.job_script import BAD_ATTEMPT
from vrecompute.batch.planned import Planned, planned_detached, planned_live
from vrecompute.batch.probe_job import facts_here
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.rehearsal import rehearse
from vrecompute.batch.survey import Survey
from vrecompute.batch.system_limits import judge_limits
from vrecompute.batch.worker_finding import worker_finding
from vrecompute.batch.worker_trial import numbers
from vrecompute.errors import Unavailable, VrecomputeError
from vrecompute.sites.model import PortRange, Site

__all__ = ["judge", "probe"]

_SKEW_S = 5.0
#: Ports below are for programs of the system.
_FIRST_PORT = 1024
_SEEN_BY_BOTH = "a folder that compute nodes and login node both see"
#: By these words a prologue begins that ended at a key of `environment`.
_FAILED = re.compile(
    r"\benvironment\.(setup|purge_modules|cvmfs|module_paths|modules|venv|conda|image|variables)(?:\.\w+)?:"
)
#: What is said where Python does not start -> variables that decide which starts, and with what.
_OF_PYTHON = {
    r"No module named|Fatal Python error|no Python frame|encodings": ("PYTHONHOME", "PYTHONPATH"),
    r"shared object|shared librar|symbol|GLIBC": ("LD_PRELOAD", "LD_LIBRARY_PATH"),
    r"not found|No such file": ("PATH",),
}
_PYTHON = "environment: {venv: ...}   # or modules, or cvmfs: a Python with vrecompute, the same for client and jobs"
_DETACHED = "submit detached, which needs no route"


def probe(backend: QueueBackend, patience_s: float, tell: Callable[[str], None]) -> list[Finding]:
    """Everything that is wrong, and what was found right. The batch system must be there."""
    planned, findings = _planned(backend)
    survey, asked = _survey(backend)
    findings += asked
    if survey is not None:
        findings += judge_limits(backend.site, survey, planned, backend.queues_of)
    findings += [rehearse(backend, each, patience_s) for each in planned]
    try:
        seen = fly(backend, survey, patience_s, tell)
    except VrecomputeError as error:
        return [*findings, Finding("queue", False, str(error), "mend what the message names, then probe again")]
    return [*findings, *judge(backend.site, {**facts_here(), "numbers": numbers()}, seen)]


def _planned(backend: QueueBackend) -> tuple[list[Planned], list[Finding]]:
    """The jobs of runs; and why there can be no live, or no detached ones."""
    planned: list[Planned] = []
    findings = []
    for kind, jobs in {"live runs": planned_live, "detached runs": planned_detached}.items():
        try:
            planned += jobs(backend)
        except VrecomputeError as error:
            findings.append(Finding(kind, False, str(error), "limits: ...   # or `workers`, as the message says"))
    return planned, findings


def _survey(backend: QueueBackend) -> tuple[Survey | None, list[Finding]]:
    """The system's limits, or why they are not known."""
    try:
        survey = backend.survey()
    except Unavailable as error:
        return None, [Finding("limits", False, f"not read: {error}", "mend what the message names, then probe again")]
    if survey is None:
        said = f"not read: the driver {backend.site.backend} cannot ask {backend.system}"
        return None, [Finding("limits", True, said)]
    return survey, []


def judge(site: Site, here: Mapping[str, Any], seen: Seen) -> list[Finding]:
    """Findings from what this client, the place of the scheduler and the job said. Pure.

    Routes are those between the login node and a job, on the ports that the site names. A scheduler in the allocation
    is reached by a tunnel through the login node, and calls from jobs to it are not needed.
    """
    findings = list(_place(site, here, seen))
    findings.append(_queue(site, seen))
    if seen.store and not seen.told:
        findings.append(_store(site, seen))
    if seen.told:
        findings.append(_versions("versions in jobs", here["versions"], seen.told["versions"], "in jobs"))
        findings.append(_interfaces(site, seen.told, seen.place))
        findings += _routes(site, seen)
        findings += _ports(site, seen.told)
        if "worker" in seen.told:
            findings.append(worker_finding(site, here["numbers"], seen.told))
        findings.append(_store(site, seen))
    return findings


def _python(site: Site, said: str = "") -> str:
    """The line of the site's file that makes Python start: the one that failed, where what is said names it."""
    if named := _FAILED.findall(said):
        return f"environment: {{{named[-1]}: ...}}   # the line that failed"
    for blamed, value in site.environment.variables.items():
        if re.search(rf"\b{re.escape(blamed)}\b", said) or ("/" in value and value in said):
            return f"environment: {{variables: {{{blamed}: ...}}}}   # {value} does not serve there"
    for words, names in _OF_PYTHON.items():
        name = next((name for name in names if name in site.environment.variables), None)
        if name and re.search(words, said):
            return f"environment: {{variables: {{{name}: ...}}}}   # Python does not start with it as it is set there"
    image = "environment: {image: ..., image_command: [...]}   # which start Python with vrecompute"
    return image if site.environment.image else _PYTHON


def _place(site: Site, here: Mapping[str, Any], seen: Seen) -> Iterator[Finding]:
    """Where the scheduler of a live run would be, or a tunnel to it begin."""
    needed = site.scheduler_runs in {"client", "login"}
    if not seen.place:
        said = f"vrecompute does not start on {seen.where}{f': {seen.complaint}' if seen.complaint else ''}"
        said += "" if needed else "; nothing needs it there"
        yield Finding("python", not needed, said, _python(site, seen.complaint) * needed)
        return
    check = f"versions on {seen.where}"
    yield _versions(check, here["versions"], seen.place["versions"], f"on {seen.where}")
    ports = site.network.scheduler_ports
    if ports is not None and needed:
        yield _port_finding("scheduler", ports, seen.place["host"], seen.place["taken"] is False, 1)


def _queue(site: Site, seen: Seen) -> Finding:
    if seen.refusal:
        return Finding("queue", False, seen.refusal, seen.advice)
    if seen.ran and seen.told:
        return Finding("queue", True, f"job {seen.job_id} on {seen.told['host']} ended after {seen.waited_s:.0f} s")
    if seen.ran:
        said = f"job {seen.job_id} ended without an answer ({seen.reason}). {seen.log}"
        if BAD_ATTEMPT in seen.log:
            return Finding("queue", False, said, f"{BAD_ATTEMPT} {site.backend}: a shell text that gives 0, 1, ...")
        if not seen.spool and "(nothing)" in seen.log:
            said += ": its shell ended before Python began, as where a line of environment.setup is `exec` or `exit`"
            return Finding("queue", False, said, "environment: {setup: ...}   # the line that ends the shell")
        if seen.spool and (files := _files_of_directives(site)):
            said += f": it writes no log into {seen.spool}, as where the system cannot open a file of {files}"
            return Finding("queue", False, said, f"options: {{directives: {{add: ...}}}}   # {files}")
        if seen.spool:
            said += f" in {seen.spool}: the node that ran it does not write into that folder of {seen.where}"
            return Finding("queue", False, said, f"stage: {{scratch: ...}}   # {_SEEN_BY_BOTH}")
        return Finding("queue", False, said, _python(site, seen.log))
    if seen.problem:
        said = f"how job {seen.job_id} is cannot be asked: {seen.problem}"
        ways = f"options.prefer: {site.options['prefer']}" if site.options.get("prefer") else "the batch system"
        return Finding("queue", False, said, f"options: {{...}}   # {ways} does not answer, as the message says")
    otherwise = "options: ...   # see the reason; or a longer --patience"
    return Finding("queue", False, seen.reason, seen.advice or otherwise)


def _files_of_directives(site: Site) -> str:
    """Directives of the site's own that name a path, which the system opens before the job begins."""
    directives = site.options.get("directives")
    added = directives.get("add", ()) if isinstance(directives, Mapping) else ()
    return ", ".join(str(each) for each in added if "/" in str(each))


def _interfaces(site: Site, told: Mapping[str, Any], place: Mapping[str, Any]) -> Finding:
    """Whether workers and scheduler have the interface that the site names."""
    interface, there = site.network.interface, told["interfaces"]
    if lacking := _without_interface(site, told, place):
        usable = [name for name in there if name in place.get("interfaces", there) and name != "lo"]
        advice = yaml_line("network.interface", usable[0] if usable else "...")
        said = (f"{host['host']} has no interface {interface}, only {_addresses(host)}" for host in lacking)
        return Finding("interfaces", False, "; ".join(said), advice)
    return Finding("interfaces", True, f"{told['host']}: {_addresses(told)}")


def _without_interface(site: Site, told: Mapping[str, Any], place: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    hosts = [told, *([place] if place and site.scheduler_runs in {"client", "login"} else [])]
    return [host for host in hosts if site.network.interface not in (None, *host["interfaces"])]


def _addresses(host: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {address}" for name, address in host["interfaces"].items() if name != "lo")


def _routes(site: Site, seen: Seen) -> Iterator[Finding]:
    """Those that a live run needs; none is known where nothing called or was called."""
    told, met, in_job = seen.told, seen.met, site.scheduler_runs == "allocation"
    if told["call"] is None:
        yield Finding("routes", True, "not tried, as nothing listened where the scheduler would be")
        return
    if _without_interface(site, told, seen.place):
        yield Finding("routes", True, f"not tried, as interface {site.network.interface} is missing")
        return
    if in_job:
        # the job that could not call was never called back: then nothing is known of the way to it
        routes = {"route to a job": met.get("error", "")}
    else:
        routes = {"route to the scheduler": told["call"], "route to a worker": met.get("error", "it was never called")}
    usable = [name for name in told["interfaces"] if name in seen.place["interfaces"] and name != "lo"]
    open_way = "open, with TLS" if site.network.tls else "open"
    for check, error in routes.items():
        other = next((name for name in usable if name != site.network.interface), None)
        advice = yaml_line("network.interface", other) if error and other else ""
        if error and not advice:
            advice = f"scheduler_runs: allocation   # or {_DETACHED}" if not in_job else _DETACHED
        yield Finding(check, not error, error or ("not tried" if in_job and not met else open_way), advice)
    if "skew_s" in met:
        skew = float(met["skew_s"])
        right, detail = abs(skew) < _SKEW_S, f"{skew:+.1f} s between {seen.place['host']} and {told['host']}"
        yield Finding("clock", right, detail, "" if right else "have the site set the clocks of its nodes (NTP)")


def _ports(site: Site, told: Mapping[str, Any]) -> Iterator[Finding]:
    """Ports that can be opened on a compute node: of its workers, and of the scheduler of a detached run."""
    network, free = site.network, told["free"]
    if network.worker_ports is not None:
        processes = site.workers.processes
        is_free = free["workers"] >= processes
        yield _port_finding("worker", network.worker_ports, told["host"], is_free, 2 * processes)
    if network.scheduler_ports is not None:
        yield _port_finding("scheduler", network.scheduler_ports, told["host"], free["scheduler"], 1)


def _port_finding(whose: str, ports: PortRange, host: str, is_free: bool, needed: int) -> Finding:
    check, key = f"{whose} ports on {host}", f"network.{whose}_ports"
    if is_free:
        return Finding(check, True, f"{needed} of {ports} can be opened")
    if ports.first < _FIRST_PORT:
        said = f"{needed} of {ports} cannot be opened on {host}: programs of users may open none below {_FIRST_PORT}"
        wanted = f"{_FIRST_PORT}-{max(ports.last, _FIRST_PORT + needed) + 100}"
        return Finding(check, False, f"{said}; move {key}", yaml_line(key, wanted))
    said = f"{needed} of {ports} cannot be opened on {host}: other programs use them"
    return Finding(
        check, False, f"{said}; widen {key}", yaml_line(key, f"{ports.first}-{min(65535, ports.last + 100)}")
    )


def _store(site: Site, seen: Seen) -> Finding:
    wrong = seen.store or seen.told["store"]["error"]
    advice = ""
    if wrong:
        bucket = "://" in (site.store.url or "")
        advice = "store: {endpoint: ..., credentials: {...}}" if bucket else f"store: {{url: ...}}   # {_SEEN_BY_BOTH}"
    right = "the job and this machine read the same bytes" if site.store.workers_reach else "jobs need not reach it"
    return Finding("store", not wrong, wrong or right, advice)


def _versions(check: str, here: Mapping[str, str], there: Mapping[str, str], where: str) -> Finding:
    differ = [f"{n} {mine} here, {where} {there.get(n)}" for n, mine in sorted(here.items()) if there.get(n) != mine]
    return Finding(check, not differ, "; ".join(differ) or "as of this client", _PYTHON if differ else "")
