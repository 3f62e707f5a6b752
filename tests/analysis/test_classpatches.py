"""What the user's code put into classes of libraries: it counts however it was written, and a worker compares it."""

from __future__ import annotations

import fractions
import sys
import types
import warnings

import awkward as ak
import numba
import pandas as pd
import pytest

from tests.events import write_events
from vrecompute import Client
from vrecompute.analysis.classpatches import patches_of
from vrecompute.analysis.code import difference
from vrecompute.analysis.codedigest import code_of
from vrecompute.errors import Incomplete

Arr = ak.Array
CUT = 1.0


class Cut:
    def __init__(self, cut):
        self.cut = cut


def of_events(events):
    return int(ak.sum(events.heavy_ok))


def above(cut):
    return property(lambda self: self.weight > cut)


def with_global():
    return property(lambda self: self.weight > CUT)


def install(name, value):
    setattr(ak.Array, name, value)


@pytest.fixture(autouse=True)
def _restored():
    before = {cls: set(vars(cls)) for cls in (ak.Array, ak.Record, pd.DataFrame, fractions.Fraction)}
    yield
    for cls, names in before.items():
        for name in set(vars(cls)) - names:
            delattr(cls, name)


def by_alias(value):
    Arr.heavy_ok = value


def by_loop(value):
    [install(name, value) for name in ("heavy_ok",)]


def by_base(value):
    type.__setattr__(ak.Array, "heavy_ok", value)


@pytest.mark.parametrize("put", [by_alias, by_loop, by_base])
def test_a_member_that_was_put_into_a_class_of_a_library_counts_by_value(put):
    without = code_of(of_events).parts
    put(above(20))
    known = code_of(of_events).parts
    assert difference(without, known) == ["awkward.highlevel.Array.heavy_ok (new)"]
    put(above(20))
    assert code_of(of_events).parts == known
    put(above(50))
    assert difference(known, code_of(of_events).parts) == ["awkward.highlevel.Array.heavy_ok"]


VALUES = {
    "method": lambda cut: lambda self: self.weight > cut,
    "static": lambda cut: staticmethod(lambda x: x > cut),
    "compiled": lambda cut: numba.njit(lambda x: x > cut),
    "constant": float,
    "object": lambda cut: Cut(cut),
}


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
def test_what_was_put_there_may_be_anything(make):
    Arr.heavy_ok = make(20)
    known = code_of(of_events).parts
    Arr.heavy_ok = make(20)
    assert code_of(of_events).parts == known
    Arr.heavy_ok = make(50)
    assert difference(known, code_of(of_events).parts) == ["awkward.highlevel.Array.heavy_ok"]


def test_a_global_that_it_uses_counts(monkeypatch):
    Arr.heavy_ok = with_global()
    known = code_of(of_events).parts
    monkeypatch.setattr("tests.analysis.test_classpatches.CUT", 2.0)
    assert "tests.analysis.test_classpatches: CUT" in difference(known, code_of(of_events).parts)


def test_libraries_count_that_code_reaches_and_no_others():
    def frames(events):
        return len(pd.DataFrame({"x": [1]}).heavy())

    known, others = code_of(frames).parts, code_of(of_events).parts
    pd.DataFrame.heavy = with_global().fget
    assert difference(known, code_of(frames).parts)[0] == "pandas.DataFrame.heavy (new)"
    assert code_of(of_events).parts == others


def test_behaviors_count(monkeypatch):
    behavior = ak.behavior
    known = code_of(of_events).parts
    monkeypatch.setitem(behavior, ("__repr__", "muon"), with_global().fget)
    assert difference(known, code_of(of_events).parts)[0] == "awkward.behavior['__repr__', 'muon'] (new)"


def test_workers_refuse_what_their_class_has_not(tmp_path):
    events = str(write_events(tmp_path / "e.root", 100, clusters=1))
    by_loop(above(0.5))
    with Client(workers=1, store=tmp_path / "store") as client:
        run = client.map(of_events, events, columns=["weight"])
        with pytest.raises(Incomplete, match=r"awkward.highlevel.Array.heavy_ok \(gone\).*write .* at the top level"):
            run.result(timeout_s=120)


def test_a_class_whose_module_warns_of_its_old_name_is_not_looked_up(monkeypatch):
    library = types.ModuleType("oldnames")
    old = type("Old", (), {"__module__": "oldnames"})

    def warns(name):
        warnings.warn(f"{name} is deprecated", DeprecationWarning, stacklevel=2)
        return old

    library.__getattr__ = warns
    monkeypatch.setitem(sys.modules, "oldnames", library)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not [name for name, _ in patches_of([], ["oldnames"], set()) if name.startswith("oldnames")]
