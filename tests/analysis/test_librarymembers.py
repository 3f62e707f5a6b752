"""What code uses of libraries by name, and what stands there by now: it counts, and a worker compares it."""

from __future__ import annotations

import math
import unittest.mock

import awkward as ak
import numpy as np
import pytest

from tests.events import write_events
from vrecompute import Client
from vrecompute.analysis.code import difference
from vrecompute.analysis.codedigest import code_of
from vrecompute.errors import Incomplete


def plain(events):
    return int(ak.sum(events.weight > math.pi))


def by_alias(events):
    m = math
    return int(ak.sum(events.weight > m.pi))


def by_text(events):
    return int(ak.sum(events.weight > vars(math)["pi"]))


def imported(events):
    from math import pi

    return int(ak.sum(events.weight > pi))


def attribute_of_import(events):
    import math as m

    return int(ak.sum(events.weight > m.pi))


def called(events):
    return float(np.sqrt(4.0))


def other(value):
    return value


FUNCTIONS = [plain, by_alias, by_text, imported, attribute_of_import]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_constant_that_was_bound_anew_counts_by_its_name(function):
    known = code_of(function).parts
    with unittest.mock.patch("math.pi", 4.0):
        assert difference(known, code_of(function).parts) == ["math.pi"]
    assert code_of(function).parts == known


@pytest.mark.parametrize("new", [other, np.cbrt, unittest.mock.MagicMock()], ids=["own", "numpy's", "mock"])
def test_a_function_that_was_bound_anew_counts_by_its_name(new, monkeypatch):
    known = code_of(called).parts
    monkeypatch.setitem(vars(np), "sqrt", new)
    assert difference(known, code_of(called).parts) == ["numpy.sqrt (new)"]


def test_workers_refuse_what_they_have_not_by_its_name(tmp_path):
    events = str(write_events(tmp_path / "e.root", 100, clusters=1))
    with Client(workers=1, store=tmp_path / "store") as client:
        for function, name in ((plain, "math.pi"), (imported, "math.pi"), (called, "numpy.sqrt")):
            value = 4.0 if name == "math.pi" else other
            with unittest.mock.patch(name, value):
                run = client.map(function, events, columns=["weight"])
                with pytest.raises(Incomplete, match=rf"different code of {name}.*; a library has another value there"):
                    run.result(timeout_s=120)
        assert client.map(plain, events, columns=["weight"]).result(timeout_s=120)
