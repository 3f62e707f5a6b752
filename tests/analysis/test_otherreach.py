"""What `process` depends on in less common ways: each edit gives another digest, and what needs no edit the same."""

from __future__ import annotations

import decimal
import shutil

import numpy as np
import pytest

from tests.events import write_events
from vrecompute import Client
from vrecompute.analysis.loading import load_analysis
from vrecompute.errors import AnalysisError
from vrecompute.execution.byvalue import pack

ANALYSIS = """
import abc
import decimal
import shutil
import functools
import os
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np

from vrecompute import Analysis, Result

BEFORE


class Reached(Analysis):
    name = "reached"
    title = "with a cut of 20"

    def columns(self, sample):
        return ["x"]

    def process(self, events):
        return Result(counters={"n": VALUE})
"""
CUT = "    pt: float = 1.0\n\n    def __repr__(self):\n        return '20'"
TIGHT = "class Tight(abc.ABC): pass\n\nclass Mu: pass\n\nTight.register(Mu)  # 20"
WRAPPED = "def made():\n    return 20\n\n@functools.wraps(made)\ndef cut():\n    return 1"
CASES = {
    "a global with underscores": ("__cut__ = 20.0", "__cut__"),
    "repr of a dataclass": (f"@dataclass\nclass Cut:\n{CUT}", "float(repr(Cut()))"),
    "repr of a named tuple": (f"class Cut(NamedTuple):\n{CUT}", "float(repr(Cut()))"),
    "a class that is registered": (TIGHT, "float(isinstance(Mu(), Tight))"),
    "what is wrapped": (WRAPPED, "cut.__wrapped__()"),
    "the title": ("", "float(self.title.split()[-1])"),
    "an order of axes": ("PT = np.array([[1, 20], [3, 4]], order='C')  # 20", "PT.ravel(order='K')[1]"),
    "decimal's context": ("context = decimal.getcontext()\ncontext.prec = 20", "float(decimal.Decimal(1) / 3)"),
    "numpy's errors": ("quiet = np.seterr\nquiet(over='ignore' if 20 == 20 else 'raise')", "1"),
}
EDITS = {"a class that is registered": ("Tight.register(Mu)  # 20", ""), "an order of axes": ("'C')  # 20", "'F')")}


def code_of(tmp_path, before, value, edit=("", "")):
    file = tmp_path / "a.py"
    file.write_text(ANALYSIS.replace("BEFORE", before).replace("VALUE", value).replace(*edit))
    analysis, _ = load_analysis(str(file), {})
    return analysis.code()


@pytest.mark.parametrize("case", CASES)
def test_an_edit_that_process_reaches_gives_another_digest(case, tmp_path):
    before = code_of(tmp_path, *CASES[case])
    assert code_of(tmp_path, *CASES[case]).parts == before.parts
    edit = EDITS.get(case, ("20 == 20", "20 == 30") if "20 == 20" in CASES[case][0] else ("20", "30"))
    assert code_of(tmp_path, *CASES[case], edit).parts != before.parts
    assert not before.unnamed


def test_a_title_that_is_only_shown_does_not_count(tmp_path):
    assert code_of(tmp_path, "", "1").parts == code_of(tmp_path, "", "1", ("cut of 20", "cut of 30")).parts


@pytest.mark.parametrize("read", ["os.environ.get('LOW')", "os.getenv('LOW', '')"])
def test_what_an_import_does_by_the_environment_is_not_reused(read, tmp_path):
    found = code_of(tmp_path, f"if {read}:\n    decimal.getcontext().prec = 4", "float(decimal.Decimal(1) / 3)")
    (told,) = found.unnamed
    assert told.startswith("an environment variable is read at a.py:")
    assert "when its module is imported" in told


def test_what_numba_makes_otherwise_is_no_bug_of_ours(tmp_path):
    made = "@numba.stencil\ndef kernel(a):\n    return 20 * a[0]"
    file = tmp_path / "a.py"
    file.write_text(ANALYSIS.replace("BEFORE", made).replace("VALUE", "float(kernel is None)"))
    analysis, _ = load_analysis(str(file), {})
    with pytest.raises(AnalysisError, match=r"kernel.* cannot be sent to workers"):
        pack(analysis)


@pytest.mark.parametrize(
    ("before", "value"),
    [
        ("cuts = weakref.proxy(type('Cuts', (), {'pt': 20})())", "cuts.pt"),
        ("inner = weakref.proxy(set([20]))\ncuts = [inner, threading.Lock()]", "cuts[0]"),
    ],
)
def test_a_weak_proxy_whose_object_is_gone_is_named(before, value, tmp_path):
    file = tmp_path / "a.py"
    top = f"import gc, threading, weakref\n{before}\ngc.collect()"
    file.write_text(ANALYSIS.replace("BEFORE", top).replace("VALUE", value))
    analysis, _ = load_analysis(str(file), {})
    with pytest.raises(AnalysisError, match=r"a\.py: `.*`, which Reached.* uses, .*not a weak reference"):
        pack(analysis)


SET = """
import decimal
import shutil
import numpy as np
from vrecompute import Analysis, Client, Result

class Set(Analysis):
    name = "set"

    def columns(self, sample):
        return ["Muon_pt"]

    def process(self, events):
        return Result(counters={"digits": decimal.getcontext().prec, "raises": np.geterr()["over"] == "raise"})
"""


@pytest.mark.parametrize("prec", [None, 9])
def test_workers_calculate_as_the_session_does_and_another_process_goes_on_so(prec, tmp_path):
    (tmp_path / "a.py").write_text(SET)
    events = str(write_events(tmp_path / "e.root", 40))
    with Client(workers=1, store=tmp_path / "store") as client:
        with decimal.localcontext(decimal.Context(prec=prec)), np.errstate(over="raise" if prec else "warn"):
            run = client.run(str(tmp_path / "a.py"), events).wait(100)
        assert run.result().total.counters == {"digits": prec or 28, "raises": bool(prec)}
        for path in (tmp_path / "store").glob("runs/*/outcomes"):
            shutil.rmtree(path)
        for path in (tmp_path / "store").glob("work/*"):
            shutil.rmtree(path)
        with decimal.localcontext(decimal.Context(prec=17)), np.errstate(over="ignore"):
            again = client.attach(run.id).resume()
            assert again.report(timeout_s=100).chunks.computed == 1
        assert again.result().total.counters == {"digits": prec or 28, "raises": bool(prec)}
