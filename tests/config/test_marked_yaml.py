"""YAML as a tree with places: 1.2 scalars, bounded cost, and every problem where it stands."""

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.config.marked_yaml import CONFIGURATION, Bounds, parse_yaml, plain, read_text


def read(text):
    tree, problems = parse_yaml(text, "f.yaml")
    assert problems == []
    return plain(tree)


def problems_of(text):
    return [str(problem) for problem in parse_yaml(text, "f.yaml")[1]]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("10:00:00", "10:00:00"),  # 36000 in YAML 1.1
        ("04:00:00", "04:00:00"),
        ("no", "no"),  # false in YAML 1.1
        ("on", "on"),
        ("Yes", "Yes"),
        ("y", "y"),
        ("2026-01-01", "2026-01-01"),  # a date in YAML 1.1
        ("1_000", "1_000"),  # 1000 in YAML 1.1
        ("0x1F", "0x1F"),
        ("inf", "inf"),
        ("'.inf'", ".inf"),
        ("1.9e3", 1900.0),
        ("12345678901234567890", 12345678901234567890),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("12", 12),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("'12'", "12"),
        ('"true"', "true"),
        ("9" * 40, "9" * 40),
        ("$SCRATCH/${USER}", "$SCRATCH/${USER}"),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says(written, value):
    found = read(f"key: {written}")["key"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_text_and_have_places():
    tree, problems = parse_yaml("no: 1\n12:\n  deep: [a, b]\n", "f.yaml")
    assert problems == []
    assert plain(tree) == {"no": 1, "12": {"deep": ["a", "b"]}}
    deep = tree.entries["12"].node.entries["deep"]
    assert str(deep.key) == "f.yaml:3:3"
    assert str(deep.node.items[1].mark) == "f.yaml:3:13"


def test_anchors_and_merge_keys():
    text = "base: &base {a: 1, b: 2}\nuse: {b: 3, <<: *base}\nboth: {<<: [{a: 5}, *base]}\nsame: *base\n"
    assert read(text) == {
        "base": {"a": 1, "b": 2},
        "use": {"b": 3, "a": 1},
        "both": {"a": 5, "b": 2},
        "same": {"a": 1, "b": 2},
    }


NOT_FINITE = "not a finite number; write one, or put it in quotes if it is text"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["f.yaml:1:1: empty; write `key: value` lines"]),
        ("# nothing\n", ["f.yaml:1:1: empty; write `key: value` lines"]),
        ("- a\n", ["f.yaml:1:1: expected `key: value` lines"]),
        ("a: 1\nb: 2\na: 3\n", ["f.yaml:3:1: 'a' is given twice; the first is on line 1; remove one"]),
        ("a: 010\n", ["f.yaml:1:4: a number with a leading zero; remove the zero, or put it in quotes if it is text"]),
        ("a: .inf\nb: -.Inf\n", [f"f.yaml:{n}:4: {NOT_FINITE}" for n in (1, 2)]),
        ("a: .nan\nb: 1e999\n", [f"f.yaml:{n}:4: {NOT_FINITE}" for n in (1, 2)]),
        ("a:\nb: 1\n", ["f.yaml:1:1: 'a' has no value; write one, or null for the default"]),
        ("a:\n  - 1\n  -\n", ["f.yaml:3:4: an item without a value; write one, or remove the '-'"]),
        ("a:\n\tb: 1\n", ["f.yaml:2:1: not YAML: a tab; indent with spaces"]),
        ("a: [1\n", ["f.yaml:2:1: not YAML: a '[' is not closed; write [one, two]"]),
        ("a: {b: 1\nc: 2\n", ["f.yaml:2:2: not YAML: a '{' is not closed; write {key: value, key: value}"]),
        ("a: 'x\n", ["f.yaml:2:1: not YAML: a quote is not closed"]),
        ("a: @x\n", ["f.yaml:1:4: not YAML: a character that no value can start with; put the value in quotes"]),
        ("a: 1\n---\nb: 2\n", ["f.yaml:2:1: a second document; write one per file, without `---` between"]),
        ("[a, b]: 1\n", ["f.yaml:1:1: a key must be text"]),
        ("a: &x [*x]\n", ["f.yaml:1:8: alias *x has no complete &x before it"]),
        ("a: *nowhere\n", ["f.yaml:1:4: alias *nowhere has no complete &nowhere before it"]),
        ("a: {<<: 3}\n", ["f.yaml:1:9: '<<' merges mappings only; write <<: *anchor"]),
        ("a: \x07\n", ["f.yaml:1:4: a control character; remove it"]),
        ('a: "\\ud800"\n', ["f.yaml:1:4: half of a surrogate pair; write the letter itself"]),
        ('"\\ud800": 1\n', ["f.yaml:1:1: half of a surrogate pair; write the letter itself"]),
    ],
)
def test_what_is_wrong_in_form_is_told_with_its_place(text, expected):
    found = problems_of(text)
    assert [line for line in found if line in expected] == expected
    assert len(found) == len(expected)


def test_a_tag_is_refused_and_makes_nothing():
    [problem] = problems_of("a: !!python/object/apply:os.system ['true']\n")
    assert problem.startswith("f.yaml:1:4: tag tag:yaml.org,2002:python/object/apply:os.system is not supported")


def test_several_problems_come_at_once_in_the_order_of_the_file():
    found = problems_of("a: 010\nb:\na: 1\nc: !x 3\n")
    assert [problem.split(" ")[0] for problem in found] == [
        "f.yaml:1:4:",
        "f.yaml:2:1:",
        "f.yaml:3:1:",
        "f.yaml:4:4:",
    ]


def test_hostile_files_are_refused_quickly():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    begun = time.process_time()
    assert "aliases expanded" in problems_of(bomb)[0]
    assert "nested deeper than 32" in problems_of("a: " + "[" * 100_000)[0]
    assert "nested deeper than 32" in problems_of("{a: " * 1000)[0]
    assert time.process_time() - begun < 5


def test_the_size_and_the_encoding_of_a_file_are_checked(tmp_path):
    large, latin, marked = tmp_path / "large", tmp_path / "latin", tmp_path / "marked"
    large.write_bytes(b"#" * (CONFIGURATION.max_bytes + 1))
    latin.write_bytes("a: 1\nb: Jülich\n".encode("latin-1"))
    marked.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert "larger than 256 KiB" in str(read_text(large, "f")[1][0])
    assert str(read_text(latin, "f")[1][0]) == "f:2:5: not UTF-8; save the file in UTF-8"
    assert read_text(marked, "f") == ("a: 1\n", [])


@pytest.mark.acceptance
def test_a_long_file_is_read_in_time_and_its_mistakes_have_places():
    """A catalogue of 100,000 files, and 10 MB of comments: PyYAML's own parser takes 17 and 10 seconds for them."""
    long = Bounds(32 << 20, 1_000_000, "dataset")
    files = "files:\n" + "".join(f"- {{path: /data/é/{n}.root, entries: {n}}}\n" for n in range(100_000))
    begun = time.process_time()
    tree, problems = parse_yaml(files, "f.yaml", long)
    assert problems == []
    assert str(tree.entries["files"].node.items[-1].entries["entries"].node.mark) == "f.yaml:100001:39"
    assert plain(parse_yaml("# comment\n" * 1_000_000 + "a: 1\n", "f.yaml", long)[0]) == {"a": 1}
    assert time.process_time() - begun < 12
    for wrong, expected in (("]", "not YAML: "), ("\x07", "a control character; remove it")):
        tree, problems = parse_yaml(files + f"- {wrong}\n", "f.yaml", long)
        assert tree is None
        assert str(problems[-1]).startswith(f"f.yaml:100002:3: {expected}")


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match="not a regular file"):
            read_text(path, "f")


def test_messages_cannot_command_a_terminal():
    [problem] = problems_of('"\\e[31mred": 1\n"\\e[31mred": 2\n')
    assert "\x1b" not in problem
    assert "\\x1b[31mred" in problem


# YAML has no escapes of two halves, and folds lines at U+2028
letters = st.characters(min_codepoint=32, max_codepoint=0xD7FF, exclude_categories=("Cc", "Zl", "Zp"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(letters, max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abcxyz", min_size=1), json_values, max_size=4))
def test_json_is_read_as_json(data):
    assert read(json.dumps(data, indent=1, ensure_ascii=False)) == data


@given(st.text(max_size=60))
def test_no_text_makes_it_fall_over(text):
    tree, problems = parse_yaml(text, "f.yaml")
    assert tree is not None or problems
    assert all(problem.mark.line >= 1 and problem.mark.column >= 1 for problem in problems)
