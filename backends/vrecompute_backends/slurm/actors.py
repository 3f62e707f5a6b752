"""Which key of a site's file has asked for what Slurm complains of: Slurm names a thing, and the file who asks for it.

A directive that was added is heeded last by sbatch, so it is the one; else the option, or the number of workers, that
the file has.
"""

from __future__ import annotations

import re

from vrecompute.sites.model import Site
from vrecompute_backends.slurm.rules import directive_name

__all__ = ["actor"]

#: Words of complaints and of reasons to wait -> directives that ask for what they are about.
_DIRECTIVES = {
    r"node configuration|node name|node list|BadConstraints|ReqNodeNotAvail|feature": (
        *("-x", "--exclude", "-w", "--nodelist", "-F", "--nodefile", "-C", "--constraint", "--contiguous"),
        *("--mincpus", "--tmp", "--switches", "-B", "--extra-node-info", "--sockets-per-node", "--cores-per-socket"),
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
}


def actor(site: Site, said: str, key: str, count: int = 1) -> str:
    """The key that what Slurm said to so many copies of a job is about; `key` is what its words alone name. Pure."""
    options = site.options
    added = {directive_name(directive) for directive in (options.get("directives") or {}).get("add", ())}
    if any(added & set(names) and re.search(words, said, re.IGNORECASE) for words, names in _DIRECTIVES.items()):
        return "options.directives"
    if key == "options.gres" and not options.get("gres") and site.workers.gpus:
        return "workers.gpus"
    if count == 1 and key == "workers.nodes.min":  # no fewer jobs would be taken
        return "options.qos" if "QOSMax" in said or "QOSGrp" in said else "options.account"
    return key
