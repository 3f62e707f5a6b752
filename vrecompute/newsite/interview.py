"""What a site's first file says: the batch system's answers, and an administrator's where they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable

from vrecompute.batch.survey import Queue, Survey
from vrecompute.newsite.draft import Draft
from vrecompute.units import format_duration, format_memory

__all__ = ["Ask", "ask_for_the_rest", "from_survey"]

#: (question, what it is where nothing is answered) -> the answer; empty for none.
Ask = Callable[[str, str], str]

_PROCESSES, _WALLTIME_S, _NODES = 4, 4 * 3600, 10
_ADMINISTRATOR, _DEFAULT = "as answered", "a default; change it"
# A detached job asks for so much more, for scheduler and Runner.
_RUNNER_BYTES = 1 << 30
_LEAST_BYTES = 1 << 28
_STEP_BYTES = 64 << 20


def from_survey(draft: Draft, found: Survey, ask: Ask) -> None:
    """Add options and the shape of jobs."""
    queue = found.queue
    if queue is not None:
        queue = _asked_queue(draft, found, queue, ask) if found.queue_option else queue
        _shape(draft, queue, found.system, ask)
    if found.accounts:
        account = ask(f"Account that is charged ({', '.join(found.accounts)}; '-' for the user's default)", "-")
        if len(found.accounts) == 1 and account == "-":
            account = found.accounts[0]
        if account != "-":
            draft.take("options.account", account, f"of {', '.join(found.accounts)}")
    for key, value in found.options.items():
        draft.take(f"options.{key}", value, found.system)
    if found.interfaces:
        seen = ", ".join(found.interfaces)
        interface = ask(f"Interface of compute nodes that workers listen on (here: {seen}; '-' for Dask's choice)", "-")
        if interface != "-":
            draft.take("network.interface", interface, f"of {seen}")
    if found.most_jobs:
        draft.take("limits.max_jobs", found.most_jobs, f"limit of {found.system}")
    if found.shares_files is False:
        draft.take("store.workers_reach", False, f"machines of {found.system} have file systems of their own")
    for sentence in found.unknown:
        draft.drop(found.system, f"could not be asked for {sentence}")


def ask_for_the_rest(draft: Draft, ask: Ask, *, here: bool, answered: bool) -> None:
    """Add where runs are kept and which Python runs, where that is not known yet."""
    where = "on the site" if answered else "not looked for: the site did not answer"
    own = sys.prefix if here and sys.prefix != sys.base_prefix else "$HOME/vrecompute-venv"
    if not draft.has("store.url") and not draft.has("store.workers_reach"):
        question = "Folder that runs are kept in, which compute nodes see"
        draft.take("store.url", ask(question, "$HOME/vrecompute-runs"), where)
    if not any(draft.has(f"environment.{key}") for key in ("venv", "conda", "modules", "image", "cvmfs")):
        venv = ask("Virtual environment of jobs, with vrecompute ('-' for what is on the PATH)", own)
        if venv != "-":
            draft.take("environment.venv", venv, where)


def _asked_queue(draft: Draft, found: Survey, queue: Queue, ask: Ask) -> Queue:
    names = {each.name: each for each in found.queues}
    name = ask(f"{found.queue_option.capitalize()} ({', '.join(names)})", queue.name)
    draft.take(f"options.{found.queue_option}", name, f"of {', '.join(names)}")
    return names.get(name, queue)


def _shape(draft: Draft, queue: Queue, system: str, ask: Ask) -> None:
    said = f"{queue.name} of {system}"
    nodes = min(_NODES, queue.nodes or _NODES)
    processes = _number(ask("Worker processes of a job", str(min(_PROCESSES, queue.cores or _PROCESSES))))
    draft.take("workers.processes", processes, f"nodes of {said} have {queue.cores or 'an unknown number of'} cores")
    if (memory := _memory(queue, processes)) is not None:
        answer = ask("Memory of a job", format_memory(memory))
        total = format_memory(queue.memory_bytes or 0)
        draft.take("workers.memory", answer, f"nodes of {said} have {total}")
    limit = queue.walltime_s
    walltime = ask("Walltime of a job", format_duration(min(_WALLTIME_S, limit or _WALLTIME_S)))
    draft.take("workers.walltime", walltime, f"{said} gives {format_duration(limit) if limit else 'any'}")
    draft.take("workers.nodes.min", 1, _DEFAULT)
    most = _number(ask("Most jobs of a run", str(nodes)))
    draft.take("workers.nodes.max", most, f"{said} has {queue.nodes or 'an unknown number of'} nodes")


def _memory(queue: Queue, processes: object) -> int | None:
    """A job's part of the smallest node, with what a detached one needs beside its workers."""
    if not queue.memory_bytes or not queue.cores or not isinstance(processes, int):
        return None
    share = queue.memory_bytes * min(processes, queue.cores) // queue.cores
    memory = min(share, queue.memory_bytes - _RUNNER_BYTES) // _STEP_BYTES * _STEP_BYTES
    return memory if memory >= processes * _LEAST_BYTES else None


def _number(answer: str) -> int | str:
    """A whole number, or what was answered, for the check to complain of."""
    return int(answer) if answer.isdecimal() else answer
