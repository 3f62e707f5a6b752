"""Dataset files: the dialect of sites, every mistake at once at its place, and a schema for editors that agrees."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import jsonschema
import pytest

from vrecompute.config.marked_yaml import parse_yaml, plain
from vrecompute.datasets.dataset import Sample
from vrecompute.datasets.dataset_file import BOUNDS, dataset_schema, parse_dataset, read_dataset
from vrecompute.errors import DatasetError

ROOT = Path(__file__).parents[2]
HEAD = "schema: 1\nsamples:\n"
NOT_FINITE = "not a finite number; write one, or put it in quotes if it is text"
NO_NAME = (
    "is not a sample name of at most 100 letters, digits, '_', '.', '-', '+' and ':', the first a letter, digit or '_'"
)


def problems(text: str) -> list[str]:
    """What is said of a text, each as "line:column: message"."""
    with pytest.raises(DatasetError) as caught:
        parse_dataset(text.encode("utf-8", "surrogatepass"), "d.yaml")
    return [line.removeprefix("  d.yaml:") for line in str(caught.value).splitlines()[1:]]


def marked(text: str) -> tuple[str, list[str]]:
    """The text without its marks §, and the places "line:column" that they stood at."""
    pieces = text.split("§")
    before = ["".join(pieces[:number]) for number in range(1, len(pieces))]
    return "".join(pieces), [f"{part.count(chr(10)) + 1}:{len(part) - part.rfind(chr(10))}" for part in before]


def test_scalars_are_those_of_yaml_1_2():
    text = HEAD + (
        "- {name: no, files: [2026-01-01, 1_0], cross_section_pb: 1.9e3, sum_of_weights: -12345678901234567890,\n"
        "   metadata: {year: 2026, on: y, day: 2026-01-01, time: 10:00:00, x: 1e3, good: true, text: '010'}}\n"
    )
    [sample] = parse_dataset(text.encode(), "d.yaml").samples
    assert (sample.name, [file.path for file in sample.files]) == ("no", ["2026-01-01", "1_0"])
    assert (sample.cross_section_pb, sample.sum_of_weights) == (1900.0, -12345678901234567890.0)
    assert sample.metadata == {
        "year": 2026, "on": "y", "day": "2026-01-01", "time": "10:00:00", "x": 1000.0, "good": True, "text": "010",
    }  # fmt: skip


def test_null_is_the_default_and_anchors_work():
    text = "schema: 1\nname: null\nsamples:\n- &a {name: a, files: &f [{path: x, tree: null}], unit: MeV, weight: ~}\n"
    text += "- {<<: *a, name: b}\n- {name: c, files: *f}\n"
    found = parse_dataset(text.encode(), "d.yaml")
    assert found.name is None
    assert [(s.name, s.unit, s.weight, s.files[0].tree) for s in found.samples] == [
        ("a", "MeV", None, None), ("b", "MeV", None, None), ("c", None, None, None),
    ]  # fmt: skip


def test_all_mistakes_come_at_once_in_the_order_of_the_file():
    text, places = marked(
        HEAD
        + "- {name: a, files: [x.root, §5, {path: §3, §entris: 1}, §{entries: §010}, §[a]], unit: §TeV, is_data: §no}\n"
        "- {name: §a/b, files: §x.root, metadata: {§x: [1], y: §.nan}, cross_section_pb: §-1, weight: §3}\n"
        "- {name: §a, §file: [x], §entries: 1}\n§samplse: 3\n"
    )
    messages = [
        "samples[0].files[1]: expected a path or {path: ..., entries: ...}, found 5",
        'samples[0].files[2].path: expected text, found 3; write "3" in quotes',
        "samples[0].files[2]: unknown key 'entris'; did you mean 'entries'?",
        (
            "samples[0].files[3]: 'path' is missing; add `path: ...`: A file, a folder or a pattern, relative to"
            " this file."
        ),
        "a number with a leading zero; remove the zero, or put it in quotes if it is text",
        "samples[0].files[4]: expected a path or {path: ..., entries: ...}, found a list",
        "samples[0].unit: 'TeV' is not one of GeV, MeV; did you mean 'MeV'?",
        "samples[0].is_data: expected true or false, found 'no'; did you mean false?",
        f"samples[1].name: 'a/b' {NO_NAME}; did you mean 'a_b'?",
        "samples[1].files: expected a list, found 'x.root'; did you mean [x.root]?",
        "samples[1].metadata.x: expected text, a number, true or false, found a list",
        NOT_FINITE,
        "samples[1].cross_section_pb: expected a number greater than 0, found -1",
        'samples[1].weight: expected text, found 3; write "3" in quotes',
        "two samples are called 'a', the other on line 3",
        "samples[2]: unknown key 'file'; did you mean 'files'?",
        "samples[2]: unknown key 'entries' here; did you mean 'samples.files.entries'?",
        "unknown key 'samplse'; did you mean 'samples'?",
    ]
    assert problems(text) == [f"{place}: {message}" for place, message in zip(places, messages, strict=True)]


A = "- {name: a, files: [x.root], "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- name: a\n  files: [x]\n  §files: [y]\n", "'files' is given twice; the first is on line 4; remove one"),
        ("- {name: a, files: [x]}\n§samples: []\n", "'samples' is given twice; the first is on line 2; remove one"),
        (A + "cross_section_pb: §.inf}", NOT_FINITE),
        (A + "sum_of_weights: §.NaN}", NOT_FINITE),
        (A + "luminosity_ifb: §1e999}", NOT_FINITE),
        (A + "metadata: {x: §.nan}}", NOT_FINITE),
        (A + "sum_of_weights: §0}", "samples[0].sum_of_weights: a sum of weights of 0 normalises nothing"),
        (
            A + "cross_section_pb: §1_000}",
            "samples[0].cross_section_pb: expected a number, such as 1.9e3, found '1_000';",
        ),
        (A + f"cross_section_pb: §{'9' * 5000}}}", "samples[0].cross_section_pb: expected a number"),
        (A + "weight: §!!python/name:os.system x}", "tag tag:yaml.org,2002:python/name:os.system is not supported"),
        ('- {name: a, files: [x, §"a\\0b.root"]}', "samples[0].files[1].path: holds a line break, a NUL"),
        ('- {name: a, files: [§" "]}', "samples[0].files[0].path: empty; write "),
        (f"- {{name: a, files: [§{'x' * 5000}]}}", "samples[0].files[0].path: longer than the 4096 bytes"),
        ('- {name: a, files: [§"\\ud800"]}', "half of a surrogate pair"),
        (f"- {{name: §{'x' * 300}, files: [x]}}", f"samples[0].name: '{'x' * 100}' is not"),
        ("- {name: §'..', files: [x]}", f"samples[0].name: '..' {NO_NAME}"),
        ("- {name: §'a;b', files: [x]}", f"samples[0].name: 'a;b' {NO_NAME}; did you mean 'a_b'?"),
        ('- {name: §"a\\n", files: [x]}', "samples[0].name: holds a line break"),
        ("- {name: §2016, files: [x]}", 'samples[0].name: expected text, found 2016; write "2016" in quotes'),
        ("- {name: a, files: [{path: x, entries: §-1}]}", "samples[0].files[0].entries: expected a whole number"),
        ("- {name: a, files: [{path: x, entries: §1_000}]}", "samples[0].files[0].entries: expected a whole number "),
        (
            f"- {{name: a, files: [{{path: x, entries: §1{'0' * 20}}}]}}",
            "samples[0].files[0].entries: expected a whole",
        ),
        ("- {name: a, §files: []}", "samples[0].files: expected at least 1 item, found none; write [one]"),
        ("- {name: a, files: " + "[" * 30 + "§" + "[" * 100_000, "nested deeper than 32 levels; this is no dataset"),
        ("- {name: a, files: [x]}\n§---\na: 1\n", "a second document"),
        ("- [a\n§", "not YAML: a '[' is not closed"),
        ("- §3\n", "samples[0]: expected a mapping of name, files, "),
        ("- {name: a, files: [&x [§*x]]}", "alias *x has no complete &x before it"),
    ],
)
def test_each_mistake_is_one_message_at_its_place(text, expected):
    written, [place] = marked(HEAD + text)
    [found] = problems(written)
    assert found.startswith(f"{place}: {expected}")


@pytest.mark.parametrize("text", ["", "- a\n", "5", "\x07", "\ud800", "name: 2026-13-45\n", "null"])
def test_what_is_no_dataset_at_all(text):
    assert problems(text)


def test_many_mistakes_are_not_as_many_lines():
    begun = time.process_time()
    text = HEAD + "- name: a\n  files:\n" + "  - {path: x, entrys: 1}\n" * 20_000
    with pytest.raises(DatasetError, match=r"has more than 20 problems; the first:\n") as caught:
        parse_dataset(text.encode(), "d.yaml")
    assert str(caught.value).count("\n") == 20
    assert time.process_time() - begun < 10


def test_sizes_are_bounded_and_large_catalogues_are_read():
    begun = time.process_time()
    text = HEAD + "- name: a\n  files:\n" + "".join(f"  - {{path: {n}.root, entries: 5}}\n" for n in range(100_000))
    assert len(parse_dataset(text.encode(), "d.yaml").samples[0].files) == 100_000
    assert time.process_time() - begun < 20
    assert "larger than 32768 KiB; this is no dataset" in problems("#" * (BOUNDS.max_bytes + 1))[0]


def test_files_that_would_block_or_never_end_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("pipe.yaml", "folder.yaml"):
        with pytest.raises(DatasetError, match=rf"{name}: cannot be read: not a regular file"):
            read_dataset(tmp_path / name)
    with pytest.raises(DatasetError, match=r"absent.yaml: cannot be read: No such file"):
        read_dataset(tmp_path / "absent.yaml")
    for list_name in ("/dev/zero", "pipe.yaml", "."):
        (tmp_path / "d.yaml").write_text(HEAD + f"- {{name: a, files: [x], certified: {list_name}}}\n")
        with pytest.raises(DatasetError, match=r"d.yaml:3:36: samples\[0\].certified: .* is not a regular file"):
            read_dataset(tmp_path / "d.yaml")
    (tmp_path / "d.yaml").write_text(HEAD + f"- {{name: a, files: [x], certified: {'9' * 400}.json}}\n")
    assert read_dataset(tmp_path / "d.yaml").samples  # that it is absent is told where it is read


@pytest.mark.parametrize("name", ["", "..", ".a", "-a", "a/b", "../x", "a;b", "a b", "a\n", "é", "x" * 101, "+a", ":"])
def test_no_sample_has_a_name_that_outputs_cannot_be_filed_under(name):
    with pytest.raises(DatasetError, match="is not a sample name"):
        Sample(name)


@pytest.mark.parametrize("name", ["a", "SR:2018", "ttbar_nlo.v2", "Z-mumu+jets", "_x", "2016", "x" * 100])
def test_names_that_samples_may_have(name):
    assert Sample(name).name == name


def test_the_committed_schema_is_the_one_the_code_gives():
    committed = json.loads((ROOT / "docs" / "dataset.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(committed)
    assert committed == dataset_schema(), "run: python -m vrecompute.datasets.dataset_file > docs/dataset.schema.json"


@pytest.mark.parametrize("page", ["README.md", "docs/datasets.md"])
def test_an_editor_finds_nothing_wrong_in_the_documented_examples(page):
    validator = jsonschema.Draft202012Validator(dataset_schema())
    examples = re.findall(r"```yaml\n(schema: 1\n.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert examples
    for text in examples:
        assert parse_dataset(text.encode(), page).samples
        assert [error.message for error in validator.iter_errors(plain(parse_yaml(text, page)[0]))] == []


@pytest.mark.parametrize(
    "wrong",
    [
        *("unit: TeV", "is_data: no", "cross_section_pb: -1", "cross_section_pb: 1_000", "sum_of_weights: 0"),
        *("metadata: {x: [1]}", "name: a/b", "files: []", "files: x", "files: [5]", "files: [{path: x, entries: -1}]"),
        "file: [x]",
    ],
)  # fmt: skip
def test_an_editor_marks_what_is_wrong_too(wrong):
    sample = plain(parse_yaml("{name: a, files: [x]}", "")[0]) | plain(parse_yaml(wrong, "")[0])
    assert not jsonschema.Draft202012Validator(dataset_schema()).is_valid({"schema": 1, "samples": [sample]})


@pytest.mark.parametrize("written", ["true", "1.0"])
def test_a_version_is_a_whole_number_and_nothing_that_is_equal_to_one(written):
    with pytest.raises(DatasetError, match=rf"1:9: schema: expected 1, found {written}; write 1"):
        parse_dataset(f"schema: {written}\nsamples:\n  - {{name: a, files: [a.root]}}\n".encode(), "d.yaml")
