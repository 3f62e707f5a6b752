"""`Survey`: what a batch system says of its queues and limits to one who describes it as a site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Queue", "Survey"]


@dataclass(frozen=True)
class Queue:
    """A queue or partition, and the smallest of its nodes. None is unlimited, or not said."""

    name: str
    is_default: bool = False
    is_up: bool = True
    walltime_s: int | None = None
    nodes: int | None = None
    cores: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Survey:
    """`queue_option` is the key of `options:` that names a queue; `options` are others that follow from the answers.

    `interfaces` are those of the machine that was asked. `unknown` says what could not be asked, each with the reason.
    """

    system: str
    queues: tuple[Queue, ...] = ()
    queue_option: str = "queue"
    accounts: tuple[str, ...] = ()
    most_jobs: int | None = None
    interfaces: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    @property
    def queue(self) -> Queue | None:
        """The one to use where nothing else is said: the default, else the first that starts jobs."""
        ranked = sorted(self.queues, key=lambda queue: (not queue.is_up, not queue.is_default))
        return ranked[0] if ranked else None
