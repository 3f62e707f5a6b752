"""The merge tree: any grouping and any order give the same bits."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.results.tree import MergeTree, Node

LEAVES = st.integers(1, 70)


def cover(first: int, last: int, leaves: int) -> Iterator[Node]:
    """The fewest nodes that cover leaves [first, last) of a tree of `leaves`, left to right."""
    while first < last:
        level = 0
        while True:
            above = Node(level + 1, first >> (level + 1))
            span = above.leaves(leaves)
            if level + 1 > max(leaves - 1, 0).bit_length() or span.start != first or span.stop > last:
                break
            level += 1
        node = Node(level, first >> level)
        yield node
        first = node.leaves(leaves).stop


def leaf_value(leaf: int) -> float:
    # Magnitudes that make floating-point addition visibly non-associative.
    return (-1) ** leaf * 10.0 ** ((leaf * 7) % 31 - 15) * (1 + leaf / 3)


def node_sum(node: Node, leaves: int) -> float:
    """The value of a node as a task makes it: by the tree itself, over its leaves."""
    tree: MergeTree[float] = MergeTree(leaves)
    for leaf in node.leaves(leaves):
        tree.add(Node(0, leaf), leaf_value(leaf))
    value = tree.value()
    assert value is not None
    return value


@given(LEAVES, st.data())
def test_any_grouping_and_order_gives_the_same_bits(leaves, data):
    reference = node_sum(Node(MergeTree(leaves).top, 0), leaves)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(leaves - 1, 1)), max_size=8)) | {0, leaves})
    groups = [node for a, b in itertools.pairwise(cuts) for node in cover(a, b, leaves)]
    tree: MergeTree[float] = MergeTree(leaves)
    for node in data.draw(st.permutations(groups)):
        tree.add(node, node_sum(node, leaves))
    assert tree.complete
    assert tree.value() == reference


@given(LEAVES, st.data())
def test_a_partial_sum_depends_on_the_set_of_leaves_alone(leaves, data):
    present = data.draw(st.sets(st.integers(0, leaves - 1), min_size=1))
    values = set()
    for _ in range(2):
        tree: MergeTree[float] = MergeTree(leaves)
        for leaf in data.draw(st.permutations(sorted(present))):
            tree.add(Node(0, leaf), leaf_value(leaf))
        values.add(tree.value())
        assert [leaf for leaf in range(leaves) if tree.has(leaf)] == sorted(present)
    assert len(values) == 1


@given(LEAVES, st.data())
def test_cover_is_exact_and_disjoint(leaves, data):
    first = data.draw(st.integers(0, leaves))
    last = data.draw(st.integers(first, leaves))
    covered = [leaf for node in cover(first, last, leaves) for leaf in node.leaves(leaves)]
    assert covered == list(range(first, last))


def test_adding_twice_changes_nothing():
    tree: MergeTree[float] = MergeTree(4)
    assert tree.add(Node(1, 0), 3.0)
    assert not tree.add(Node(0, 1), 99.0)
    assert tree.value() == 3.0


@given(LEAVES, st.data())
def test_overlapping_groups_count_every_leaf_once(leaves, data):
    reference = node_sum(Node(MergeTree(leaves).top, 0), leaves)
    tree: MergeTree[float] = MergeTree(leaves)
    for _ in range(3):
        cuts = sorted(data.draw(st.sets(st.integers(1, max(leaves - 1, 1)), max_size=6)) | {0, leaves})
        groups = [node for a, b in itertools.pairwise(cuts) for node in cover(a, b, leaves)]
        for node in data.draw(st.permutations(groups)):
            tree.add(node, node_sum(node, leaves))
    assert tree.value() == reference


def test_a_node_outside_the_tree_is_refused():
    with pytest.raises(ValueError, match="covers none"):
        MergeTree(4).add(Node(0, 4), 1.0)


@given(LEAVES, st.data())
def test_siblings_join_from_left_to_right_whichever_comes_first(leaves, data):
    """Sums of floats commute and would not notice; arrays that are joined end to end, and table digests, do."""
    tree: MergeTree[tuple[int, ...]] = MergeTree(leaves)
    for leaf in data.draw(st.permutations(range(leaves))):
        tree.add(Node(0, leaf), (leaf,))
    assert tree.value() == tuple(range(leaves))
