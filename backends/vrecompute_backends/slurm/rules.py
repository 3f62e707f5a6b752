"""What must hold between keys of a site with `backend: slurm`, said by `site check` before a run finds it out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vrecompute.batch.queue_rules import queue_rules
from vrecompute.sites.model import Site
from vrecompute.sites.rules import Diagnostic, at

__all__ = ["directive_name", "slurm_rules"]

#: Directives by what they ask for -> the key that asks for it, which limits, probes and plans of runs go by.
_HAVE_KEYS = {
    ("-t", "--time"): "workers.walltime",
    ("--mem", "--mem-per-cpu", "--mem-per-gpu"): "workers.memory",
    ("-c", "--cpus-per-task"): "workers.threads",
    ("-n", "--ntasks", "--ntasks-per-node"): "workers.processes",
    ("-N", "--nodes"): "workers.nodes",
    ("-G", "--gpus", "--gpus-per-node", "--gpus-per-task"): "workers.gpus",
    ("-p", "--partition"): "options.partition",
    ("-A", "--account"): "options.account",
    ("-q", "--qos"): "options.qos",
    ("-C", "--constraint"): "options.constraint",
    ("-L", "--licenses"): "options.licenses",
    ("--gres",): "options.gres",
    ("--reservation",): "options.reservation",
}


def slurm_rules(site: Site) -> Iterator[Diagnostic]:
    """What any queue's site must hold, and how Slurm is asked. Pure."""
    yield from queue_rules(site)
    yield from _directives(site)
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


def _directives(site: Site) -> Iterator[Diagnostic]:
    """Directives that say again what a key says: sbatch heeds the last, and everything else the key.

    Where the key has a value, one of the two is not true: jobs would have less than what runs are planned with. One in
    place of another that is dropped, as --mem-per-cpu where a site refuses --mem, is the administrator's own.
    """
    about, directives = at("options.directives.add"), site.options.get("directives") or {}
    dropped = set(directives.get("drop", ()))
    for directive in directives.get("add", ()):
        name = directive_name(directive)
        key = next((key for names, key in _HAVE_KEYS.items() if name in names), "")
        if key and _given(site, key) and (name in dropped or not dropped & _written(key)):
            yield Diagnostic(about, f"{directive} contradicts {key}, which jobs ask for too; remove it, and set {key}")
        elif key and not dropped & _written(key):
            said = f"{directive} goes over {key}, by which limits are checked and runs are planned; write {key}"
            yield Diagnostic(about, said, advice=True)
        elif name in {"-H", "--hold"}:
            yield Diagnostic(about, f"with {directive} no job starts until it is released; remove it")
        elif name in {"-b", "--begin"}:
            yield Diagnostic(about, f"with {directive} every job waits until then, that of a probe too", advice=True)


def directive_name(directive: str) -> str:
    """The option in it: of `-t10` the first two letters."""
    name = re.split("[ =]", directive, maxsplit=1)[0]
    return name if name.startswith("--") else name[:2]


def _written(key: str) -> set[str]:
    """The directives of a key that the driver may write."""
    return {name for names, of in _HAVE_KEYS.items() if of == key for name in names}


def _given(site: Site, key: str) -> bool:
    """Whether the site says how much; of some there is always a number, and every job has a walltime."""
    section, _, name = key.partition(".")
    return name == "walltime" or bool(site.options.get(name) if section == "options" else getattr(site.workers, name))
