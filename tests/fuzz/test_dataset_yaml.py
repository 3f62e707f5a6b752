"""Any bytes in a dataset file are a Dataset or a DatasetError, whatever was done to them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from functools import partial

import pytest

from tests.fuzz.engine import Target, fuzz, outcome_of
from vrecompute.datasets.catalogue import resolve
from vrecompute.datasets.dataset import check_sample_name
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("fuzz")
    (made / "sub").mkdir()
    for name in ("a.root", "b.root", "sub/c.root"):
        (made / name).touch()
    os.mkfifo(made / "pipe")
    return made


def check(folder, raw: bytes) -> str:
    path = folder / "d.yaml"
    path.write_bytes(raw)
    try:
        found, said = resolve(path), "1 problem"
    except DatasetError as error:
        found, said = None, str(error)
    assert "has 0 problem" not in said
    if found is None:
        return outcome_of(DatasetError(said))
    for sample in found.samples:
        check_sample_name(sample.name)
    json.dumps(asdict(found), allow_nan=False).encode()
    assert all("\0" not in source.path for source in found.sources)
    return f"{len(found.samples)} samples, {len(found.sources)} sources"


def test_the_valid_one_is_valid_but_for_its_anchors(folder):
    (folder / "d.yaml").write_text(VALID)
    with pytest.raises(DatasetError, match=r"has 1 problem:\n.*:4:1: unknown key 'defaults'"):
        resolve(folder / "d.yaml")


def test_any_bytes_are_a_dataset_or_a_dataset_error(folder):
    plain = VALID.replace("defaults: &units", "# ").replace("- <<: *units\n    name", "- name")
    pieces = [piece.encode("utf-8", "surrogatepass") for piece in PIECES]
    fuzz(Target("dataset", [VALID.encode(), plain.encode()], partial(check, folder), 600, pieces))
