"""What must hold between keys of a site with `backend: slurm`, said by `site check` before a run finds it out; and
which of them has asked for what Slurm complains of: Slurm names a thing, and the file who asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from vrecompute.batch.directives import DirectiveWords
from vrecompute.batch.queue_rules import queue_rules
from vrecompute.sites.model import Site
from vrecompute.sites.rules import Diagnostic, at

__all__ = ["asked_by", "slurm_rules"]

_DIRECTIVES = DirectiveWords(
    keys={
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
    },
    about={
        r"node configuration|node name|node list|BadConstraints|ReqNodeNotAvail|feature": (
            *("-x", "--exclude", "-w", "--nodelist", "-F", "--nodefile", "-C", "--constraint", "--contiguous"),
            *("--mincpus", "--tmp", "--switches", "-B", "--extra-node-info", "--sockets-per-node"),
            "--cores-per-socket",
        ),
        r"BeginTime|begin time": ("-b", "--begin"),
        r"JobHeldUser": ("-H", "--hold"),
        r"dependency": ("-d", "--dependency"),
        r"partition": ("-p", "--partition"),
        r"account": ("-A", "--account"),
        r"qos": ("-q", "--qos"),
        r"reservation": ("--reservation",),
        r"license": ("-L", "--licenses"),
        r"generic resource|gres": ("--gres", "-G", "--gpus", "--gpus-per-node", "--gpus-per-task"),
        r"time limit|TimeLimit|DeadLine": ("-t", "--time", "--time-min", "--deadline"),
        r"memory|Mem": ("--mem", "--mem-per-cpu", "--mem-per-gpu"),
    },
    holds=frozenset({"-H", "--hold"}),
    delays=frozenset({"-b", "--begin"}),
)


def slurm_rules(site: Site) -> Iterator[Diagnostic]:
    """What any queue's site must hold, and how Slurm is asked. Pure."""
    yield from queue_rules(site)
    yield from _DIRECTIVES.rules(site)
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


def asked_by(site: Site, said: str, key: str, count: int = 1) -> str:
    """The key that what Slurm said to so many copies of a job is about; `key` is what its words alone name. Pure.

    A directive that was added is heeded last by sbatch, so it is the one; else the option, or the number of workers,
    that the file has.
    """
    if _DIRECTIVES.asked_for(site, said):
        return "options.directives"
    if key == "options.gres" and not site.options.get("gres") and site.workers.gpus:
        return "workers.gpus"
    if count == 1 and key == "workers.nodes.min":  # no fewer jobs would be taken
        return "options.qos" if "QOSMax" in said or "QOSGrp" in said else "options.account"
    return key
