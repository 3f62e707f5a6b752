"""What a chunk leaves in the process around it decides for no other chunk, and is put back for the runs that follow."""

from __future__ import annotations

import decimal
import os

import numpy as np
import pytest
import uproot

from tests.execution.test_purity import CHUNKS, EACH, context
from vrecompute.analysis import leftbehind
from vrecompute.analysis.arithmetic import with_arithmetic
from vrecompute.analysis.leftbehind import put_back_after
from vrecompute.analysis.surroundings import Surroundings
from vrecompute.execution.task import compute

# What is said to change, what it is, which goes into the number, and how it is set by that.
KEPT = {
    "variable": ("os.environ['MYCNT']", "int(os.environ.get('MYCNT', '0'))", "os.environ['MYCNT'] = str(n + 1)"),
    "variable by another name": ("env, environ", "int(environ.get('MYCNT', '0'))", "env['MYCNT'] = str(n + 1)"),
    "variable by putting": ("os.environ['MYCNT']", "int(os.getenv('MYCNT', 0))", "os.environ |= {'MYCNT': str(n + 1)}"),
    "variable that goes": ("os.environ['HOME']", "len(os.environ.get('HOME', ''))", "os.environ.pop('HOME', None)"),
    "recursion limit": ("recursion limit", "sys.getrecursionlimit()", "sys.setrecursionlimit(n + 1)"),
    "umask": ("umask", "os.umask(0o22)", "os.umask(n ^ 1)"),
    "locale": (
        "LC_NUMERIC",
        "len(locale.setlocale(locale.LC_NUMERIC))",
        "locale.setlocale(locale.LC_NUMERIC, 'C.UTF-8' if n == 1 else 'C')",
    ),
    "decimal": ("decimal's context", "decimal.getcontext().prec", "decimal.getcontext().prec = n + 1"),
    "numpy's errors": (
        "numpy's floating-point errors",
        "len(np.geterr()['over'])",
        "np.seterr(over='raise' if n == 4 else 'ignore')",
    ),
    "numpy's buffer": ("numpy's buffer size", "np.getbufsize()", "np.setbufsize(n * 2)"),
    "numpy's texts": (
        "numpy's print options",
        "np.get_printoptions()['precision']",
        "np.set_printoptions(precision=n + 1)",
    ),
}
COUNTED = """
import decimal, locale, os, sys
from os import environ

env = os.environ


class Counter(Base):
    def process(self, events):
        n = {value}
        {change}
        return Result(counters={{"n": float(n)}})
"""
# Which is set by what the first chunk has.
FIRST = {
    "variable": ("os.environ['MEAN']", "float(os.environ.setdefault('MEAN', str(mean)))"),
    "decimal": ("decimal's context", "first(mean)"),
    "numpy's texts": ("numpy's print options", "printed(mean)"),
}
DECIDED = """
import decimal, os


def first(mean):
    if decimal.getcontext().prec == 28:
        decimal.getcontext().prec = int(mean)
    return decimal.getcontext().prec


def printed(mean):
    if np.get_printoptions()["threshold"] == 1000:
        np.set_printoptions(threshold=int(mean))
    return np.get_printoptions()["threshold"]


class Counter(Base):
    def process(self, events):
        x = events.flat("x")
        mean = float(x.mean())
        return Result(counters={{"n": float((x > {mean}).sum())}})
"""
# Each chunk sets the same, or what it reads no more.
PURE = {
    "the same": "os.environ['THREADS'] = '1'; np.seterr(all='ignore'); decimal.getcontext().prec = 50; n = 1",
    "its own": "os.environ['SEEN'] = str(float(events.flat('x')[0])); n = len(os.environ['SEEN'])",
    "not read": "os.environ['COUNT'] = os.environ.get('COUNT', '') + '1'; n = 1",
}
SETS = """
import decimal, os


class Counter(Base):
    def process(self, events):
        {change}
        return Result(counters={{"n": float(n)}})
"""


@pytest.fixture(autouse=True)
def _worker(monkeypatch):
    """As in a process of workers alone; another test may have had a cluster of its own in this one."""
    monkeypatch.setattr(leftbehind, "_is_session", False)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("events") / "a.root"
    with uproot.recreate(path, compression=None) as made:
        made.mktree("Events", {"x": "float64"})
        for chunk in np.split(np.arange(CHUNKS * EACH, dtype=float), CHUNKS):
            made["Events"].extend({"x": chunk})
    return path


def computed(file, folder, text, ranges=((0, CHUNKS),)):
    """Reports of the tasks, each as workers compute it."""
    asked, reports = context(file, folder, text), []
    for first, last in ranges:
        with put_back_after():
            reports.append(with_arithmetic({}, compute, asked, first, last))
    return reports


@pytest.mark.parametrize("ranges", [((0, CHUNKS),), ((0, 1), (1, 2))], ids=["one task", "tasks of one chunk"])
@pytest.mark.parametrize("kind", KEPT)
def test_what_a_chunk_leaves_for_others_is_an_error_that_names_it(file, tmp_path, kind, ranges):
    name, value, change = KEPT[kind]
    before = dict(os.environ), os.getcwd(), np.get_printoptions(), np.getbufsize()
    options = before[2]
    try:
        reports = computed(file, tmp_path, COUNTED.format(value=value, change=change), ranges)
    finally:
        np.set_printoptions(**options)
        np.setbufsize(before[3])
    (failure,) = reports[0].failures
    assert failure.kind == "code"
    assert f"process changes {name}, and its Result depends on that" in failure.reason
    assert (dict(os.environ), os.getcwd()) == before[:2]


@pytest.mark.parametrize("kind", FIRST)
def test_what_the_first_chunk_sets_for_others_is_an_error_that_names_it(file, tmp_path, kind):
    name, mean = FIRST[kind]
    options = np.get_printoptions()
    try:
        (report,) = computed(file, tmp_path, DECIDED.format(mean=mean))
    finally:
        np.set_printoptions(**options)
    (failure,) = report.failures
    assert f"process takes {name} from one chunk to others" in failure.reason
    assert "MEAN" not in os.environ


@pytest.mark.parametrize("kind", PURE)
def test_what_is_set_without_a_difference_is_no_error(file, tmp_path, kind):
    reports = computed(file, tmp_path, SETS.format(change=PURE[kind]), ((0, 3), (3, 4), (4, CHUNKS)))
    assert [report.failures for report in reports] == [(), (), ()]
    assert sum(len(report.done) for report in reports) == CHUNKS


def test_surroundings_are_held_and_put_back(monkeypatch):
    monkeypatch.delenv("LAB_NONE", raising=False)
    with decimal.localcontext():
        begun = Surroundings.now()
        monkeypatch.setenv("LAB_NONE", "1")
        decimal.getcontext().prec = 7
        monkeypatch.setenv("VRECOMPUTE_JOB_ENDS", "9")  # which is ours to change, at any time
        assert "VRECOMPUTE_JOB_ENDS" not in str(Surroundings.now().described())
        with begun.held():
            assert os.environ["VRECOMPUTE_JOB_ENDS"] == "9"
            assert "LAB_NONE" not in os.environ
            assert decimal.getcontext().prec == 28
            os.environ["LAB_OTHER"] = "1"
        assert os.environ["LAB_NONE"] == "1"
        assert decimal.getcontext().prec == 7
        assert "LAB_OTHER" not in os.environ
