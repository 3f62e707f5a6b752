"""Parameters of an analysis: one value has one form, whoever wrote it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Analysis, Client, Parameter
from vrecompute.analysis import interval
from vrecompute.digest import canonical_json
from vrecompute.errors import ParameterError, UsageError
from vrecompute.execution.workkey import work_key

pytestmark = pytest.mark.usefixtures("lent_workers")


class Example(Analysis):
    name = "example"
    parameters = (
        Parameter("pt_min_gev", 20, "an int where a float is meant"),
        Parameter("window_gev", [81, 101], "a list", type=tuple),
        Parameter("tight", 1, "a flag", type=bool),
        Parameter("count", 3, "a number", type=int),
        Parameter("tag", None, "optional", type=str),
    )


def test_a_default_has_its_parameter_s_type():
    values = Example().values
    assert json.loads(canonical_json(values)) == {
        "pt_min_gev": 20.0, "window_gev": [81.0, 101.0], "tight": True, "count": 3, "tag": None,
    }  # fmt: skip
    assert type(values["pt_min_gev"]) is float
    assert values["tight"] is True


@given(st.integers(-1000, 1000))
def test_a_value_is_the_same_as_default_as_text_and_from_a_manifest(number):
    class Mine(Analysis):
        name = "mine"
        parameters = (Parameter("x_gev", number, "x"),)

    default = canonical_json(Mine().process_parameters())
    for form in (number, float(number), str(number), json.loads(default)["x_gev"]):
        assert canonical_json(Mine(x_gev=form).process_parameters()) == default


def test_what_a_manifest_says_can_be_read_again():
    first = Example(pt_min_gev="25")
    again = Example(**json.loads(canonical_json(first.values)))
    assert canonical_json(again.values) == canonical_json(first.values)


def test_a_default_that_is_no_value_of_its_parameter_is_an_error_where_it_is_written():
    with pytest.raises(ParameterError, match="pt_min_gev='high' is not a float"):
        Parameter("pt_min_gev", "high", "cut")
    with pytest.raises(ParameterError, match="choose one of ee, mumu"):
        Parameter("channel", "emu", "channel", type=str, choices=("ee", "mumu"))


def test_what_is_not_the_help_text_is_not_taken_for_it():
    with pytest.raises(ParameterError, match=r"count: its third argument is <class 'int'>, .* Parameter\('count', 3, "):
        Parameter("count", 3, int)
    with pytest.raises(TypeError):
        Parameter("count", 3, "how many", int)


def test_none_is_no_value_where_there_is_a_default():
    with pytest.raises(ParameterError, match="count=None"):
        Example(count=None)


def test_no_number_is_rounded_to_an_int():
    with pytest.raises(ParameterError, match=r"count=1\.5 is not a int"):
        Example(count=1.5)
    assert [type(Example(count=c).values["count"]) for c in (2, 2.0, "2", np.int32(2))] == [int] * 4


def test_a_run_that_is_taken_up_again_computes_nothing_twice(tmp_path):
    file = write_events(tmp_path / "e.root")
    written = SUM_ANALYSIS.replace('"pt_min_gev", 10.0', '"pt_min_gev", 10')
    assert written != SUM_ANALYSIS
    (tmp_path / "sums.py").write_text(written)
    with Client(workers=1, store=tmp_path / "store") as client:
        first = client.run(str(tmp_path / "sums.py"), str(file)).report(timeout_s=120)
        run = client.attach(first.run)
        key = work_key(run.manifest, run.analysis())
        assert {name.split("/")[1] for name in client.store.names("work")} == {key}, "whoever takes it up finds parts"
        again = client.run(str(tmp_path / "sums.py"), str(file), pt_min_gev="10").report(timeout_s=120)
    assert (again.chunks.computed, again.chunks.reused) == (0, first.chunks.computed)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e400", float("nan"), "1,inf"])
def test_a_parameter_is_a_finite_number(text):
    kind = tuple if isinstance(text, str) and "," in text else float
    with pytest.raises(ParameterError, match=r"parameter x_gev=.* is not a finite number: of something"):
        Parameter("x_gev", None, "of something", type=kind).parse(text)


@pytest.mark.parametrize(
    ("limits", "good", "bad", "says"),
    [
        ({"above": 0}, [1e-9, 5], [0, -1], "a number above 0"),
        ({"below": 1}, [0.99, -5], [1, 2], "a number below 1"),
        ({"minimum": 0.5}, [0.5, 1], [0.49], "at least 0.5"),
        ({"maximum": 30}, [30, -1], [30.5], "at most 30"),
    ],
)
@pytest.mark.parametrize("type", [float, tuple])
def test_a_parameter_keeps_its_limits(limits, good, bad, says, type):
    parameter = Parameter("x", None, "help", type=type, **limits)
    for number in good:
        assert parameter.parse(str(number)) == ((number,) if type is tuple else number)
    for number in bad:
        text = f"{good[0]},{number}" if type is tuple else str(number)
        with pytest.raises(ParameterError, match=f"parameter x='{text}': choose {says}"):
            parameter.parse(text)


@pytest.mark.parametrize("text", ["2,1", "1", "1,2,3", "", "a,b", "nan,1", "1,inf"])
def test_an_interval_is_two_ordered_finite_numbers(text):
    parameter = Parameter("window_gev", "1,2", "help", type=interval)
    assert parameter.default == (1.0, 2.0)
    assert parameter.parse("1,1") == (1.0, 1.0)
    with pytest.raises(ParameterError, match=r"two numbers low,high|finite"):
        parameter.parse(text)


def test_any_word_may_be_given_as_a_parameter():
    with pytest.raises(ParameterError, match="has no parameter 'self'"):
        Analysis(self=1)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("finish", "mine:finish", 'finish_function = "MODULE:FUNCTION"'),
        ("figures", lambda self: None, 'figures_function = "MODULE:FUNCTION"'),
        ("finish_funtion", "mine:finish", "did you mean 'finish_function'"),
        ("parameter", (), "did you mean 'parameters'"),
        ("Momenta", ("Muon_pt",), "did you mean 'momenta'"),
    ],
)
def test_an_attribute_that_a_run_would_overlook_is_refused_with_what_was_meant(name, value, said):
    with pytest.raises(UsageError, match=rf"Mine\.{name} means nothing to a run: .*{said}"):
        type("Mine", (Analysis,), {name: value})


def test_attributes_and_methods_of_its_own_are_an_analysis_own():
    own = {"pt_min_gev": 1.0, "column": lambda self, name: name, "finished": True, "_finish": 1, "mass": (60.0, 120.0)}
    assert type("Mine", (Analysis,), own).pt_min_gev == 1.0


NOT_NUMBERS = """
import numpy as np


def finish(results, analysis, context):
    limits = {"observed": float("nan"), "band": np.array([1.0, np.inf, 2.0])}
    return {"limits": limits, "many": [float("-inf")] * 4, "fine": 0.5}
"""


def test_what_finish_returns_that_is_no_number_is_null_and_the_report_says_so(tmp_path):
    (tmp_path / "not_numbers.py").write_text(NOT_NUMBERS)
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS + '\n    finish_function = "not_numbers:finish"\n')
    with Client(workers=1, store=tmp_path / "store") as client:
        run = client.run(str(tmp_path / "sums.py"), str(write_events(tmp_path / "e.root")))
        report = run.report(timeout_s=120)
        assert report.status == "complete"
        limits = {"observed": None, "band": [1.0, None, 2.0]}
        assert run.products() == {"limits": limits, "many": [None] * 4, "fine": 0.5}
    (warning,) = report.warnings
    assert warning.startswith(
        "finish returned nan as limits.observed, inf as limits.band[1], -inf as many[0] and 3 more:"
    )
