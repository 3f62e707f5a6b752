"""What must hold between keys of a site: pure functions of a `Site`, each saying which keys it is about.

An error is a site that cannot work; advice is one that probably does not do what its author wants.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vrecompute.sites.leaves import KeyPath
from vrecompute.sites.model import Accounting, Credentials, Site, Ssh

__all__ = ["Diagnostic", "at", "findings"]

#: Of what Python takes as PYTHONHASHSEED.
_LAST_SEED = 4294967295

#: What a job needs before its workers compute anything: a minute to start, and one at its end to write what there is.
_LEAST_WALLTIME_S = 120


@dataclass(frozen=True)
class Diagnostic:
    """What is wrong between keys; `about` starts with the one to point at."""

    about: tuple[KeyPath, ...]
    message: str
    advice: bool = False


def findings(site: Site) -> Iterator[Diagnostic]:
    """Everything the rules find, in the order of the sections."""
    for rule in _RULES:
        yield from rule(site)


def at(*dotted: str) -> tuple[KeyPath, ...]:
    """The keys that a Diagnostic is about, from their names with dots."""
    return tuple(tuple(path.split(".")) for path in dotted)


def _access(site: Site) -> Iterator[Diagnostic]:
    if site.access.ssh and site.access.unicore:
        yield Diagnostic(at("access.unicore", "access.ssh"), "both ssh and unicore are given; remove one")
    if site.access.ssh:
        yield from _host(site.access.ssh)
    if site.access.unicore:
        yield from _credentials(site.access.unicore.credentials, "access.unicore.credentials")


def _host(ssh: Ssh) -> Iterator[Diagnostic]:
    """Of `user@host:port`, which ssh does not take, what belongs beside the host."""
    user, _, name = ssh.host.rpartition("@")
    host, _, port = name.partition(":")
    if name.count(":") == 1:  # an address of IPv6 has more
        parts = [f"host: {host}", *([f"user: {user}"] if user else []), *([f"port: {port}"] if port else [])]
        yield Diagnostic(at("access.ssh.host"), f"'{ssh.host}' has a port in it; write {', '.join(parts)}")
    if user and ssh.user and user != ssh.user:
        about = at("access.ssh.user", "access.ssh.host")
        yield Diagnostic(about, f"the host has the user {user} in it and this is {ssh.user}; remove one")


def _credentials(credentials: Credentials, path: str) -> Iterator[Diagnostic]:
    given = [kind for kind in ("profile", "file", "env") if getattr(credentials, kind)]
    if len(given) != 1:
        found = " and ".join(given) or "nothing"
        yield Diagnostic(at(path), f"expected exactly one of profile, file, env, found {found}; write one")


def _network(site: Site) -> Iterator[Diagnostic]:
    network, workers = site.network, site.workers
    if network.compute_outbound == "proxy" and not network.proxy:
        yield Diagnostic(at("network.compute_outbound", "network.proxy"), "add `proxy: http://...`, its address")
    if network.proxy and network.compute_outbound != "proxy":
        message = f"not used while compute_outbound is {network.compute_outbound}; write compute_outbound: proxy"
        yield Diagnostic(at("network.proxy", "network.compute_outbound"), message)
    if network.worker_ports and len(network.worker_ports) < 2 * workers.processes:
        yield Diagnostic(
            at("network.worker_ports", "workers.processes"),
            f"{len(network.worker_ports)} ports for {workers.processes} worker processes on a node; each process needs "
            "two, one for itself and one for its Dask nanny; widen the range",
        )
    if not network.tls:
        about = at("network.tls")
        yield Diagnostic(about, "without TLS, any user who reaches a port can run code as you; remove it", advice=True)


def _scheduler(site: Site) -> Iterator[Diagnostic]:
    cut_off = site.network.compute_outbound == "none"
    about = at("scheduler_runs", "network.compute_outbound", "access")
    if cut_off and site.scheduler_runs == "client" and site.access.kind != "local":
        yield Diagnostic(
            about,
            "compute nodes have no outbound connections, so workers cannot reach a scheduler in the client; did you "
            "mean 'allocation'?",
        )
    if site.scheduler_runs in ("allocation", "none") and not site.store.url and site.store.workers_reach:
        yield Diagnostic(
            at("store.url", "scheduler_runs"),
            f"with scheduler_runs: {site.scheduler_runs} results come back through the store, by default a folder in "
            "your home; add `store: {url: ...}` unless compute nodes share home folders",
            advice=True,
        )


def _workers(site: Site) -> Iterator[Diagnostic]:
    nodes, workers, limits = site.workers.nodes, site.workers, site.limits
    if nodes.max is not None and nodes.min > nodes.max:
        yield Diagnostic(
            at("workers.nodes.min", "workers.nodes.max"), f"min {nodes.min} is above max {nodes.max}; lower it"
        )
    if workers.walltime and workers.sweet_spot and workers.sweet_spot > workers.walltime:
        yield Diagnostic(at("workers.sweet_spot", "workers.walltime"), "longer than walltime; make it shorter")
    if workers.walltime and workers.walltime < _LEAST_WALLTIME_S:
        yield Diagnostic(
            at("workers.walltime"),
            f"{workers.walltime} s is hardly enough for workers to start, and Slurm counts whole minutes; write 5m or "
            "more",
            advice=True,
        )
    if limits.max_jobs and limits.max_jobs < nodes.min:
        message = (
            f"a run starts with {nodes.min} jobs (workers.nodes.min), and only {limits.max_jobs} are allowed; raise it"
        )
        yield Diagnostic(at("limits.max_jobs", "workers.nodes.min"), message)
    if workers.memory is not None and workers.max_memory is not None and workers.max_memory < workers.memory:
        about = at("workers.max_memory", "workers.memory")
        yield Diagnostic(about, "below memory, which jobs ask for already; raise it, or leave it out")
    per_process = workers.memory_per_process
    if per_process is not None and per_process < 2**28:
        yield Diagnostic(
            at("workers.memory", "workers.processes"),
            f"{workers.processes} worker processes share it: {per_process // 2**20} MiB each is too little for Python; "
            "raise it",
        )


def _store(site: Site) -> Iterator[Diagnostic]:
    url = site.store.url
    in_bucket = bool(url and url.startswith("s3://"))
    if url and "://" in url and not in_bucket:
        yield Diagnostic(at("store.url"), f"not {url.split('://')[0]}://; write s3://bucket/prefix or a folder")
    elif url and not in_bucket and not _is_absolute(url):
        yield Diagnostic(at("store.url"), f"a folder must start with / or a variable; did you mean '$HOME/{url}'?")
    elif in_bucket and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{2,62}([/?].*)?", url or ""):
        yield Diagnostic(at("store.url"), "write s3://bucket/prefix; a bucket has small letters, digits, '.' and '-'")
    for key in ("endpoint", "credentials"):
        if getattr(site.store, key) and not in_bucket:
            yield Diagnostic(at(f"store.{key}", "store.url"), "only for a bucket; write url: s3://bucket/prefix")
    if site.store.credentials:
        yield from _credentials(site.store.credentials, "store.credentials")


def _stage(site: Site) -> Iterator[Diagnostic]:
    stage = site.stage
    if stage.mover != "none" and not stage.scratch:
        yield Diagnostic(at("stage.mover", "stage.scratch"), "no folder to copy to; add `scratch: $SCRATCH/...`")
    if stage.quota and not stage.scratch:
        yield Diagnostic(at("stage.quota", "stage.scratch"), "no folder to limit; add `scratch: $SCRATCH/...`")
    for path in (*((stage.scratch,) if stage.scratch else ()), *stage.shared):
        if not _is_absolute(path):
            key = "stage.shared" if path in stage.shared else "stage.scratch"
            yield Diagnostic(at(key), f"'{path}' is relative; start it with / or a variable such as $SCRATCH")


def _environment(site: Site) -> Iterator[Diagnostic]:
    environment = site.environment
    pairs = (("image", "venv"), ("image", "conda"), ("image", "cvmfs"), ("conda", "venv"))
    for one, other in pairs:
        if getattr(environment, one) and getattr(environment, other):
            about = at(f"environment.{one}", f"environment.{other}")
            article = "an " if one == "image" else ""
            yield Diagnostic(about, f"python comes from {article}{one} or from {other}, not from both; remove one")
    if environment.module_paths and not environment.modules:
        message = "no module is loaded from there; name them in modules, or remove it"
        yield Diagnostic(at("environment.module_paths", "environment.modules"), message, advice=True)
    for path in environment.module_paths:
        if not _is_absolute(path):
            message = f"'{path}' is relative; start it with / or a variable such as $HOME"
            yield Diagnostic(at("environment.module_paths"), message)
    if environment.conda and not _is_absolute(environment.conda) and "/" in environment.conda:
        message = f"'{environment.conda}' is neither a name nor a folder; start a folder with / or a variable"
        yield Diagnostic(at("environment.conda"), message)
    seed = environment.variables.get("PYTHONHASHSEED")
    if seed is not None and not _is_seed(seed):
        # Dask's nannies take another number for 0, and `random` is another one in each process
        message = f"'{seed}' is no number from 1 to {_LAST_SEED}, with which all workers agree; write one, or remove it"
        yield Diagnostic(at("environment.variables.PYTHONHASHSEED"), message)
    if environment.image_command and not environment.image:
        message = "not used: there is no image; add `image: ...`, or remove it"
        yield Diagnostic(at("environment.image_command"), message, advice=True)


def _accounting(site: Site) -> Iterator[Diagnostic]:
    if site.accounting.pue is not None and site.accounting.pue < 1:
        yield Diagnostic(at("accounting.pue"), "a power usage effectiveness is never below 1.0; write 1.0 or more")


def _not_built_yet(site: Site) -> Iterator[Diagnostic]:
    """Keys that describe what README lists as missing, and what happens instead."""
    stage, in_place = site.stage, "inputs are not staged yet: workers read every file where it is; remove it"
    given = {
        "stage.mover": (stage.mover != "none", in_place),
        "stage.quota": (stage.quota is not None, in_place),
        "stage.shared": (bool(stage.shared), in_place),
        "accounting": (site.accounting != Accounting(), "reports tell neither cost nor energy yet; it is not used"),
    }
    for key, (is_given, message) in given.items():
        if is_given:
            yield Diagnostic(at(key), message, advice=True)


def _is_seed(text: str) -> bool:
    return re.fullmatch("[0-9]{1,10}", text) is not None and 1 <= int(text) <= _LAST_SEED


def _is_absolute(path: str) -> bool:
    return path[0] in "/$~"


_RULES: tuple[Callable[[Site], Iterator[Diagnostic]], ...] = (
    _access,
    _scheduler,
    _network,
    _workers,
    _store,
    _stage,
    _environment,
    _accounting,
    _not_built_yet,
)
