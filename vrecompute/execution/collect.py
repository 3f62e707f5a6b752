"""`Collector`: parts come in, in any order and from any run; results by sample come out, always the same bytes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vrecompute.execution.parts import PartNode
from vrecompute.execution.plan import Plan
from vrecompute.results.result import Result
from vrecompute.results.tree import MergeTree, Node

__all__ = ["Collector"]


class Collector:
    """Merges parts along the fixed trees of a plan: chunks within a source, then sources within a sample.

    Holds one Result per complete subtree that still waits for its sibling, so its memory does not grow
    with the number of chunks.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.have: NDArray[np.bool_] = np.zeros(plan.chunks, dtype=bool)
        # Two samples may list the same file: one part then serves both.
        self._numbers: dict[str, list[int]] = {}
        for number, source in enumerate(plan.sources):
            self._numbers.setdefault(source.key, []).append(number)
        self._sources = [MergeTree[Result](source.chunks) for source in plan.sources]
        self._samples: dict[str, MergeTree[Result]] = {}
        self._place: list[tuple[str, int]] = []
        counts: dict[str, int] = {}
        for source in plan.sources:
            self._place.append((source.sample, counts.get(source.sample, 0)))
            counts[source.sample] = counts.get(source.sample, 0) + 1
        for sample, count in counts.items():
            self._samples[sample] = MergeTree[Result](count)

    def add(self, nodes: Iterable[PartNode]) -> int:
        """Take the nodes that belong to this plan; the number of chunks that are new.

        Raises ValueError, naming what it is, where Results cannot be combined.
        """
        before = int(self.have.sum())
        for part in nodes:
            for number in self._numbers.get(part.source_key, ()):
                self._take(number, part)
        return int(self.have.sum()) - before

    def touches(self, part: PartNode, chunks: range) -> bool:
        """Whether any of these chunks of the plan is in a node."""
        for number in self._numbers.get(part.source_key, ()):
            base = int(self.plan.offsets[number])
            leaves = part.node.leaves(self._sources[number].leaves)
            if leaves and base + leaves.start < chunks.stop and chunks.start < base + leaves.stop:
                return True
        return False

    def _take(self, number: int, part: PartNode) -> None:
        tree = self._sources[number]
        leaves = part.node.leaves(tree.leaves)
        base = int(self.plan.offsets[number])
        if part.node.level > tree.top or not leaves or self.have[base + leaves.start : base + leaves.stop].all():
            return
        tree.add(part.node, part.result)
        self.have[base + leaves.start : base + leaves.stop] = True
        if tree.complete:
            sample, place = self._place[number]
            self._samples[sample].add(Node(0, place), tree.nodes.pop(Node(tree.top, 0)))

    @property
    def complete(self) -> bool:
        """Whether every chunk of the plan is in."""
        return bool(self.have.all())

    def results(self) -> dict[str, Result]:
        """The Result of each sample, of what is there; an empty Result where nothing is.

        A function of the set of chunks alone. Sources that are not complete count with what they have.
        """
        found = {sample.name: Result() for sample in self.plan.samples}
        for sample, tree in self._samples.items():
            whole = MergeTree[Result](tree.leaves)
            whole.nodes = dict(tree.nodes)
            for number, (name, place) in enumerate(self._place):
                if name == sample and not tree.has(place) and (value := self._sources[number].value()) is not None:
                    whole.add(Node(0, place), value)
            total = whole.value()
            found[sample] = Result() if total is None else total
        return found
