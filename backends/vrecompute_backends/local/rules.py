"""What of a site with `backend: local` is not used, said by `site check`."""

from __future__ import annotations

from collections.abc import Iterator

from vrecompute.sites.model import Limits, Site
from vrecompute.sites.rules import Diagnostic, at

__all__ = ["local_rules"]

_ENVIRONMENT = ("setup", "purge_modules", "module_paths", "modules", "venv", "conda", "image", "cvmfs")
_NETWORK = ("proxy", "interface", "worker_ports", "scheduler_ports")


def local_rules(site: Site) -> Iterator[Diagnostic]:
    """Advice where something given has no effect on this machine. Pure."""
    for key in _ENVIRONMENT:
        if getattr(site.environment, key):
            message = "not used: workers here run in the Python environment of the client; start the client in it"
            yield Diagnostic(at(f"environment.{key}", "backend"), message, advice=True)
    if site.environment.variables:
        message = "only jobs of detached runs get them; workers of live runs here have the client's environment"
        yield Diagnostic(at("environment.variables", "backend"), message, advice=True)
    for key in _NETWORK:
        if getattr(site.network, key):
            message = "not used: scheduler and workers here listen on loopback, on any free port; remove it"
            yield Diagnostic(at(f"network.{key}", "backend"), message, advice=True)
    unused = {
        "options": site.options,
        "stage.scratch": site.stage.scratch,
        "limits.max_jobs": site.limits.max_jobs,
        "limits.min_poll": site.limits.min_poll != Limits().min_poll,
    }
    for key in (key for key, given in unused.items() if given):
        yield Diagnostic(at(key, "backend"), "not used: there is no queue on this machine; remove it", advice=True)
    if site.access.kind != "local":
        message = "the driver local runs everything on this machine; remove access, or write the driver of the other's"
        yield Diagnostic(at(f"access.{site.access.kind}", "backend"), message, advice=True)
    if site.scheduler_runs != "client":
        message = "not used: the scheduler runs beside its workers on this machine; remove it"
        yield Diagnostic(at("scheduler_runs", "backend"), message, advice=True)
