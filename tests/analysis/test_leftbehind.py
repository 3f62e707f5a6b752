"""What `process` of one run changes in its worker is not there for the next run of the same Client."""

from __future__ import annotations

import builtins
import locale
import math
import os
import subprocess
import sys
import time
import warnings

import awkward as ak
import numpy as np
import pytest

from tests.events import write_events
from vrecompute import Client


class Vector(ak.Array):
    pass


def umask():
    held = os.umask(0)
    os.umask(held)
    return held


def warned():
    try:
        warnings.warn("mine", RuntimeWarning, stacklevel=2)
    except RuntimeWarning:
        return 1
    return 0


def zone():
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()


def added():
    math.mine = 3.0
    return math.mine


CHANGES = {
    "time zone": (zone, lambda: time.localtime(0).tm_hour),
    "variable": (lambda: os.environ.update(SEL_CUT="77"), lambda: float(os.environ.get("SEL_CUT", "10"))),
    "variable that was there": (lambda: os.environ.pop("HOME", None), lambda: len(os.environ.get("HOME", ""))),
    "folder": (lambda: os.chdir("/"), lambda: len(os.getcwd())),
    "umask": (lambda: os.umask(0o31), umask),
    "recursion limit": (lambda: sys.setrecursionlimit(444), sys.getrecursionlimit),
    "digits": (lambda: sys.set_int_max_str_digits(7000), sys.get_int_max_str_digits),
    "locale": (
        lambda: locale.setlocale(locale.LC_NUMERIC, "C.UTF-8"),
        lambda: len(locale.setlocale(locale.LC_NUMERIC)),
    ),
    "errors": (lambda: warnings.simplefilter("error"), warned),
    "numpy's errors": (lambda: np.seterr(all="raise"), lambda: len(np.geterr()["divide"])),
    "function": (lambda: setattr(np, "hypot", lambda one, other: 7.0), lambda: float(np.hypot(3.0, 4.0))),
    "constant": (lambda: setattr(math, "pi", 3.0), lambda: math.pi),
    "builtin": (lambda: setattr(builtins, "abs", lambda one: 7), lambda: abs(-3)),
    "added": (added, lambda: getattr(math, "mine", 2.0)),
    "class": (lambda: setattr(ak.Array, "mine", 3.0), lambda: getattr(ak.Array, "mine", 2.0)),
    "behavior": (lambda: ak.behavior.__setitem__(("*", "mine"), Vector), lambda: ("*", "mine") in ak.behavior),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("left")
    file = str(write_events(folder / "e.root", 50, clusters=1))
    with Client(workers=1, threads=1, store=folder / "store") as client:
        yield lambda function: client.map(function, file, columns=["run"]).result(timeout_s=120).total.counters["value"]


@pytest.mark.parametrize("kind", CHANGES)
def test_another_run_of_the_same_workers_finds_nothing_of_it(run, kind):
    change, value = CHANGES[kind]
    before = run(lambda events: {"value": value()})
    assert run(lambda events: {"value": [change(), value()][1]}) != before
    assert run(lambda events: {"value": [value(), "again"][0]}) == before


LIBRARY = """
import math
import os

from vrecompute.analysis.leftbehind import changing, leave_session, put_back_after

def mine():
    return 3.0

with put_back_after():
    with changing():
        os.environ["IMPORTED"] = "1"
    os.environ["PROCESS"] = "1"
    math.library, math.mine = math.hypot, mine
print("IMPORTED" in os.environ, "PROCESS" in os.environ, hasattr(math, "library"), hasattr(math, "mine"))
leave_session()
with put_back_after():
    os.environ["PROCESS"] = "1"
print("PROCESS" in os.environ)
"""


def test_what_runs_need_stays_and_libraries_may_add_their_own_and_a_session_keeps_what_it_did():
    done = subprocess.run([sys.executable, "-c", LIBRARY], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.split() == ["True", "False", "True", "False", "True"]
