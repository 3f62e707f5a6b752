"""What code looks up without naming it: it counts and travels, or the run is refused by file and line."""

from __future__ import annotations

import sys

import pytest

from tests.events import write_events
from vrecompute import Client
from vrecompute.analysis.codedigest import code_of
from vrecompute.analysis.loading import load_analysis
from vrecompute.errors import UsageError

FILE = """
import builtins
import inspect
import sys
from sys import modules

import pandas as pd
import plugins
from vrecompute import Analysis, Result

CUT_a = 20
CONDITION = "a > @CUT_a"
CUTS = {{"CUT_a": 20}}
THIS = sys.argv


class Cut:
    at = 20


class Tight(Cut):
    at = 30


class Looks(Analysis):
    name = "looks"
    title = "looks"

    def columns(self, sample):
        return ["weight"]

    def process(self, events):
        return Result(counters={{"n": {0}}})
"""
PLUGINS = """
CUT_a = 20


def total():
    return sum(v for k, v in globals().items() if k.startswith("CUT_"))
"""
REFUSED = {
    "globals().get('CUT_a', 0)": "looks names up in globals()",
    "sum(v for k, v in globals().items() if k.startswith('CUT_'))": "looks names up in globals()",
    "20 if 'CUT_a' in globals() else 0": "looks names up in globals()",
    "builtins.globals().get('CUT_a')": "looks names up in globals()",
    "eval('CUT_a')": "looks names up in eval()",
    "eval('CUT_a', None)": "looks names up in eval()",
    "sum(map(eval, ['CUT_a']))": "looks names up in eval()",
    "exec('CUT_a') or 0": "looks names up in exec()",
    "inspect.currentframe().f_globals.get('CUT_a', 0)": "looks names up in f_globals",
    "self.columns.__func__.__globals__.get('CUT_a', 0)": "looks names up in __globals__",
    "sum(c.at for c in Cut.__subclasses__())": "looks classes up by __subclasses__()",
    "sum(c.at for c in getattr(Cut, '__subclasses__')())": "looks classes up by __subclasses__()",
    "30 if '--tight' in sys.argv else 20": "reads sys.argv",
    "30 if '--tight' in getattr(sys, 'argv') else 20": "reads sys.argv",
    "len(sys.path)": "reads sys.path",
    "sys.flags.optimize": "reads sys.flags",
    "20 if 'plugins' in sys.modules else 0": "looks modules up in sys.modules",
    "20 if 'plugins' in modules else 0": "looks modules up in sys.modules",
}
IN_TEXTS = [
    "len(pd.DataFrame({'a': [10, 30]}).query('a > @CUT_a'))",
    "len(pd.DataFrame({'a': [10, 30]}).query(expr='a > @CUT_a', engine='python'))",
    "len(pd.DataFrame({'a': [10, 30]}).query(f'a > {1} and a > @CUT_a'))",
    "len(pd.DataFrame({'a': [10, 30]}).query(CONDITION))",
    "pd.DataFrame({'a': [10, 30]}).eval('a > @CUT_a').sum()",
    "int(pd.eval('@ CUT_a + 1'))",
]
TAKEN = [
    "len(pd.DataFrame({'a': [10, 30]}).query('a > @events'))",
    "len(pd.DataFrame({'a': [10, 30]}).query(f'a > {CUT_a}'))",
    "len(pd.DataFrame({'a': [10, 30]}).query('a > @CUT_a')) if CUT_a else 0",
    "len(pd.DataFrame({'a': [10, 30]}).query('a > @value')) if (value := CUT_a) else 0",
    "eval('CUT_a', CUTS)",
    "sys.path.append('.') or 20",
    "len(THIS)",
    "len(vars(self))",
    "len(locals())",
    "sys.float_info.max",
]


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def write(value, plugins=PLUGINS):
        sys.modules.pop("plugins", None)
        (tmp_path / "plugins.py").write_text(plugins)
        (tmp_path / "looks.py").write_text(FILE.format(value))
        return str(tmp_path / "looks.py")

    yield write
    sys.modules.pop("plugins", None)


@pytest.mark.parametrize("value", REFUSED)
def test_what_workers_have_not_is_refused_by_its_place(value, written):
    with pytest.raises(UsageError) as refused:
        load_analysis(written(value), {})[0].code()
    assert str(refused.value).startswith(f"looks.py:33 {REFUSED[value]}, ")


@pytest.mark.parametrize("value", IN_TEXTS)
def test_names_of_a_module_in_a_text_for_pandas_are_refused(value, written):
    said = (
        r"^looks\.py:33 looks CUT_a up in a text, as @CUT_a, and workers get only what code names outside of texts; "
        "write `value = CUT_a` before, and @value$"
    )
    with pytest.raises(UsageError, match=said):
        load_analysis(written(value), {})[0].code()


def test_it_is_refused_in_a_module_that_is_reached(written):
    with pytest.raises(UsageError, match=r"^plugins\.py:6 looks names up in globals\(\), "):
        load_analysis(written("plugins.total()"), {})[0].code()


def test_a_function_that_imports_main_is_refused():
    def counted(events):
        import __main__

        return getattr(__main__, "CUT", 0)

    with pytest.raises(UsageError, match="imports __main__"):
        code_of(counted)


@pytest.mark.parametrize("value", TAKEN)
def test_what_looks_nothing_up_is_taken(value, written):
    assert not load_analysis(written(value), {})[0].code().unnamed


@pytest.mark.parametrize("value", ["plugins.__dict__.get('CUT_a', 0)", "vars(plugins).get('CUT_a', 0)"])
def test_the_names_of_a_module_that_is_used_as_a_whole_count_and_travel(value, written, tmp_path):
    events = str(write_events(tmp_path / "e.root", 100, clusters=1))
    plain = "CUT_a = 20\n"
    with Client(workers=1, store=tmp_path / "store") as client:
        for cut in (20, 30):
            analysis, _ = load_analysis(written(value, plain.replace("20", str(cut))), {})
            run = client.run(analysis, events)
            assert run.result(timeout_s=120)["events"].counters == {"n": cut}
            assert run.report().chunks.reused == 0


def test_the_line_of_a_lambda_is_told():
    line = sys._getframe().f_lineno + 1
    one, other = lambda events: len(events), lambda events: globals().get("CUT", 0)
    assert not code_of(one).unnamed
    with pytest.raises(UsageError, match=rf"^test_lookups\.py:{line} looks names up in globals\(\), "):
        code_of(other)
