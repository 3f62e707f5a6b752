"""A configuration of dask-jobqueue as a draft of a site: every key with a value becomes a key here, or is named.

Keys are those of dask-jobqueue's own jobqueue.yaml, whose classes take them as arguments too; `_` is as good as `-`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dask.utils import parse_bytes
from distributed.deploy.utils import nprocesses_nthreads

from vrecompute.config.marked_yaml import parse_yaml, plain, read_text
from vrecompute.errors import SiteError
from vrecompute.nearest import did_you_mean
from vrecompute.newsite.draft import Draft
from vrecompute.units import format_duration, format_memory, from_slurm_time

__all__ = ["SYSTEMS", "from_jobqueue", "sections"]

#: Sections of jobqueue.yaml; each is the name of the driver here, too.
SYSTEMS = ("htcondor", "local", "lsf", "moab", "oar", "pbs", "sge", "slurm")

_JOB = "jobs here have it from their own script; it is not needed"
_WHY_NOT = {
    "name": "jobs are named after their run",
    "death-timeout": "a worker waits for its scheduler as long as its job has time",
    "local-directory": "workers keep files in the node's $TMPDIR; set that in environment.variables",
    "worker-command": _JOB,
    "shebang": _JOB,
    "use-stdin": _JOB,
    "log-directory": "logs lie in stage.scratch, which has another value already",
    "cancel-command-extra": "jobs are cancelled by their id alone",
    "submit-command-extra": "commands take no other arguments; write a directive",
}
#: Directives of Slurm with a key of their own here, by every name that sbatch knows.
_DIRECTIVES = {
    "partition": ("-p", "--partition"), "account": ("-A", "--account"), "qos": ("-q", "--qos"),
    "constraint": ("-C", "--constraint"), "licenses": ("-L", "--licenses"), "gres": ("--gres",),
    "reservation": ("--reservation",), "cluster": ("-M", "--clusters", "--cluster"),
}  # fmt: skip
#: Directives of Slurm that say what workers have, and the key for that.
_OF_JOBS = {
    "-t": "workers.walltime", "--time": "workers.walltime", "--mem": "workers.memory", "-c": "workers.threads",
    "--cpus-per-task": "workers.threads", "-N": "workers.nodes", "--nodes": "workers.nodes",
    "--gpus-per-node": "workers.gpus", "-G": "workers.gpus", "--gpus": "workers.gpus",
    "--mem-per-cpu": "workers.memory", "-n": "workers.processes", "--ntasks": "workers.processes",
    "--ntasks-per-node": "workers.processes",
}  # fmt: skip
#: Those that the driver writes for itself.
_OF_DRIVER = {"-J", "--job-name", "-o", "--output", "-e", "--error", "--open-mode", "-D", "--chdir"}
#: Commands of HTCondor's submit description with a key of their own here.
_COMMANDS = {
    "accounting_group": "accounting_group", "accounting_group_user": "accounting_user", "requirements": "requirements",
}  # fmt: skip
_OF_WORKERS = {"--worker-port": "network.worker_ports", "--interface": "network.interface"}
_ACTIVATE = (["conda", "activate"], ["mamba", "activate"], ["micromamba", "activate"])
_EXPORT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(\S+|\"[^\"]*\"|'[^']*')")


def sections(path: Path) -> dict[str, dict[str, Any]]:
    """The configuration of each batch system in a file; SiteError where it is none."""
    try:
        text, problems = read_text(path, str(path))
    except OSError as error:
        raise SiteError(f"--from {path}: it cannot be read: {error.strerror or error}") from error
    tree = None
    if not problems:
        tree, problems = parse_yaml(text, str(path))
    if tree is None or problems:
        said = "\n".join(f"  {problem}" for problem in problems)
        raise SiteError(f"{path} cannot be read as a configuration of dask-jobqueue:\n{said}")
    data = plain(tree)
    found = data.get("jobqueue", data)
    if not isinstance(found, dict) or not found or not all(isinstance(each, dict) for each in found.values()):
        raise SiteError(f"{path}: expected `jobqueue:` with a batch system below it, such as `slurm:`")
    if unknown := [name for name in found if name not in SYSTEMS]:
        meant = did_you_mean(unknown[0], SYSTEMS)
        raise SiteError(f"{path}: dask-jobqueue has no batch system {unknown[0]!r}; {meant}")
    return found


def from_jobqueue(system: str, given: Mapping[str, Any]) -> Draft:
    """The draft that a section's keys give; `left_out` names all others."""
    return _Reading(system, given).draft()


class _Reading:
    """One section. What is taken is removed from `left`, so that nothing can be forgotten."""

    def __init__(self, system: str, given: Mapping[str, Any]) -> None:
        self.system = system
        self.left = {key.replace("_", "-"): value for key, value in given.items() if value not in (None, "", [], {})}
        self.out = Draft()

    def draft(self) -> Draft:
        """The whole of it."""
        self._shape()
        self._python()
        self.move("interface", "network.interface")
        for key in ("shared-temp-directory", "log-directory"):
            if not self.out.has("stage.scratch"):
                self.move(key, "stage.scratch")
        for key in ("env-extra", "job-script-prologue"):
            for line in self.lines(key):
                self._prologue(line, self.origin(key))
        for key in ("extra", "worker-extra-args"):
            self._worker_arguments(key)
        self._scheduler()
        self._walltime()
        if self.system == "slurm":
            self._slurm()
        if self.system == "htcondor":
            self._htcondor()
        for key, value in self.left.items():
            self.out.drop(f"{self.origin(key)}: {_shown(value)}", self._why_not(key))
        return self.out

    def origin(self, key: str) -> str:
        """How a key is called in what is said of it."""
        return f"jobqueue.{self.system}.{key}"

    def move(self, key: str, to: str, made: Callable[[Any], Any] = lambda value: value) -> None:
        """Take a value over, where it can be made into one of ours."""
        if key not in self.left:
            return
        value = self.left.pop(key)
        try:
            if isinstance(value, (dict, list)):
                raise TypeError("expected one value")
            self.out.take(to, made(value), self.origin(key))
        except (ValueError, TypeError, AttributeError) as error:
            self.out.drop(f"{self.origin(key)}: {_shown(value)}", str(error))

    def lines(self, key: str) -> list[str]:
        """Of a list or a text, which is then read."""
        value = self.left.pop(key, [])
        return [str(line) for line in (value if isinstance(value, list) else str(value).splitlines())]

    def _shape(self) -> None:
        for key in ("cores", "processes"):
            if key in self.left and (type(self.left[key]) is not int or self.left[key] < 1):
                self.out.drop(f"{self.origin(key)}: {_shown(self.left.pop(key))}", "expected a number from 1 up")
        cores, processes = self.left.pop("cores", 0), self.left.pop("processes", 0)
        # without a number of processes, what dask-jobqueue makes of the cores
        if wanted := processes or (cores and nprocesses_nthreads(cores)[0]):
            self.out.take("workers.processes", wanted, self.origin("processes" if processes else "cores"))
            self.out.take("workers.threads", max(1, cores // wanted), self.origin("cores"))
            if cores % wanted:
                rest = f"{cores} cores for {wanted} processes leave {cores % wanted} unused"
                self.out.drop(self.origin("cores"), f"{rest}; change workers.processes")
        self.move("memory", "workers.memory", _memory)

    def _python(self) -> None:
        found = re.fullmatch(r"(.+)/bin/python[0-9.]*", str(self.left.get("python", "")))
        if found and found[1] not in {"/usr", "/usr/local"}:
            self.move("python", "environment.venv", lambda value: found[1])

    def _prologue(self, line: str, origin: str) -> None:
        """Modules, a virtual or conda environment and variables have keys here."""
        words = line.strip().rstrip(";").split()
        if words[:2] == ["module", "load"] and len(words) > 2:
            self.out.take("environment.modules", words[2:], origin)
        elif words[:2] == ["module", "use"] and len(words) > 2:
            self.out.take("environment.module_paths", words[2:], origin)
        elif words == ["module", "purge"]:
            self.out.take("environment.purge_modules", True, origin)
        elif words[:2] in _ACTIVATE and len(words) == 3:
            self.out.take("environment.conda", words[2], origin)
        elif len(words) == 2 and words[0] in {"source", "."} and words[1].endswith("/bin/activate"):
            self.out.take("environment.venv", words[1].removesuffix("/bin/activate"), origin)
        elif words[:1] == ["export"] and (found := _EXPORT.fullmatch(line.strip().rstrip(";"))):
            self.out.take(f"environment.variables.{found[1]}", found[2].strip("\"'"), origin)
        elif line.strip():
            self.out.drop(f"{origin}: {line.strip()}", "it may go to environment.setup, which runs before modules")

    def _worker_arguments(self, key: str) -> None:
        given = self.left.pop(key, None)
        try:
            words = shlex.split(given) if isinstance(given, str) else [str(w) for w in ([] if given is None else given)]
        except (TypeError, ValueError):
            self.out.drop(f"{self.origin(key)}: {_shown(given)}", "expected arguments of a command, as in a shell")
            return
        while words:
            name, has_value, value = words.pop(0).partition("=")
            if not has_value and words and not words[0].startswith("-"):
                value = words.pop(0)
            if to := _OF_WORKERS.get(name):
                self.out.take(to, value.replace(":", "-"), self.origin(key))
            else:
                self.out.drop(f"{self.origin(key)}: {name} {value}".rstrip(), "workers are started as every site's are")

    def _scheduler(self) -> None:
        given = self.left.pop("scheduler-options", {})
        for key, value in given.items() if isinstance(given, dict) else [("", given)]:
            origin = f"{self.origin('scheduler-options')}.{key}"
            if isinstance(value, (dict, list)):
                self.out.drop(f"{origin}: {_shown(value)}", "expected one value")
            elif key == "port" and value and type(value) is int:
                self.out.take("network.scheduler_ports", str(value), origin)
            elif key == "interface" and self.out.values.get(("network", "interface"), value) == value:
                self.out.take("network.interface", value, origin)
            elif value not in (None, ""):
                self.out.drop(f"{origin}: {_shown(value)}", "the scheduler is started as every site's is")

    def _walltime(self) -> None:
        def seconds(value: Any) -> str:
            text = f"{value}:00" if self.system == "lsf" and re.fullmatch(r"\d+:\d\d", str(value)) else str(value)
            if (found := from_slurm_time(text)) is None:
                raise ValueError("without an end; write a limit")
            return format_duration(found)

        self.move("walltime", "workers.walltime", seconds)

    def _slurm(self) -> None:
        self.move("queue", "options.partition")
        self.move("account", "options.account")
        workers = self.out.values
        cores = workers.get(("workers", "processes"), 1) * workers.get(("workers", "threads"), 1)
        if self.left.get("job-cpu") == cores:
            del self.left["job-cpu"]  # it says the same once more
        for key in ("job-extra", "job-extra-directives"):
            for directive in self.lines(key):
                self._directive(directive.strip(), self.origin(key))
        for name in self.lines("job-directives-skip"):
            self.out.take("options.directives.drop", [name.strip().split("=")[0]], self.origin("job-directives-skip"))

    def _htcondor(self) -> None:
        self.out.take("store.workers_reach", False, "machines of a pool reach no folder of its access point, as a rule")
        self.move("disk", "options.disk", _memory)
        for key in ("job-extra", "job-extra-directives"):
            given = self.left.pop(key, {})
            for name, value in given.items() if isinstance(given, dict) else [("", given)]:
                origin, text = f"{self.origin(key)}.{name}".rstrip("."), str(value)
                if isinstance(value, (dict, list)) or not re.fullmatch(r"\+?[A-Za-z_]+", name):
                    self.out.drop(f"{origin}: {_shown(value)}", "expected a command or a +Attribute with one value")
                elif name.startswith("+"):
                    self.out.take(f"options.attributes.{name[1:]}", text.strip('"'), origin)
                elif name in _COMMANDS:
                    self.out.take(f"options.{_COMMANDS[name]}", text, origin)
                else:
                    self.out.take(f"options.commands.{name}", text, origin)

    def _directive(self, text: str, origin: str) -> None:
        name, _, value = text.replace(" ", "=", 1).partition("=")
        key = next((key for key, names in _DIRECTIVES.items() if name in names), "")
        if name == "--exclusive" and not value:
            self.out.take("options.whole_node", True, origin)
        elif name in _OF_JOBS:
            self.out.drop(f"{origin}: {text}", f"jobs ask for what their workers have; change {_OF_JOBS[name]}")
        elif name in _OF_DRIVER:
            self.out.drop(f"{origin}: {text}", "names, logs and the folder of jobs are the driver's")
        elif key and value:
            self.out.take(f"options.{key}", value, origin)
        else:
            self.out.take("options.directives.add", [text], origin)

    def _why_not(self, key: str) -> str:
        if key in _WHY_NOT:
            return _WHY_NOT[key]
        if key in {"job-cpu", "job-mem"}:
            return "jobs ask for what their workers have; change workers"
        if key == "python":
            return "no virtual environment; write environment.venv, environment.modules or environment.cvmfs"
        if self.system != "slurm":
            return f"an option of {self.system}; write it below options once its driver is installed"
        return "not a key of dask-jobqueue"


def _memory(value: Any) -> str:
    """As Dask counts: G is a thousand million bytes."""
    n_bytes = int(parse_bytes(value))
    return f"{n_bytes // 10**9}GB" if n_bytes % 10**9 == 0 else format_memory(n_bytes)


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
