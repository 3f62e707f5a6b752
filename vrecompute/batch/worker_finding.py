"""`worker_finding`: what a worker that a probe tried means, and the line of the site's file that is the cause."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vrecompute.batch.finding import Finding, yaml_line
from vrecompute.sites.model import Site

__all__ = ["worker_finding"]

#: What the system says of a process that may have no more.
_NO_MORE = re.compile(r"open files|allocate|MemoryError|new thread|shared object|unavailable|Killed|failed to start")
_LIMIT = re.compile(r"\bulimit\b|\bprlimit\b")
#: Variables that change what is compiled, or which library is loaded.
_OF_NUMBERS = ("NUMBA_", "LLVM", "PYTHON", "LD_", "NPY_", "OPENBLAS_", "MKL_")


def worker_finding(site: Site, numbers: Mapping[str, Any], told: Mapping[str, Any]) -> Finding:
    """Whether it computed what this client would; `numbers` are the client's own. Pure."""
    check, tried = f"worker on {told['host']}", told["worker"]
    if tried["error"]:
        said = f"it is started as for a run, and computes nothing: {tried['error']}"
        return Finding(check, False, said, _cause(site, tried["error"]))
    there = tried["numbers"]
    if there["numerics"] == numbers["numerics"] and there["code"] != numbers["code"]:
        said = (
            "a function that numba compiles is another there than here: a run would end with 'different code', since "
            "results of different versions are never mixed"
        )
        return Finding(check, False, said, _of_variables(site) or _environment(site))
    return Finding(check, True, "it connected, compiled and computed")


def _cause(site: Site, said: str) -> str:
    """The line that is the likely cause."""
    if site.network.worker_ports is not None and re.search(r"\bports?\b|port_start", said):
        return yaml_line("network.worker_ports", "...")
    limits = next((line for line in site.environment.setup if _LIMIT.search(line)), None)
    if limits is not None and _NO_MORE.search(said):
        return f"environment: {{setup: ...}}   # {limits}"
    return _of_variables(site) or _environment(site)


def _of_variables(site: Site) -> str:
    name = next((name for name in site.environment.variables if name.startswith(_OF_NUMBERS)), None)
    return f"environment: {{variables: {{{name}: ...}}}}   # leave it out" if name else ""


def _environment(site: Site) -> str:
    """Of the section, the line that a probe cannot judge better than its administrator."""
    if site.environment.setup:
        return f"environment: {{setup: ...}}   # {'; '.join(site.environment.setup)}"
    return "environment: {...}   # the Python, modules and variables that jobs get"
