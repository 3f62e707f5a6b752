"""Limits from the fields of an answer, and which of them hold for jobs of an owner in a tree."""

from __future__ import annotations

from vrecompute.batch.limit_rules import LimitRule, Owner, all_above, in_force, read_limits
from vrecompute.batch.rows import pairs
from vrecompute.batch.survey import Limit, Queue, gathered

GIB = 1 << 30


def gib(text):
    return int(text.removesuffix("G")) * GIB


def test_a_field_limits_what_its_rule_says_by_the_name_that_users_know():
    rules = {
        "max_run": LimitRule("running jobs"),
        "max_queued": LimitRule("jobs", name="MaxQueued", shared=True),
        "resources": LimitRule({"ncpus": LimitRule("cores"), "mem": LimitRule("memory", gib)}, shared=True),
        "walltime": LimitRule("walltime"),
    }
    said = {"max_run": "3", "max_queued": "0", "resources": "licences=2,mem=5G,ncpus=8", "walltime": "unlimited"}
    found = read_limits(said, rules, "of the group g", "options.account")
    assert [(f.of, f.most, f.rule, f.shared, f.chosen_by) for f in found] == [
        ("running jobs", 3, "max_run of the group g", False, "options.account"),
        ("jobs", 0, "MaxQueued of the group g", True, "options.account"),
        ("memory", 5 * GIB, "resources of the group g", True, "options.account"),
        ("cores", 8, "resources of the group g", True, "options.account"),
    ]
    assert read_limits({"max_run": "3"}, rules) == (Limit("running jobs", 3, "max_run"),)


def test_a_number_that_cannot_be_read_is_no_limit():
    assert read_limits({"resources": "mem=much,mem"}, {"resources": LimitRule({"mem": LimitRule("memory", gib)})}) == ()


def test_owners_are_asked_for_up_to_their_roots_and_each_once():
    tree = {"mine": "lab", "yours": "lab", "lab": "root", "root": ""}
    asked = []

    def ask(name):
        asked.append(name)
        return {name: Owner(name, above=tree[name])} if name in tree else {}

    assert [owner.name for owner in all_above(["mine", "yours", "unknown"], ask)] == ["mine", "lab", "root", "yours"]
    assert asked == ["mine", "lab", "root", "yours", "unknown"]


def test_owners_that_are_above_each_other_in_a_circle_or_without_end_come_to_an_end():
    circle = {"a": Owner("a", above="b"), "b": Owner("b", above="a")}
    assert len(all_above(["a"], lambda name: {name: circle[name]})) == 2
    assert len(all_above(["0"], lambda name: {name: Owner(name, above=str(int(name) + 1))})) == 12


def test_of_owners_above_what_they_share_holds_and_what_is_said_first_holds_in_place_of_the_same_rule():
    own = [Limit("jobs", 9, "Most of the user"), Limit("cores", 9, "Size of the user")]
    above = [
        Owner("lab", (Limit("cores", 5, "Size of the lab"), Limit("cores", 6, "All of the lab", shared=True))),
        Owner("root", (Limit("gpus", 1, "All of the root", shared=True),)),
    ]
    first = [Limit("jobs", 2, "Most of the class"), Limit("memory", 2, "Size of the class")]
    assert in_force(own, above, first) == [own[1], above[0].limits[1], above[1].limits[0], *first]
    assert in_force(own, above) == [*own, above[0].limits[1], above[1].limits[0]]


def test_a_queue_told_for_each_node_is_one_with_all_of_them():
    nodes = [(4, 8 * GIB), (16, 2 * GIB)]
    (queue, other) = gathered(
        [Queue("q", nodes=1, cores=n, memory_bytes=m, largest_cores=n, largest_memory_bytes=m) for n, m in nodes]
        + [Queue("other")]
    )
    assert (queue.nodes, queue.cores, queue.largest_cores) == (2, 4, 16)
    assert (queue.memory_bytes, queue.largest_memory_bytes) == (2 * GIB, 8 * GIB)
    assert other == Queue("other")
    assert gathered([]) == ()


def test_pairs_of_a_text_are_its_names_with_their_values():
    assert pairs("Name = a b\nEmpty =\nnothing\nOdd=x=y", "\n") == {"Name": "a b", "Empty": "", "Odd": "x=y"}
