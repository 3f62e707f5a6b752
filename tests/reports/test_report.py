"""`report.json` keeps its contract, fragments merge to the same facts in any order, nothing incomplete reads 100 %."""

from __future__ import annotations

import json
import string

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.reports.report import (
    AnalysisIdentity,
    Chunks,
    Events,
    FileSummary,
    ReportedFailure,
    RunSummary,
    SampleSummary,
    dumps,
    loads,
    schema,
    summary_text,
)

counts = st.integers(0, 10**12)
texts = st.text(max_size=20)
numbers = st.floats(0, 1e12)
events = st.builds(Events, counts, counts)
failures = st.builds(ReportedFailure, texts, st.none() | st.tuples(counts, counts), texts, texts)
samples = st.builds(
    SampleSummary,
    texts,
    st.booleans(),
    counts,
    events,
    st.floats(allow_nan=False),
    st.none() | numbers,
    st.none() | numbers,
    st.none() | numbers,
    texts,
)
summaries = st.builds(
    RunSummary,
    run=texts,
    status=st.sampled_from(["complete", "partial", "failed", "cancelled"]),
    analysis=st.builds(AnalysisIdentity, texts, texts, texts),
    site=texts,
    parameters=st.dictionaries(texts, st.floats() | st.booleans() | texts | st.tuples(numbers, numbers), max_size=4),
    events=events,
    chunks=st.builds(Chunks, counts, counts, counts, counts),
    result_sha256=st.none() | st.text(string.hexdigits[:16], min_size=64, max_size=64),
    cutflow=st.dictionaries(texts, st.dictionaries(texts, st.floats(allow_nan=False), max_size=3), max_size=2),
    failures=st.lists(failures, max_size=3).map(tuple),
    bytes=counts,
    time_s=st.dictionaries(texts, numbers, max_size=3),
    events_per_s_per_core=st.none() | numbers,
    versions=st.dictionaries(texts, texts, max_size=3),
    samples=st.lists(samples, max_size=2).map(tuple),
    files=st.lists(st.builds(FileSummary, texts, texts, counts, st.none() | counts), max_size=3).map(tuple),
    warnings=st.lists(texts, max_size=3).map(tuple),
    trees=st.lists(texts, max_size=2).map(tuple),
)


def summary(**changes) -> RunSummary:
    facts = {
        "run": "r1",
        "status": "complete",
        "analysis": AnalysisIdentity("dilepton", "1", "ab12"),
        "site": "local",
        "parameters": {"pt_min_gev": 30.0, "channel": "mumu", "mass_window_gev": (81.0, 101.0)},
        "events": Events(100, 100),
        "chunks": Chunks(4, 3, 1, 0),
        "result_sha256": "0" * 64,
    }
    return RunSummary(**(facts | changes))


@given(summaries)
def test_every_report_obeys_the_schema_and_reads_back(one):
    text = dumps(one)
    jsonschema.validate(json.loads(text), schema())
    again = loads(text)
    assert dumps(again) == text
    for name in (
        "run",
        "status",
        "analysis",
        "events",
        "chunks",
        "failures",
        "samples",
        "files",
        "cutflow",
        "warnings",
    ):
        assert getattr(again, name) == getattr(one, name)


def test_schema_is_a_schema_and_refuses_what_it_does_not_know():
    jsonschema.Draft202012Validator.check_schema(schema())
    document = json.loads(dumps(summary()))
    for broken in (
        document | {"surprise": 1},
        document | {"status": "green"},
        document | {"result_sha256": "short"},
        {k: v for k, v in document.items() if k != "chunks"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema())


def test_contract_keys():
    document = json.loads(dumps(summary(failures=(ReportedFailure("f.root", (0, 5), "corrupt", "bad basket"),))))
    promised = "schema run status exit_code analysis site parameters events chunks result_sha256 cutflow failures bytes"
    promised += " time_s events_per_s_per_core versions"
    assert set(promised.split()) <= set(document)
    assert document["failures"] == [
        {"file": "f.root", "chunk": [0, 5], "class": "corrupt", "reason": "bad basket", "traceback": ""}
    ]
    assert document["parameters"]["mass_window_gev"] == [81.0, 101.0]


def test_a_report_of_another_version_is_refused():
    document = json.loads(dumps(summary()))
    with pytest.raises(ValueError, match="report schema 99"):
        loads(json.dumps(document | {"schema": 99}))
    with pytest.raises(ValueError, match="not a report"):
        loads("{}")
    with pytest.raises(ValueError, match="Expecting value"):
        loads("")


@pytest.mark.parametrize(("status", "code"), [("complete", 0), ("partial", 3), ("failed", 4), ("cancelled", 130)])
def test_exit_codes(status, code):
    assert summary(status=status).exit_code == code


@given(st.integers(1, 10**15), st.integers(0, 10**15))
def test_incomplete_never_reads_as_everything(expected, seen):
    text = summary(events=Events(min(seen, expected - 1), expected)).completeness_text
    assert "(100 %)" not in text


def test_a_file_nobody_could_count_leaves_completeness_unknown():
    files = (FileSummary("a.root", "s", 100, 100), FileSummary("b.root", "s", 0, None))
    one = summary(status="partial", files=files)
    assert one.completeness is None
    assert one.completeness_text == "100 of 100 events, and 1 file of unknown size not read"


def test_text_says_what_is_missing_and_cannot_be_spoofed():
    bad = ReportedFailure("evil\n\x1b[32mCOMPLETE.root", (10, 20), "corrupt", "cannot decompress")
    one = summary(
        status="partial",
        events=Events(90, 100),
        chunks=Chunks(10, 8, 0, 1),
        failures=(bad,) * 20,
        cutflow={"mumu": {"all": 90, "opposite_sign": 12.5}},
    )
    text = summary_text(one, most=3)
    assert "\x1b" not in text
    assert text.startswith("PARTIAL  dilepton 1 on local")
    assert "90 of 100 events (90 %)" in text
    assert "1 failed, 1 not reached" in text
    assert "all 90 > opposite_sign 12.5" in text
    assert "[10, 20): corrupt: cannot decompress" in text
    assert "and 17 more" in text


def _leaves(document, path=()):
    children = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in children:
        if isinstance(value, dict | list) and value:
            yield from _leaves(value, (*path, key))
        elif not isinstance(value, dict | list):
            yield (*path, key)


@given(summaries, st.data())
def test_a_value_of_another_kind_is_no_report(summary, data):
    document = json.loads(dumps(summary))
    read = [path for path in _leaves(document) if path[0] not in ("parameters", "schema", "exit_code", "completeness")]
    *inner, last = data.draw(st.sampled_from(read))
    holder = document
    for key in inner:
        holder = holder[key]
    holder[last] = [5, "text"]
    with pytest.raises(ValueError, match="found"):
        loads(json.dumps(document))
