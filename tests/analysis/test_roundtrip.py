"""What an object of the user's class loses when it is sent is refused by name; what it drops with reason is not."""

from __future__ import annotations

import pickle
import threading

import boost_histogram as bh
import hist
import numpy as np
import pytest

from vrecompute.analysis.codedigest import code_of
from vrecompute.analysis.mapping import MapAnalysis
from vrecompute.errors import AnalysisError
from vrecompute.execution.byvalue import pack


class Reduced:
    def __init__(self, pt):
        self.pt = pt
        self.scale = 1.0

    def __reduce__(self):
        return Reduced, (self.pt,)


class Stated:
    def __init__(self, pt):
        self.pt = pt
        self.scale = 1.0

    def __getstate__(self):
        return {"pt": self.pt}


class Slotted:
    __slots__ = ("pt", "scale")

    def __init__(self, pt):
        self.pt = pt
        self.scale = 1.0

    def __reduce__(self):
        return Slotted, (self.pt,)


class Array(np.ndarray):
    scale = 1.0


class Private:
    def __init__(self, pt, scale=1.0):
        self.pt, self._scale = pt, scale

    def __reduce__(self):
        return Private, (self.pt,)


class Mangled:
    """The state leaves out what the class has a default for."""

    __scale = 1.0

    def __init__(self, scale):
        self.__scale = scale

    def __getstate__(self):
        return {}


class Nested:
    def __init__(self):
        self.scale = {}

    def __reduce__(self):
        return Nested, ()


class Histogram(hist.Hist):
    pass


class Lazy:
    """What it leaves out is made again."""

    def __init__(self, pt):
        self.pt = pt
        self.lock = threading.Lock()
        self._table = None
        self._known: dict = {}
        self.cache = {}
        self.table = None
        self.evaluate = lambda x: x + self.pt

    def __getstate__(self):
        return {"pt": self.pt}

    def __setstate__(self, state):
        self.__init__(**state)


def with_scale(made, scale=2.5):
    made.scale = scale
    return made


def used(it):
    def function(events):
        return it

    return MapAnalysis(function, ["x"])


LOST = {
    "reduce": (
        lambda: with_scale(Reduced(20)),
        "Reduced.scale is 2.5 in this session, and workers would calculate with another value",
        "__reduce__",
    ),
    "getstate": (
        lambda: with_scale(Stated(20)),
        "Stated.scale is 2.5 in this session, and workers lack it",
        "__getstate__",
    ),
    "slots": (
        lambda: with_scale(Slotted(20)),
        "Slotted.scale is 2.5 in this session, and workers would calculate with another value",
        "__reduce__",
    ),
    "array": (
        lambda: with_scale(np.ones(3).view(Array)),
        "Array.scale is 2.5 in this session, and workers would calculate with another value",
        "__reduce__",
    ),
    "private": (
        lambda: Private(20, 2.5),
        "Private._scale is 2.5 in this session, and workers would calculate with another value",
        "__reduce__",
    ),
    "private array": (
        lambda: Private(20, np.ones(3)),
        "Private._scale is array([1., 1., 1.]) in this session, and workers would calculate with another value",
        "__reduce__",
    ),
    "private default": (
        lambda: Mangled(2.5),
        "Mangled._Mangled__scale is 2.5 in this session, and workers would calculate with another value",
        "__getstate__",
    ),
    "dict": (lambda: with_scale(Nested(), {"a": 1}), "Nested.scale is of type dict in this session", "__reduce__"),
    "object": (
        lambda: with_scale(Nested(), np.poly1d([1, 2])),
        "Nested.scale is of type poly1d in this session",
        "__reduce__",
    ),
    "inside": (lambda: [{"a": with_scale(Reduced(20))}], "Reduced.scale is 2.5 in this session", "__reduce__"),
}


@pytest.mark.parametrize(("make", "said", "how"), LOST.values(), ids=LOST)
def test_what_is_lost_is_refused_by_name(make, said, how):
    with pytest.raises(AnalysisError) as refused:
        pack(used(make()))
    assert str(refused.value).startswith(said)
    assert f": {how} of that class does not keep it; " in str(refused.value)


def lazy():
    made = Lazy(20)
    made.cache[1], made._table, made.table, made._known = 2, np.ones(3), np.ones(3), {1: 2}
    return made


def forest():
    ensemble = pytest.importorskip("sklearn.ensemble", reason="sklearn comes with vrecompute[test]")
    return ensemble.GradientBoostingClassifier(n_estimators=2).fit([[0.0], [1.0]], [0, 1])


def filled(histogram):
    histogram.fill([1.0, 2.0])
    return histogram


KEPT = {
    "lazy": lazy,
    "as made": lambda: Reduced(20),
    "array": lambda: np.ones(3).view(Array),
    "boost-histogram": lambda: filled(bh.Histogram(bh.axis.Regular(3, 0, 3), storage=bh.storage.Weight())),
    "hist": lambda: filled(hist.Hist.new.Reg(3, 0, 3, name="x", label="x").Weight()),
    "subclass of hist": lambda: filled(Histogram.new.Reg(3, 0, 3, name="x", label="x").Weight()),
    "sklearn": forest,
    "exception": lambda: ValueError("a", 3),
}


@pytest.mark.parametrize("make", KEPT.values(), ids=KEPT)
def test_what_is_left_out_with_reason_is_not(make):
    assert code_of(used(make()).function).lost == ()


def masked(mask, fill=9.0):
    return np.ma.array([20.0, 30.0], mask=mask, fill_value=fill)


def test_masked_arrays_are_data():
    digests = {code_of(used(it).function).digest for it in (masked([0, 1]), masked([0, 0]), masked([0, 1], 8.0))}
    assert len(digests) == 3
    sent = pickle.loads(pack(used(masked([0, 1]))).data)[0]
    assert sent.code().parts == code_of(used(masked([0, 1])).function).parts


class Measured(float):
    def __new__(cls, value, unit):
        made = super().__new__(cls, value)
        made.unit = unit
        return made


class Kept(Measured):
    def __getnewargs__(self):
        return float(self), self.unit


class Named(str):
    def __new__(cls, text, *, tag="x"):
        return super().__new__(cls, text)


class Refused(Exception):
    def __init__(self, name, cut):
        super().__init__(f"{name} {cut}")


@pytest.mark.parametrize(
    ("held", "how"),
    [(Measured(20.0, "GeV"), "__getnewargs__"), (Refused("pt", 20), "__reduce__")],
    ids=["float", "error"],
)
def test_what_cannot_be_made_again_is_refused_by_the_name_of_its_class(held, how):
    said = rf"object of class {type(held).__name__} cannot be made again on workers.*a method {how}"
    with pytest.raises(AnalysisError, match=said):
        pack(MapAnalysis(lambda events: held))


@pytest.mark.parametrize(
    "held", [Kept(20.0, "GeV"), Named("a", tag="b"), ValueError("x")], ids=["float", "text", "error"]
)
def test_what_can_be_made_again_is_sent(held):
    assert repr(pickle.loads(pack(MapAnalysis(lambda events: held)).data)[0].function(None)) == repr(held)
