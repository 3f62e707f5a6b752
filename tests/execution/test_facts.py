"""What `process` can see of a sample and a source is what its part is filed under; other facts it does not get."""

from __future__ import annotations

import shutil

import pytest
import yaml

from tests.events import write_events
from vrecompute.datasets.dataset import Sample
from vrecompute.datasets.facts import FACTS, SeenSample
from vrecompute.errors import AnalysisError, UsageError

EVENTS = 20
READ = {
    "name": "float(events.sample.name == 'zprime')",
    "cross_section_pb": "events.sample.cross_section_pb",
    "luminosity_ifb": "events.sample.luminosity_ifb",
    "sum_of_weights": "events.sample.sum_of_weights",
    "source": "float(events.source.endswith('b.root'))",
}
ANALYSIS = """
from vrecompute import Analysis, Result

class Reads(Analysis):
    name = "reads"
    {declared}
    def columns(self, source):
        return ["Muon_pt"]
    def process(self, events):
        return Result(counters={{"number": len(events) * {read}}})
"""
GIVEN = {"name": "dy", "cross_section_pb": 5.0, "luminosity_ifb": 10.0, "sum_of_weights": 4.0, "files": ["a.root"]}
CHANGED = {"name": "zprime", "cross_section_pb": 6.0, "luminosity_ifb": 20.0, "sum_of_weights": 8.0}


@pytest.fixture
def of(run, client, tmp_path):
    """`of(read, declared, sample, ...)`: a run that has ended, over samples that share one file."""
    write_events(tmp_path / "a.root", EVENTS)

    def ended(read, declared, *samples):
        (tmp_path / "reads.py").write_text(ANALYSIS.format(read=read, declared=declared))
        (tmp_path / "d.yaml").write_text(yaml.safe_dump({"schema": 1, "samples": [dict(s) for s in samples]}))
        return client.run(str(tmp_path / "reads.py"), str(tmp_path / "d.yaml")).wait(60)

    return ended


@pytest.mark.parametrize("fact", FACTS)
def test_a_declared_fact_is_what_it_is_now(of, tmp_path, fact):
    declared = f'reads_facts = ("{fact}",)'
    first = of(READ[fact], declared, GIVEN)
    number = EVENTS * (GIVEN[fact] if isinstance(GIVEN.get(fact), float) else 0.0)
    assert first.result()[GIVEN["name"]].counters["number"] == number
    if fact == "source":
        shutil.move(tmp_path / "a.root", tmp_path / "b.root")
        other, expected = {**GIVEN, "files": ["b.root"]}, 1.0
    else:
        other = {**GIVEN, fact: CHANGED[fact]}
        expected = CHANGED[fact] if isinstance(CHANGED[fact], float) else 1.0
    again = of(READ[fact], declared, other)
    assert again.report().chunks.reused == 0
    assert again.result()[other["name"]].counters["number"] == EVENTS * expected


def test_two_samples_of_one_file_have_their_own_numbers(of):
    two = [{**GIVEN, "name": "s", "cross_section_pb": 1.0}, {**GIVEN, "name": "t", "cross_section_pb": 2.0}]
    result = of(READ["cross_section_pb"], 'reads_facts = ("cross_section_pb",)', *two).result()
    assert {name: result[name].counters["number"] for name in ("s", "t")} == {"s": EVENTS, "t": 2.0 * EVENTS}


@pytest.mark.parametrize("text", ["events.place", "str(events)", "repr(events)", "str(vars(events))"])
def test_no_number_depends_on_where_a_file_lies(of, tmp_path, text):
    first = of(f"sum(map(ord, {text}))", "", GIVEN).result()[GIVEN["name"]].counters["number"]
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "a.root", tmp_path / "elsewhere" / "moved.root")
    again = of(f"sum(map(ord, {text}))", "", {**GIVEN, "files": ["elsewhere/moved.root"]})
    assert again.report().chunks.reused == 1
    found = of(f"sum(map(ord, {text} + ''))", "", {**GIVEN, "files": ["elsewhere/moved.root"]})
    assert found.report().chunks.reused == 0
    assert found.result()[GIVEN["name"]].counters["number"] == first


def test_a_message_names_the_file_all_the_same(of, tmp_path):
    report = of("int(events.place)", "", GIVEN).report()
    (failure,) = report.failures
    assert failure.file == str(tmp_path / "a.root")
    assert "'this file'" in failure.reason


@pytest.mark.parametrize("fact", FACTS)
def test_one_that_is_not_declared_cannot_be_read(of, fact):
    report = of(READ[fact], "", GIVEN).report()
    assert report.status == "failed"
    assert f'reads_facts = ("{fact}",)' in report.failures[0].reason


def test_what_no_chunk_reads_may_change(of, tmp_path):
    assert of("1.0", "", GIVEN).report().chunks.computed == 1
    shutil.move(tmp_path / "a.root", tmp_path / "b.root")
    report = of("1.0", "", {**GIVEN, **CHANGED, "files": ["b.root"]}).report()
    assert (report.status, report.chunks.reused) == ("complete", 1)


@pytest.mark.parametrize("fact", [fact for fact in FACTS if fact != "source"])
def test_variations_see_the_same(fact):
    sample = Sample(**{key: value for key, value in GIVEN.items() if key != "files"}, metadata={"year": 2017})
    seen = SeenSample.of(sample, ())
    with pytest.raises(AnalysisError, match=fact):
        getattr(seen, fact)
    assert getattr(SeenSample.of(sample, (fact,)), fact) == GIVEN[fact]
    assert (seen.metadata, seen.is_data, seen.unit) == ({"year": 2017}, None, None)
    assert str(GIVEN[fact]) not in repr(seen)


def test_a_fact_that_is_none_is_refused_where_the_class_is_written():
    from vrecompute import Analysis

    with pytest.raises(UsageError, match=r"reads_facts has 'xsec'; it may have .*cross_section_pb"):
        type("Wrong", (Analysis,), {"reads_facts": ("xsec",)})
