"""`NodeStrikes`: nodes on which jobs of one client come to nothing, while its jobs elsewhere do well. Pure logic."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from vrecompute.batch.contract import JobStatus, State

__all__ = ["NodeStrikes"]

#: So many jobs in a row must have come to nothing on a node before others are kept off it.
_STRIKES = 3
#: A node that is lost this soon after a job's start gave it no time to do anything.
_QUICK_S = 60.0


@dataclass
class NodeStrikes:
    """Only a client that has had workers from another node blames a node: what is wrong everywhere is the site's file.

    `strikes` are jobs by node since a worker last came from there.
    """

    strikes: dict[str, int] = field(default_factory=dict)
    _good: set[str] = field(default_factory=set)

    def look(
        self, observed: Mapping[str, JobStatus], barren: Collection[str], brought: Collection[str]
    ) -> dict[str, str]:
        """{node: how the last job ended on it} of those that jobs are to be kept off from now on.

        `observed` are jobs by name, each seen once after its end; `barren` ended without a worker, `brought` had one.
        """
        bad = {}
        for name, status in observed.items():
            if not status.node:
                continue
            if name in brought:
                self._good.add(status.node)
                self.strikes.pop(status.node, None)
            elif name in barren or _lost_at_once(status):
                self._good.discard(status.node)
                self.strikes[status.node] = self.strikes.get(status.node, 0) + 1
                if self.strikes[status.node] >= _STRIKES and self._good:
                    del self.strikes[status.node]
                    bad[status.node] = status.reason or f"job of {name} ended without a worker: {status.state}"
        return bad

    def hope(self, observed: Mapping[str, JobStatus]) -> bool:
        """Whether a job runs where none has come to nothing yet: its worker may still come."""
        return any(s.state is State.RUNNING and s.node and s.node not in self.strikes for s in observed.values())


def _lost_at_once(status: JobStatus) -> bool:
    return status.state is State.NODE_FAIL and status.elapsed_s is not None and status.elapsed_s < _QUICK_S
