"""What must hold between keys of a site with `backend: slurm`, said by `site check` before a run finds it out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vrecompute.batch.queue_rules import queue_rules
from vrecompute.sites.model import Site
from vrecompute.sites.rules import Diagnostic, at

__all__ = ["slurm_rules"]

#: Directives by what they ask for -> the key that asks for it, which limits, probes and plans of runs go by.
_HAVE_KEYS = {
    ("-t", "--time"): "workers.walltime",
    ("--mem",): "workers.memory",
    ("-c", "--cpus-per-task"): "workers.threads",
    ("-N", "--nodes"): "workers.nodes",
    ("--gpus-per-node",): "workers.gpus",
    ("-p", "--partition"): "options.partition",
    ("-A", "--account"): "options.account",
    ("-q", "--qos"): "options.qos",
}


def slurm_rules(site: Site) -> Iterator[Diagnostic]:
    """What any queue's site must hold, and how Slurm is asked. Pure."""
    yield from queue_rules(site)
    yield from _hidden(site)
    prefer = site.options.get("prefer", "commands")
    if prefer == "rest" and not site.options.get("rest_url"):
        yield Diagnostic(at("options.prefer"), "needs slurmrestd's address; add `rest_url: http://...` to options")
    for key in ("rest_url", "rest_token_file"):
        if prefer != "rest" and site.options.get(key):
            said = f"not used while prefer is {prefer}; write prefer: rest"
            yield Diagnostic(at(f"options.{key}"), said, advice=True)
    if site.options.get("controller_partition") and site.scheduler_runs != "allocation":
        said = f"not used: with scheduler_runs: {site.scheduler_runs} no job is for the scheduler alone"
        yield Diagnostic(at("options.controller_partition", "scheduler_runs"), f"{said}; remove it", advice=True)
    if site.environment.image and (site.options.get("launcher") == "srun" or site.workers.nodes.min > 1):
        yield Diagnostic(
            at("environment.image", "options.launcher", "workers.nodes.min"),
            "runs are live only: a detached one would call srun from inside of the image; with launcher: direct and "
            "workers.nodes.min: 1 there are both",
            advice=True,
        )
    if prefer == "pyslurm" and site.options.get("cluster"):
        said = "pyslurm asks one cluster only; write prefer: commands"
        yield Diagnostic(at("options.prefer", "options.cluster"), said)
    if prefer == "pyslurm" and site.access.kind != "local":
        yield Diagnostic(
            at("options.prefer", "access"),
            "pyslurm can ask only the Slurm of this machine, and this site is elsewhere: commands are used; write "
            "prefer: commands",
            advice=True,
        )


def _hidden(site: Site) -> Iterator[Diagnostic]:
    """Directives that say again what a key says: sbatch heeds the last, and everything else the key."""
    directives = site.options.get("directives") or {}
    for directive in directives.get("add", ()):
        name = re.split("[ =]", directive, maxsplit=1)[0]
        for names, key in _HAVE_KEYS.items():
            if name in names and not set(names) & set(directives.get("drop", ())):
                said = f"{directive} goes over {key}, by which limits are checked and runs are planned; write {key}"
                yield Diagnostic(at("options.directives.add"), said, advice=True)
