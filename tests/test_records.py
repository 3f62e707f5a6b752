"""A dataclass survives JSON to the last bit; data of any other shape or type is refused, with the place."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.analysis.loading import Origin
from vrecompute.datasets.dataset import Dataset, Sample, Source
from vrecompute.errors import UsageError
from vrecompute.execution.failure import Failure
from vrecompute.execution.manifest import Manifest, Settings
from vrecompute.execution.plan import Plan, PlannedSource
from vrecompute.execution.reading import Reading
from vrecompute.records import ADDED, from_data, json_of, to_data

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False)
DATA = st.recursive(
    st.none() | NUMBERS | TEXT, lambda d: st.lists(d, max_size=3) | st.dictionaries(TEXT, d, max_size=3)
)


@dataclass(frozen=True)
class Inner:
    number: float
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    name: str
    count: int
    given: bool | None
    bounds: tuple[int, ...]
    inner: Inner
    more: tuple[Inner, ...] = ()
    absent: Mapping[str, bool | int | float] = field(default_factory=dict)
    free: Mapping[str, Any] = field(default_factory=dict)


inners = st.builds(Inner, st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["a", "b"]))
outers = st.builds(
    Outer,
    name=TEXT,
    count=st.integers(),
    given=st.none() | st.booleans(),
    bounds=st.lists(st.integers()).map(tuple),
    inner=inners,
    more=st.lists(inners, max_size=3).map(tuple),
    absent=st.dictionaries(TEXT, NUMBERS, max_size=3),
    free=st.dictionaries(TEXT, DATA, max_size=3),
)


def stored(value):
    return json.loads(json.dumps(to_data(value)))


@given(outers)
def test_a_value_comes_back_with_its_types(value):
    again = from_data(Outer, stored(value))
    assert (again, repr(again)) == (value, repr(value))


GOOD = stored(Outer("n", 1, True, (0, 2), Inner(1.5), (Inner(2.0, "b"),)))


@pytest.mark.parametrize(
    ("at", "wrong", "says"),
    [
        ("count", True, "count: .*integer, found True"),
        ("count", 1.0, "count"),
        ("count", "1", "count"),
        ("count", None, "count"),
        ("name", 1, "name"),
        ("given", 1, "given"),
        ("bounds", [0, True], r"bounds\.1"),
        ("bounds", [0, "2"], r"bounds\.1"),
        ("bounds", 3, "bounds"),
        ("bounds", {"0": 1}, "bounds"),
        ("inner", {"number": True, "kind": "a"}, r"inner\.number"),
        ("inner", {"number": "nan", "kind": "a"}, r"inner\.number"),
        ("inner", {"number": float("nan"), "kind": "a"}, "not JSON compliant"),
        ("free", {"deep": [float("inf")]}, "not JSON compliant"),
        ("inner", {"number": 1.0, "kind": "c"}, r"inner\.kind"),
        ("inner", {"number": 1.0}, "Inner: missing key 'kind'"),
        ("inner", {"number": 1.0, "kind": "a", "odd": 1}, "Inner: unknown key 'odd'"),
        ("more", [{"number": 1.0, "kind": "a"}, {"number": 1.0}], "Inner: missing key 'kind'"),
        ("more", [[1.0, "a"]], r"more\.0"),
        ("absent", {"x": "1"}, r"absent\.x"),
        ("absent", [], "absent"),
        ("free", None, "free"),
    ],
)
def test_another_type_is_refused_with_its_place(at, wrong, says):
    from_data(Outer, GOOD)
    with pytest.raises(ValueError, match=says):
        from_data(Outer, GOOD | {at: wrong})


@pytest.mark.parametrize("key", GOOD)
def test_no_key_is_left_to_its_default(key):
    with pytest.raises(ValueError, match=key):
        from_data(Outer, {k: v for k, v in GOOD.items() if k != key})


def test_a_field_that_was_added_is_its_default_in_what_was_written_before():
    @dataclass(frozen=True)
    class Newer:
        name: str
        inner: Inner = field(default=Inner(2.0), metadata=ADDED)

    assert from_data(Newer, {"name": "n"}) == Newer("n")
    assert from_data(Newer, stored(Newer("n", Inner(1.0)))) == Newer("n", Inner(1.0))
    for wrong in ({"name": "n", "outer": 1}, {"name": "n", "inner": {"number": 1.0}}, {}):
        with pytest.raises(ValueError, match=r"outer|kind|name"):
            from_data(Newer, wrong)


@pytest.mark.parametrize("data", [None, [], [GOOD], "", 1, GOOD | {"odd": 1}])
def test_data_of_another_shape_is_refused(data):
    with pytest.raises(ValueError, match=r"all: |odd"):
        from_data(Outer, data)


def test_a_mistake_in_much_data_is_told_in_few_words():
    with pytest.raises(ValueError, match="and 97 more") as caught:
        from_data(Outer, GOOD | {"bounds": ["x" * 10_000] * 100})
    assert len(str(caught.value)) < 500


SAMPLE = Sample("s", metadata={"year": 2018})
SOURCE = PlannedSource("a.root", "s", "ttree", "t", "u", 9, 5, ("x",), (0, 5), {}, reading=Reading(given=("x",)))
MANIFEST = Manifest(
    "r", "now", "a", "1", Origin("live", "A"), "c", {"cut": 1.0}, Dataset((SAMPLE,), (Source("a.root", "s"),)), {}, {}
)
# Fields that stored ones may lack.
LATER = {
    f.name
    for kind in (Manifest, Settings, Dataset, Sample, Source, Plan, PlannedSource, Reading, Failure)
    for f in fields(kind)
    if "added" in f.metadata
}
STORED = [MANIFEST, Plan.of("w", [SAMPLE], [SOURCE], 100), SOURCE, Failure("a.root", "s", "code", "it failed")]


def places(data, at=()):
    """Every key of the mappings of a document, but for those that users choose."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        if isinstance(data, dict):
            yield (*at, key)
        if key not in {"metadata", "parameters", "view", "description", "absent"}:
            yield from places(value, (*at, key))


@pytest.mark.parametrize("value", STORED, ids=lambda v: type(v).__name__)
def test_whatever_a_store_keeps_lacks_no_key_and_has_no_other(value):
    data = stored(value)
    assert from_data(type(value), data) == value
    for *section, key in places(data):
        for renamed in ([], ["odd"]) if key not in LATER else (["odd"],):
            other = copy.deepcopy(data)
            held = other
            for step in section:
                held = held[step]
            held |= dict.fromkeys(renamed, held.pop(key))
            with pytest.raises(ValueError, match=rf"{key}|odd"):
                from_data(type(value), other)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"settings": Settings(chunk_bytes=1e6)}, r"settings\.chunk_bytes: .* found 1000000\.0"),
        ({"settings": Settings(reuse=0)}, r"settings\.reuse"),
        ({"dataset": Dataset((Sample("s", unit="TeV"),), ())}, r"dataset\.samples\.0\.unit"),
        ({"dataset": Dataset((Sample("s", cross_section_pb="12"),), ())}, r"samples\.0\.cross_section_pb"),
        ({"dataset": Dataset((SAMPLE,), (Source("a", "s", entries=6.0),))}, r"sources\.0\.entries"),
        ({"parameters": {"label": "\ud800"}}, "parameter label: .* is not UTF-8 text"),
        ({"parameters": {"cut": float("nan")}}, "not JSON compliant"),
        ({"parameters": {"cut": object()}}, "object is not"),
    ],
)
def test_a_run_that_another_process_could_not_read_is_not_begun(change, says):
    with pytest.raises(UsageError, match=says):
        Manifest(**(vars(MANIFEST) | change)).as_read()
    assert MANIFEST.as_read() == MANIFEST


@pytest.mark.parametrize("text", ["[" * 100_000, b'{"a":' * 100_000, "", "[", b"\xff", "1" * 5000])
def test_a_text_that_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        json_of(text)
