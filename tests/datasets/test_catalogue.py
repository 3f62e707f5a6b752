"""What users name becomes a Dataset, or a message that says what is wrong."""

from __future__ import annotations

import json
import math
import os

import pytest

from vrecompute.datasets.catalogue import resolve
from vrecompute.datasets.dataset import Dataset, Sample
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
    notes = resolve(["a.root", "deep"]).notes
    said = "as one sample, 'events', not declared as data or simulation"
    assert notes == (f"a.root: 1 file {said}", f"deep: 1 file (links followed, hidden names left out) {said}")


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
        ("nothing", "no file, directory or dataset is called 'nothing'"),
        ("rucio:scope:name", "scheme 'rucio'"),
        ("a/b.root::x", "picks a sample of a YAML file"),
    ],
)
def test_what_names_nothing_says_so(given, message):
    with pytest.raises(DatasetError, match=message):
        resolve(given)


@pytest.mark.parametrize("access", [None, LocalAccess()], ids=["here", "there"])
def test_all_that_names_nothing_is_named_at_once(folder, access):
    wrong = ["none/*.root", str(folder / "nor" / "*.root"), "nothing"]
    (folder / "w.yaml").write_text(f"schema: 1\nsamples: [{{name: a, files: {json.dumps([*wrong[:2], 'a.root'])}}}]")
    for given in ([*wrong, str(folder / "a.root")], folder / "w.yaml"):
        with pytest.raises(DatasetError) as raised:
            resolve(given, access=access)
        lines = str(raised.value).splitlines()
        assert len(lines) == (3 if isinstance(given, list) else 2)
        assert all(word in line for word, line in zip(wrong, lines, strict=False))


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


ACCESSES = pytest.mark.parametrize("access", [None, LocalAccess()], ids=["here", "there"])


@ACCESSES
def test_a_folder_that_describes_its_files_is_that_dataset(folder, access):
    (folder / "set.yaml").rename(folder / "dataset.yaml")
    text = (folder / "dataset.yaml").read_text()
    (folder / "dataset.yaml").write_text(text.replace(", certified: golden.json", ""))
    dataset = resolve(folder, access=access)
    assert [(s.sample, os.path.relpath(s.path, folder), s.entries) for s in dataset.sources] == [
        ("data", "a.root", None), ("zmumu", "b.root", 7), ("zmumu", "deep/c.root", None),
    ]  # fmt: skip
    assert dataset.notes == (f"{folder}/dataset.yaml: 3 files, samples data, zmumu",)
    assert names(resolve(f"{folder}::zmumu", access=access)) == ["b.root", "c.root"]
    assert names(resolve(f"{folder}/**/*.root", access=access)) == ["a.root", "b.root", "c.root"]
    with pytest.raises(
        DatasetError, match=r"dataset\.yaml describes the files beside it; name that file, or the pattern"
    ):
        resolve(folder.parent, access=access)
    (folder / "dataset.yaml").write_text("schema: 1\nsamples:\n- {name: a, files: [x], unit: TeV}\n")
    with pytest.raises(DatasetError, match=r"dataset\.yaml:3:31: samples\[0\].unit: 'TeV' is not one of"):
        resolve(folder, access=access)
    (folder / "dataset.yaml").write_text("schema: 1\nsamples:\n- {name: a, files: [.]}\n")
    with pytest.raises(DatasetError, match=r"dataset\.yaml is a dataset file; list its data files"):
        resolve(folder, access=access)


def test_a_list_beside_a_description_that_is_elsewhere_cannot_be_read_here(folder):
    (folder / "set.yaml").rename(folder / "dataset.yaml")
    with pytest.raises(DatasetError, match=r"this machine has to read .*golden.json; copy both files here"):
        resolve(folder, access=LocalAccess())


@pytest.mark.parametrize(
    ("written", "is_data"),
    [
        ("unit: GeV", None),
        ("is_data: true", True),
        ("is_data: false", False),
        ("is_data: true, weight: w", True),
        ("cross_section_pb: 2", False),
        ("weight: w", False),
        ("sum_of_weights: 3", False),
    ],
)
def test_what_no_one_declared_is_neither_data_nor_simulation(folder, written, is_data):
    (folder / "d.yaml").write_text(f"schema: 1\nsamples: [{{name: a, files: [a.root], {written}}}]")
    assert resolve(folder / "d.yaml").samples[0].is_data is is_data
    assert resolve(folder / "a.root").samples[0].is_data is None


@ACCESSES
def test_names_that_no_path_can_have_are_refused(folder, access):
    for given in ("a\0b.root", "a\nb/*.root", ["a.root", "\0/"]):
        with pytest.raises(DatasetError, match="a line break, a NUL or another control character"):
            resolve(given, access=access)
    (folder / "deep" / os.fsdecode(b"\xff.root")).touch()
    with pytest.raises(DatasetError, match=r"xff\.root': the name is not UTF-8; rename the file"):
        resolve(folder, access=access)


def test_a_dataset_made_in_python_is_held_to_the_same_rules():
    with pytest.raises(DatasetError, match=r"'../x' is not a sample name"):
        Dataset((Sample("../x"),), ())
    for wrong in ({"cross_section_pb": math.nan}, {"sum_of_weights": math.inf}, {"metadata": {"x": math.nan}}):
        with pytest.raises(DatasetError, match=r"sample 'a': \w+ is (nan|inf); give a finite number"):
            Sample("a", **wrong)


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


@pytest.mark.parametrize("given", [None, 3, 2.5, object()])
def test_what_is_no_dataset_is_named(given):
    with pytest.raises(DatasetError, match="is not a dataset; name a file"):
        resolve(given)
