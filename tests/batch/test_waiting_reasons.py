"""Reasons to wait by tables, of a system that gives codes and words alike."""

from __future__ import annotations

import re

import pytest

from vrecompute.batch.limit_reached import LimitReached
from vrecompute.batch.waiting_reasons import WaitingReasons

CORES = LimitReached("cores", "your group", "options.queue", of_one="job")
QQ = WaitingReasons(
    "QQ",
    passing={"Turn": "others are before it", "Nodes": "nodes are down"},
    never={"Closed": "its queue is closed"},
    said={r"no machine": "none is free"},
    never_said={r"not a member": "it is for members"},
    told_apart={("Nodes", "service"): "its nodes are serviced"},
    holding=(frozenset({"Stopped"}), re.compile(r"held by")),
    limit={"MaxCores": CORES}.get,
)


@pytest.mark.parametrize(
    ("reason", "why", "code", "never", "held"),
    [
        ("(Turn)", "others are before it", "Turn", False, False),
        ("Nodes, down: n1", "nodes are down", "Nodes", False, False),
        ("Nodes, in service: n1", "its nodes are serviced", "Nodes", False, False),
        ("Closed", "its queue is closed", "Closed", True, False),
        ("MaxCores", str(CORES), "MaxCores", True, False),
        ("no machine now", "none is free", "no machine now", False, False),
        ("you are not a member", "it is for members (you are not a member)", "you are not a member", True, False),
        ("held by root", "QQ gives the reason 'held by root'", "held by root", False, True),
        ("Stopped", "QQ gives the reason 'Stopped'", "Stopped", False, True),
        ("", "", "", False, False),
    ],
)
def test_a_reason_is_a_sentence_and_says_whether_waiting_helps(reason, why, code, never, held):
    assert (QQ.why(reason), QQ.code(reason)) == (why, code)
    assert (QQ.never_starts(reason), QQ.held(reason)) == (never, held)
