"""Certified luminosity sections: ends included, runs apart, bad lists named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.errors import DatasetError
from vrecompute.kernels.certified import certified_mask, read_golden

RANGES = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)).map(sorted).map(tuple), max_size=4)


@given(st.dictionaries(st.integers(1, 5), RANGES), st.lists(st.tuples(st.integers(1, 6), st.integers(0, 22))))
def test_an_event_is_good_where_a_range_of_its_run_holds_its_section(golden, events):
    run = np.array([r for r, _ in events], dtype=np.uint32)
    section = np.array([s for _, s in events], dtype=np.uint32)
    wanted = [any(a <= s <= b for a, b in golden.get(r, ())) for r, s in events]
    assert certified_mask(run, section, golden).tolist() == wanted


def test_a_golden_json_is_read(tmp_path):
    path = tmp_path / "golden.json"
    path.write_text(json.dumps({"160431": [[19, 218]], "160577": [[254, 306], [310, 310]]}))
    assert read_golden(path) == {160431: [(19, 218)], 160577: [(254, 306), (310, 310)]}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"7": [[1, 2]], "8": [[1, 2]], "7": [[5, 6]]}', "run 7 is given twice"),
        ('{"7": [[1, 2]], "07": [[5, 6]]}', "run 7 is given twice"),
        ('{"7": [[1, 2], [9, 3]]}', r"run 7, range 2: \[9, 3\] runs backwards"),
        ('{"7": [[1, 10.9]]}', "run 7, range 1: 10.9 is not"),
        ('{"7": [[true, 4]]}', "run 7, range 1: true is not"),
        ('{"7": [[1, 2], [-1, 4]]}', "run 7, range 2: -1 is not"),
        ('{"7": [[1, 1e400]]}', "run 7, range 1: Infinity is not"),
        ('{"7": [[1, %s]]}' % ("9" * 30), "run 7, range 1: 9999"),
        ('{"7": [[1, "2"]]}', 'run 7, range 1: "2" is not'),
        ('{"7": [[1, 2, 3]]}', "run 7, range 1: expected"),
        ('{"7": [{"1": 2}]}', "run 7, range 1: expected"),
        ('{"7": {"1": 2}}', "run 7: expected a list"),
        ('{" 7": [[1, 2]]}', "run ' 7' is not a whole number"),
        ('{"1_0": [[1, 2]]}', "run '1_0' is not a whole number"),
        ("[" * 100_000, "recursion"),
        ('{"7": [[1, %s]]}' % ("9" * 5000), "digits"),
    ],
)
def test_a_golden_json_is_not_repaired(tmp_path, text, what):
    path = tmp_path / "golden.json"
    path.write_text(text)
    with pytest.raises(DatasetError, match=f"golden.json.*{what}"):
        read_golden(path)


def test_a_pipe_a_device_and_a_huge_file_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(10 << 30)
    for path, what in ((tmp_path / "pipe", "regular"), (Path("/dev/zero"), "regular"), (tmp_path / "huge", "larger")):
        with pytest.raises(DatasetError, match=what):
            read_golden(path)


@pytest.mark.parametrize("text", ["", "[]", '{"a": [[1, 2]]}', '{"1": [[1]]}', '{"1": 3}', "5", "null"])
def test_what_is_no_golden_json_is_named(tmp_path, text):
    path = tmp_path / "golden.json"
    path.write_text(text)
    with pytest.raises(DatasetError, match=r"golden\.json: not a list of certified luminosity sections"):
        read_golden(path)
    with pytest.raises(DatasetError, match=r"absent\.json"):
        read_golden(tmp_path / "absent.json")
