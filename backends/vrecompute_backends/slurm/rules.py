"""What must hold between keys of a site with `backend: slurm`, said by `site check` before a run finds it out."""

from __future__ import annotations

from collections.abc import Iterator

from vrecompute.sites.model import Site
from vrecompute.sites.rules import Diagnostic, at

__all__ = ["slurm_rules"]


def slurm_rules(site: Site) -> Iterator[Diagnostic]:
    """Errors where no job could be made or asked about, advice where something given is not used. Pure."""
    if site.environment.image:
        yield Diagnostic(
            at("environment.image"),
            "the driver slurm starts no container images; write environment.venv, environment.modules or "
            "environment.cvmfs",
        )
    if site.access.unicore:
        yield Diagnostic(
            at("access.unicore"),
            "the driver slurm runs Slurm's commands on a login node; write access: {ssh: {host: ...}}, or leave access "
            "empty if this machine has them",
        )
    yield from _scheduler(site)
    yield from _asking(site)


def _scheduler(site: Site) -> Iterator[Diagnostic]:
    about = at("scheduler_runs", "backend")
    if site.scheduler_runs == "gateway":
        yield Diagnostic(about, "the driver slurm has no gateway; did you mean 'allocation'?")
    if site.scheduler_runs == "none":
        yield Diagnostic(about, "only detached runs work; with 'allocation' live runs work too", advice=True)
    if site.scheduler_runs == "client" and site.access.kind != "local":
        yield Diagnostic(about, "behind access.ssh the scheduler runs on the login node; write 'login'", advice=True)
    alone = site.scheduler_runs == "allocation" and not site.options.get("whole_node")
    if alone and site.limits.max_jobs == 1:
        yield Diagnostic(
            at("limits.max_jobs", "scheduler_runs"),
            "the scheduler takes the only job, so live runs are refused; raise it, or set options.whole_node",
            advice=True,
        )


def _asking(site: Site) -> Iterator[Diagnostic]:
    prefer, given = site.options.get("prefer", "commands"), site.options.get("rest_url")
    if prefer == "rest" and not given:
        yield Diagnostic(at("options.prefer"), "needs slurmrestd's address; add `rest_url: http://...` to options")
    if prefer != "rest" and given:
        yield Diagnostic(at("options.rest_url"), f"not used while prefer is {prefer}; write prefer: rest", advice=True)
    if prefer == "pyslurm" and site.options.get("cluster"):
        yield Diagnostic(
            at("options.prefer", "options.cluster"), "pyslurm asks one cluster only; write prefer: commands"
        )
    if prefer == "pyslurm" and site.access.kind != "local":
        yield Diagnostic(
            at("options.prefer", "access"),
            "pyslurm can ask only the Slurm of this machine, and this site is elsewhere: commands are used; write "
            "prefer: commands",
            advice=True,
        )
