"""What users name becomes a Dataset, or a message that says what is wrong."""

from __future__ import annotations

import os

import pytest

from vrecompute.datasets.catalogue import resolve
from vrecompute.errors import DatasetError
from vrecompute.sites.access import LocalAccess


@pytest.fixture
def folder(tmp_path):
    """tmp/{a,b}.root, tmp/deep/c.root, tmp/set.yaml with samples data (a) and zmumu (b, c)."""
    (tmp_path / "deep").mkdir()
    for name in ("a.root", "b.root", "deep/c.root"):
        (tmp_path / name).touch()
    (tmp_path / "set.yaml").write_text(
        """
schema: 1
name: both
luminosity_ifb: 2.5
samples:
  - {name: data, is_data: true, files: [a.root], certified: golden.json}
  - name: zmumu
    files: [{path: b.root, entries: 7}, "deep/*.root"]
    cross_section_pb: 1.5
    weight: genWeight
    unit: MeV
"""
    )
    return tmp_path


def names(dataset) -> list[str]:
    return [os.path.basename(s.path) for s in dataset.sources]


def test_file_glob_directory_and_list(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert names(resolve("a.root")) == ["a.root"]
    assert names(resolve(str(folder / "*.root"))) == ["a.root", "b.root"]
    assert names(resolve(folder)) == ["a.root", "b.root", "c.root"]
    assert names(resolve([folder / "b.root", "a.root"])) == ["b.root", "a.root"]
    assert os.path.isabs(resolve("a.root").sources[0].path)


def test_yaml_with_samples(folder):
    dataset = resolve(folder / "set.yaml")
    data, zmumu = dataset.samples
    assert (data.is_data, data.luminosity_ifb, zmumu.unit, zmumu.cross_section_pb) == (True, 2.5, "MeV", 1.5)
    assert data.certified == str(folder / "golden.json")
    assert [(s.sample, s.entries) for s in dataset.sources] == [("data", None), ("zmumu", 7), ("zmumu", None)]
    assert names(resolve(f"{folder}/set.yaml::zmumu")) == ["b.root", "c.root"]


def test_a_name_is_looked_up(folder, monkeypatch):
    monkeypatch.setenv("VRECOMPUTE_DATASETS", str(folder))
    assert resolve("set").name == "both"
    with pytest.raises(DatasetError, match="did you mean 'set'"):
        resolve("sett")


def test_a_source_twice_is_an_error_unless_allowed(folder):
    twice = [folder / "a.root", folder / "a.root"]
    with pytest.raises(DatasetError, match="listed twice"):
        resolve(twice)
    assert [s.ordinal for s in resolve(twice, allow_duplicates=True).sources] == [0, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "empty list"),
        ("nowhere/*.root", "no file matches"),
        ("nothing", "no file, directory or dataset called 'nothing'"),
        ("rucio:scope:name", "scheme 'rucio'"),
        ("a/b.root::x", "picks a sample of a YAML file"),
    ],
)
def test_what_names_nothing_says_so(given, message):
    with pytest.raises(DatasetError, match=message):
        resolve(given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("samples: []", "schema"),
        ("schema: 2\nsamples: [{name: a, files: [x]}]", "schema"),
        ("schema: 1\nsamples: [{name: a, files: []}]", "at least 1 item"),
        ("schema: 1\nsamples: [{name: a, file: [x.root]}]", "did you mean 'files'"),
        ("schema: 1\nsamples: [{name: a, files: [x.root], cross_section_pb: -1}]", "greater than 0"),
        ("schema: 1\nsamples: [{name: a, files: [x.root], unit: TeV}]", "'TeV' is not one of GeV, MeV"),
        ("schema: 1\nsamples: [{name: a, files: [x.root]}, {name: a, files: [y.root]}]", "two samples"),
        ("schema: [1", "not YAML"),
    ],
)
def test_wrong_yaml_names_the_file_and_the_mistake(tmp_path, text, message):
    path = tmp_path / "d.yaml"
    path.write_text(text)
    with pytest.raises(DatasetError, match=message) as caught:
        resolve(path)
    assert str(path) in str(caught.value)


def test_an_empty_directory_and_an_unknown_sample(folder):
    (folder / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"holds no \.root file"):
        resolve(folder / "empty")
    with pytest.raises(DatasetError, match="did you mean 'zmumu'"):
        resolve(f"{folder}/set.yaml::zmum")


def test_files_of_another_machine_are_found_there(folder):
    """The same answers through an Access, here one to this machine, whose shell must not read names as code."""
    access = LocalAccess()
    odd = folder / "a b $(touch hacked).root"
    odd.touch()
    assert names(resolve(str(folder / "?.root"), access=access)) == ["a.root", "b.root"]
    assert names(resolve(str(odd), access=access)) == [odd.name]
    assert names(resolve(str(folder), access=access)) == sorted([odd.name, "a.root", "b.root", "c.root"])
    assert not list(folder.rglob("hacked"))
    with pytest.raises(DatasetError, match=r"no file matches 'none/\*\.root'"):
        resolve("none/*.root", access=access)
    (folder / "there.yaml").write_text(f"schema: 1\nsamples: [{{name: s, files: ['{folder}/?.root']}}]")
    assert names(resolve(folder / "there.yaml", access=access)) == ["a.root", "b.root"]
