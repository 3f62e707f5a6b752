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

    `strikes` are jobs since a worker last came from a node, and how the last of them ended.
    """

    strikes: dict[str, tuple[int, str]] = field(default_factory=dict)
    _good: set[str] = field(default_factory=set)

    def look(
        self, observed: Mapping[str, JobStatus], barren: Collection[str], brought: Collection[str]
    ) -> dict[str, str]:
        """{node: how the last job ended on it} of those that jobs of any client are to be kept off from now on.

        `observed` are jobs by name, each seen once after its end; `barren` ended without a worker, `brought` had one.
        """
        for name, status in observed.items():
            if not status.node:
                continue
            if name in brought:
                self._good.add(status.node)
                self.strikes.pop(status.node, None)
            elif name in barren or _lost_at_once(status):
                self._good.discard(status.node)
                so_far = self.strikes.get(status.node, (0, ""))[0]
                self.strikes[status.node] = so_far + 1, status.reason or f"a job there is {status.state}"
        bad = {node: why for node, (count, why) in self.strikes.items() if count >= _STRIKES and self._good}
        for node in bad:
            del self.strikes[node]
        return bad

    @property
    def suspect(self) -> str:
        """The node on which all jobs came to nothing so far, and several; another one tells what is to blame."""
        (node, (count, _)), *more = self.strikes.items() or [("", (0, ""))]
        return node if count >= _STRIKES and not more and not self._good else ""

    def hope(self, observed: Mapping[str, JobStatus]) -> bool:
        """Whether a worker may still come: a job runs where none has come to nothing yet, or will be tried there."""
        untried = bool(self.suspect) and self.strikes[self.suspect][0] == _STRIKES
        runs = (s for s in observed.values() if s.state is State.RUNNING)
        return untried or any(s.node and s.node not in self.strikes for s in runs)


def _lost_at_once(status: JobStatus) -> bool:
    return status.state is State.NODE_FAIL and status.elapsed_s is not None and status.elapsed_s < _QUICK_S
