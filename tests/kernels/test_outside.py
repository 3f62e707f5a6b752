"""What an event loop names of other modules is copied into it: its machine code never keeps a former value."""

from __future__ import annotations

import math
import sys
from enum import IntEnum
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest

from vrecompute.errors import UsageError
from vrecompute.kernels.eventloop import Collection, EventLoop

CUTS = """
import enum
import math
import numpy as np
class Sign(enum.IntEnum):
    PLUS = {0}
class Window:
    low = {0}
edges = ({0}, 2 * {0})
pt_min = {0}
single = np.float32({0})
table = np.array([{0}, 2.0])
nested = {{"a": {0}}}
above = math.inf
def scaled(muon, i):
    return {0} * muon.pt[i]
"""
MUON = Collection(np.array([0, 1]), {"pt": np.array([2.0])})


def module(value):
    made = ModuleType("their_cuts")
    exec(CUTS.format(value), vars(made))
    return made


def values_of(cuts):
    loop = EventLoop()

    @loop.step
    def step(muon, count):
        count.number(cuts.pt_min)
        count.enum(cuts.Sign.PLUS)
        count.value(cuts.Sign.PLUS.value)
        count.member(cuts.Window.low)
        count.item(cuts.edges[0])
        count.chosen(cuts.edges[len(muon)])
        count.single(cuts.single)
        count.size(cuts.table.size)
        if muon.pt[0] < cuts.above and muon.pt[0] < math.inf and muon.pt[0] * np.pi > np.float64(0):
            count.above(1)

    return loop.run(1, collections={"muon": MUON}).counters


def test_an_edited_constant_of_another_module_is_seen_by_a_loop_that_was_compiled_before():
    for value in (3, 7):
        same = dict.fromkeys(["number", "enum", "value", "member", "item", "single"], value)
        assert values_of(module(value)) == {**same, "chosen": 2 * value, "size": 2, "above": 1}


def test_a_function_of_another_module_is_copied_as_one_of_its_own_is(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    for k, value in enumerate((3, 7)):
        (tmp_path / f"their_helpers_{k}.py").write_text(f"def scaled(muon, i):\n    return {value} * muon.pt[i]\n")
        helpers = __import__(f"their_helpers_{k}")
        loop = EventLoop()

        @loop.step
        def step(muon, count):
            count.pt(helpers.scaled(muon, 0))  # noqa: B023  # called before `helpers` is another

        assert loop.run(1, collections={"muon": MUON}).counters == {"pt": 2.0 * value}


class Point(NamedTuple):
    pt: float


class Sign(IntEnum):
    PLUS = 1


def array(loop):
    cuts = module(3)

    @loop.step
    def step(muon, count):
        count.x(cuts.table[len(muon)])

    return "'cuts.table' is a ndarray, which a compiled loop cannot hold"


def dictionary(loop):
    cuts = module(3)

    @loop.step
    def step(muon, count):
        count.x(cuts.nested["a"])

    return "'cuts.nested' is a dict, which a compiled loop cannot hold"


def named_tuple(loop):
    @loop.step
    def step(muon, count):
        count.x(Point(muon.pt[0]).pt)

    return "'Point' is a class, which a compiled loop cannot hold"


def enumeration(loop):
    @loop.step
    def step(muon, count):
        count.x(Sign(len(muon)))

    return "'Sign' is a class, which a compiled loop cannot hold"


@pytest.mark.parametrize("wrong", [array, dictionary, named_tuple, enumeration], ids=lambda f: f.__name__)
def test_what_machine_code_would_keep_is_refused_with_its_line(wrong):
    loop = EventLoop()
    message = wrong(loop)
    with pytest.raises(UsageError, match=rf"{__name__.rpartition('.')[2]}\.py:\d+: {message}"):
        loop.needs()


def test_a_number_by_its_name_is_one_whatever_its_type():
    infinite, sign, point = -math.inf, Sign.PLUS, Point(4.0)
    loop = EventLoop()

    @loop.step
    def step(count, muon):
        count.sign(sign)
        count.point(point[0] + point.pt)
        if muon.pt[0] > infinite:
            count.more(1)

    assert loop.run(1, collections={"muon": MUON}).counters == {"sign": 1.0, "point": 8.0, "more": 1.0}
    assert "their_cuts" not in sys.modules
