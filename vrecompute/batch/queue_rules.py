"""What must hold between keys of a site whose backend is a queue, said by `site check` before a run finds it out."""

from __future__ import annotations

from collections.abc import Iterator

from vrecompute.sites.model import Site
from vrecompute.sites.rules import Diagnostic, at

__all__ = ["queue_rules"]


def queue_rules(site: Site, *, images: bool = False) -> Iterator[Diagnostic]:
    """Errors where no job could be made or asked about, advice where something given is not used. Pure.

    `images`: the driver starts container images.
    """
    driver = f"the driver {site.backend}"
    if site.environment.image and not images:
        message = f"{driver} starts no container images; write environment.venv, environment.modules or "
        yield Diagnostic(at("environment.image"), message + "environment.cvmfs")
    if site.access.unicore:
        message = f"{driver} runs commands on a login node; write access: {{ssh: {{host: ...}}}}, or leave access "
        yield Diagnostic(at("access.unicore"), message + "empty if this machine has them")
    about = at("scheduler_runs", "backend")
    if site.scheduler_runs == "gateway":
        yield Diagnostic(about, f"{driver} has no gateway; did you mean 'allocation'?")
    if site.scheduler_runs == "none":
        yield Diagnostic(about, "only detached runs work; with 'allocation' live runs work too", advice=True)
    if site.scheduler_runs == "client" and site.access.kind != "local":
        yield Diagnostic(about, "behind access.ssh the scheduler runs on the login node; write 'login'", advice=True)
    if site.scheduler_runs == "none" and site.limits.max_jobs:
        message = "not used: it is for live runs, and with scheduler_runs: none there are none; remove it"
        yield Diagnostic(at("limits.max_jobs", "scheduler_runs"), message, advice=True)
    alone = site.scheduler_runs == "allocation" and not site.options.get("whole_node")
    if alone and site.limits.max_jobs == 1:
        yield Diagnostic(
            at("limits.max_jobs", "scheduler_runs"),
            "the scheduler takes the only job, so live runs are refused; raise it, or set options.whole_node",
            advice=True,
        )
