"""`Survey`: what a batch system says of its queues and limits to one who describes it as a site."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

__all__ = ["Limit", "Limited", "Queue", "Survey", "gathered"]

Limited = Literal[
    "jobs",
    "running jobs",
    "array",
    "walltime",
    "nodes",
    "cores",
    "memory",
    "gpus",
    "core minutes",
    "cores of a node",
    "memory of a node",
    "gpus of a node",
]


@dataclass(frozen=True)
class Limit:
    """At most `most` of what `of` says, by a rule that the system's users know as `rule`: "MaxSubmitJobs of account x".

    `of` is "jobs" of a user in the queue at once, "running jobs" (others wait), jobs of one "array"; or what one job
    asks for: "walltime" in seconds, "nodes", "cores", "gpus" and bytes of "memory" on all of them, or on each; "core
    minutes" are cores times walltime. `shared`: all jobs that run at once have so much together; one that asks for more
    waits for ever. `chosen_by` is the key of a site's file that chose whose limit it is, where one did.
    """

    of: Limited
    most: int
    rule: str
    shared: bool = field(default=False, compare=False)
    chosen_by: str = field(default="", compare=False)


@dataclass(frozen=True)
class Queue:
    """A queue or partition, and the smallest of its nodes. None is unlimited, or not said.

    `accounts` are those whose jobs it takes, empty for all; `closed` says why else it starts no job of this user, each
    with the key of a site's file that is about it; `limits` are further ones of jobs in it.
    """

    name: str
    is_default: bool = False
    is_up: bool = True
    walltime_s: int | None = None
    nodes: int | None = None
    cores: int | None = None
    memory_bytes: int | None = None
    largest_cores: int | None = None
    largest_memory_bytes: int | None = None
    accounts: tuple[str, ...] = ()
    closed: tuple[tuple[str, str], ...] = ()
    limits: tuple[Limit, ...] = ()

    def beside(self, other: Queue) -> Queue:
        """Itself with the nodes of `other`, which is the same queue told for another kind of nodes."""
        return replace(
            self,
            nodes=(self.nodes or 0) + (other.nodes or 0),
            cores=_least(self.cores, other.cores),
            memory_bytes=_least(self.memory_bytes, other.memory_bytes),
            largest_cores=_most(self.largest_cores, other.largest_cores),
            largest_memory_bytes=_most(self.largest_memory_bytes, other.largest_memory_bytes),
        )


def gathered(queues: Iterable[Queue]) -> tuple[Queue, ...]:
    """One of each name: systems list a queue once for each kind of its nodes, or for each node."""
    found: dict[str, Queue] = {}
    for queue in queues:
        found[queue.name] = found[queue.name].beside(queue) if queue.name in found else queue
    return tuple(found.values())


def _least(a: int | None, b: int | None) -> int | None:
    return min((n for n in (a, b) if n is not None), default=None)


def _most(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else max(a, b)


@dataclass(frozen=True)
class Survey:
    """`queue_option` is the key of `options:` that names a queue, empty where there is one alone, which has no name.

    `options` are others that follow from the answers. `interfaces` are those of the machine that was asked.
    `shares_files` says whether jobs see its file systems, None where that is not known; `unknown` what could not be
    asked, each with the reason. `limits` hold in every queue.
    """

    system: str
    queues: tuple[Queue, ...] = ()
    queue_option: str = "queue"
    accounts: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    interfaces: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    shares_files: bool | None = None
    unknown: tuple[str, ...] = ()

    @property
    def queue(self) -> Queue | None:
        """The one to use where nothing else is said: the default, else the first that starts jobs of ours."""
        ranked = sorted(self.queues, key=lambda queue: (not queue.is_up, bool(queue.closed), not queue.is_default))
        return ranked[0] if ranked else None

    def named(self, names: Sequence[str]) -> list[Queue]:
        """Those of these names that are known, the default one where no name is given."""
        return [queue for queue in self.queues if (queue.name in names if names else queue.is_default)]

    @property
    def most_jobs(self) -> int | None:
        """How many jobs a user may have, waiting or running; None is unlimited, or not said."""
        return min((limit.most for limit in self.limits if limit.of in {"jobs", "running jobs"}), default=None)
