"""`QueueBackend`: a driver of a queue, as the live clusters and the probe that all such drivers share see it."""

from __future__ import annotations

from abc import abstractmethod

from vrecompute.batch.budget import Budget
from vrecompute.batch.contract import Backend
from vrecompute.sites.access import Access
from vrecompute.sites.model import Site

__all__ = ["QueueBackend"]


class QueueBackend(Backend):
    """A driver whose jobs wait in a queue and leave what they write in one folder of the site."""

    site: Site
    access: Access
    budget: Budget
    #: Whether a job has whole nodes, and is charged for them.
    whole_node: bool = False

    @property
    @abstractmethod
    def spool(self) -> str:
        """The absolute path of the folder that jobs run in; made on first use, mode 0700."""

    @abstractmethod
    def step(self, nodes: int) -> list[str]:
        """What is put before a command of `workers.cores` cores to start it once on each of a job's nodes."""
