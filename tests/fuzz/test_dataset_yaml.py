"""Any bytes in a dataset file are a Dataset or a DatasetError, whatever was done to them.

VRECOMPUTE_FUZZ=100000 runs so many mutations in place of the few hundred that take seconds.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrecompute.datasets.catalogue import resolve
from vrecompute.datasets.dataset import Dataset, check_sample_name
from vrecompute.errors import DatasetError

VALID = """\
schema: 1
name: zprime-2026
luminosity_ifb: 139
defaults: &units {unit: MeV, metadata: {year: 2026, tune: A14, good: true}}
samples:
  - name: data
    is_data: true
    certified: golden.json
    files: [a.root, "sub/*.root"]
  - <<: *units
    name: drell_yan
    cross_section_pb: 1.9e3
    weight: genWeight
    sum_of_weights: 12345678901234567890
    files:
      - {path: b.root, entries: 1000000, tree: Events}
      - sub
"""
PIECES = [
    *(
        "2026-13-45",
        "9" * 400,
        "1e400",
        "-1e-400",
        ".nan",
        "-.inf",
        "!!python/object/apply:os.system [x]",
        "!!binary x",
    ),
    *("{[", "[" * 200, "- " * 60, "&a [*a]", "*units", "<<: *units", "? [a, b]", "---", "...", "%YAML 1.1", "\t", "\r"),
    *(
        '"\\0"',
        '"a\\0.root"',
        '"\\ud800"',
        "\x00",
        "\x07",
        "\ufeff",
        "\ud800",
        "\u2028",
        "é",
        "../../x",
        "a/b",
        "x" * 300,
    ),
    *(
        "no",
        "010",
        "0x1F",
        "~",
        "null",
        "''",
        "|",
        ">",
        "#",
        "@",
        "`",
        "::",
        "/dev/zero",
        "/dev/fd/0",
        "**",
        "[a-",
        "[!]",
    ),
    *(
        "name: data",
        "files: [a.root]",
        "schema: 1",
        "samples:",
        "entries: -1",
        "true",
        "1_000",
        "-5",
        "{}",
        "[]",
        "[[a]]",
    ),
]


@st.composite
def mutated(draw):
    """The valid text with lines moved or repeated and pieces put in place of others."""
    text = VALID
    for _ in range(draw(st.integers(1, 4))):
        lines = text.splitlines(keepends=True) or [""]
        match draw(st.integers(0, 4)):
            case 0:
                lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(lines)))
                text = "".join(lines)
            case 1:
                del lines[draw(st.integers(0, len(lines) - 1))]
                text = "".join(lines)
            case 2:
                at = draw(st.integers(0, len(text)))
                text = text[:at] + draw(st.sampled_from(PIECES) | st.text(max_size=3)) + text[at:]
            case 3:
                words = text.split(" ")
                words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(PIECES))
                text = " ".join(words)
            case _:
                at = draw(st.integers(0, len(text)))
                text = text[:at] + text[at + draw(st.integers(1, 20)) :]
    return text.encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("fuzz")
    (made / "sub").mkdir()
    for name in ("a.root", "b.root", "sub/c.root"):
        (made / name).touch()
    os.mkfifo(made / "pipe")
    return made


def check(folder, raw: bytes) -> None:
    path = folder / "d.yaml"
    path.write_bytes(raw)
    found, said = Dataset((), ()), "1 problem"
    try:
        found = resolve(path)
    except DatasetError as error:
        said = str(error)
    assert "has 0 problem" not in said
    for sample in found.samples:
        check_sample_name(sample.name)
    json.dumps(asdict(found), allow_nan=False).encode()
    assert all("\0" not in source.path for source in found.sources)


def test_the_valid_one_is_valid_but_for_its_anchors(folder):
    (folder / "d.yaml").write_text(VALID)
    with pytest.raises(DatasetError, match=r"has 1 problem:\n.*:4:1: unknown key 'defaults'"):
        resolve(folder / "d.yaml")


@settings(max_examples=int(os.environ.get("VRECOMPUTE_FUZZ", "300")))
@given(raw=mutated())
def test_a_mutated_file_is_a_dataset_or_a_dataset_error(folder, raw):
    check(folder, raw.replace(b"defaults: &units", b"# ").replace(b"- <<: *units\n    name", b"- name"))
    check(folder, raw)


@settings(max_examples=int(os.environ.get("VRECOMPUTE_FUZZ", "300")))
@given(raw=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_dataset_or_a_dataset_error(folder, raw):
    check(folder, raw)
