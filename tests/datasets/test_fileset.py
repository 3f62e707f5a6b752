"""Filesets of coffea and uproot as datasets."""

from __future__ import annotations

import json
import re

import pytest

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Client
from vrecompute.datasets.catalogue import resolve
from vrecompute.errors import DatasetError

COFFEA = {
    "dy": {"files": {"a.root": "Events", "b.root": {"object_path": "nominal", "num_entries": 300, "steps": [[0, 300]],
                                                    "uuid": "1"}}, "metadata": {"year": 2018}, "form": None},
    "tt": ["c*.root"],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_events(tmp_path / "a.root", 200)
    write_events(tmp_path / "b.root", 300, seed=1, tree="nominal")
    write_events(tmp_path / "c1.root", 100, seed=2)
    write_events(tmp_path / "c2.root", 100, seed=3)
    return tmp_path


def said(dataset):
    return [(s.path.rpartition("/")[2], s.sample, s.tree, s.entries) for s in dataset.sources]


def test_a_fileset_of_coffea_names_samples_files_trees_and_entries(folder):
    dataset = resolve(COFFEA)
    expected = [("a.root", "dy", "Events", None), ("b.root", "dy", "nominal", 300)]
    expected += [(name, "tt", None, None) for name in ("c1.root", "c2.root")]
    assert said(dataset) == expected
    assert dict(dataset.samples[0].metadata) == {"year": 2018}
    assert [s.is_data for s in dataset.samples] == [None, None]
    (folder / "sub").mkdir()
    (folder / "sub" / "set.json").write_text(json.dumps(COFFEA).replace('"c*', '"../c*'))
    assert said(resolve("sub/set.json::tt")) == expected[2:]  # beside the file
    with pytest.raises(DatasetError, match="has no sample 'zz'"):
        resolve("sub/set.json::zz")


def test_each_file_is_read_from_its_own_tree(folder):
    (folder / "sums.py").write_text(SUM_ANALYSIS)
    with Client(workers=1, store="store") as client:
        run = client.run("sums.py", {"a.root": "Events", folder / "b.root": "nominal"})
        assert run.report(timeout_s=120).events.seen == 500
        assert list(run.result()) == ["events"]
        wrong = client.run("sums.py", {"a.root": "nominal"}).report(timeout_s=120)
    assert (wrong.status, wrong.failures[0].kind) == ("failed", "missing-tree")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "has no samples"),
        ({"dy": {"files": ["a.root"], "tree_name": "x"}}, "'tree_name' is not a key of a fileset; did you mean"),
        ({"dy": {"files": {"a.root": {"object": "x"}}}}, "a.root: 'object' is not a key of a fileset"),
        ({"dy": {"files": {"a.root": 3}}}, "3 is not the name of a tree"),
        ({"dy": {"files": {"a.root": {"num_entries": "many"}}}}, "`num_entries` a whole number"),
        ({"dy": []}, "its files are a list of paths"),
        ({"dy": {"files": 7}}, "its files are a list of paths"),
        ({"dy": [7]}, "7 is no path of a file"),
        ({3: ["a.root"]}, "sample 3: a sample is named by a text"),
        ({"d y": ["a.root"]}, "did you mean 'd_y'"),
        ({"dy": {"files": {"c*.root": {"num_entries": 5}}}}, "names 2 files, and one number of events"),
    ],
)  # fmt: skip
def test_what_is_not_a_fileset_is_named(folder, given, says):
    with pytest.raises(DatasetError, match=re.escape(says)):
        resolve(given)


@pytest.mark.parametrize("text", ["{", "[]", '{"a.root": "Events"}', '{"1": [[1, 30]]}'])
def test_a_json_file_that_is_no_fileset_is_refused(folder, text):
    (folder / "golden.json").write_text(text)
    with pytest.raises(DatasetError, match=r"golden\.json"):
        resolve("golden.json")
