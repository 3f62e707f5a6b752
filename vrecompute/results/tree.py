"""The fixed binary merge tree: why grouping, order and failures never change a bit (law 4).

    level 2            0-4                 4-5        a node (level, position) covers leaves
    level 1      0-2         2-4           4-5        [position 2^level, (position + 1) 2^level)
    level 0    0     1     2     3          4         as far as there are leaves

Floating-point sums depend on the order of additions, so the order is fixed by the tree over the chunks
of a source, and by one over the sources of a sample. Siblings join only when both exist; a node without
a sibling (at the ragged right edge) is its parent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

__all__ = ["Addable", "MergeTree", "Node"]


class Node(NamedTuple):
    """A node of the tree over `0 .. leaves`, named by level and position; comparable and hashable."""

    level: int
    position: int

    def leaves(self, count: int) -> range:
        """The leaves below this node, in a tree of `count` leaves."""
        return range(self.position << self.level, min((self.position + 1) << self.level, count))


class Addable(Protocol):
    """Anything with `+`."""

    def __add__(self, other: Self, /) -> Self: ...


T = TypeVar("T", bound=Addable)


class MergeTree(Generic[T]):
    """Values of leaves or nodes, joined as far as their siblings are there."""

    def __init__(self, leaves: int) -> None:
        self.leaves = leaves
        self.nodes: dict[Node, T] = {}

    @property
    def top(self) -> int:
        """The level of the root."""
        return max(self.leaves - 1, 0).bit_length()

    def add(self, node: Node, value: T) -> bool:
        """Add one node's value; False, and nothing changed, where all its leaves are there already.

        Where a part of its leaves is there, from another grouping, the node replaces that part.
        """
        if not node.leaves(self.leaves):
            raise ValueError(f"{node} covers none of {self.leaves} leaves")
        if self._has(node):
            return False
        for below in list(self._below(node)):
            del self.nodes[below]
        while node.level < self.top:
            sibling = Node(node.level, node.position ^ 1)
            if sibling in self.nodes:
                other = self.nodes.pop(sibling)
                value = value + other if node.position < sibling.position else other + value
            elif sibling.leaves(self.leaves):
                break
            node = Node(node.level + 1, node.position >> 1)
        self.nodes[node] = value
        return True

    def has(self, leaf: int) -> bool:
        """Whether a leaf is covered by what was added."""
        return self._has(Node(0, leaf))

    @property
    def complete(self) -> bool:
        """Whether every leaf is there, so that the one value left is the whole."""
        return self.leaves == 0 or Node(self.top, 0) in self.nodes

    def value(self) -> T | None:
        """The sum of what is there, in the order of the tree; None where nothing is.

        A function of the set of leaves alone, whatever the groups they came in.
        """
        return self._sum(Node(self.top, 0))

    def _sum(self, node: Node) -> T | None:
        if node in self.nodes:
            return self.nodes[node]
        if node.level == 0 or not node.leaves(self.leaves):
            return None
        left = self._sum(Node(node.level - 1, node.position * 2))
        right = self._sum(Node(node.level - 1, node.position * 2 + 1))
        if left is None or right is None:
            return right if left is None else left
        return left + right

    def _has(self, node: Node) -> bool:
        return any(
            Node(level, node.position >> (level - node.level)) in self.nodes
            for level in range(node.level, self.top + 1)
        )

    def _below(self, node: Node) -> Iterator[Node]:
        return (n for n in self.nodes if n.level < node.level and n.position >> (node.level - n.level) == node.position)
