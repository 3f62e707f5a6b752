"""Certified luminosity sections: ends included, runs apart, bad lists named."""

from __future__ import annotations

import json

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


@pytest.mark.parametrize("text", ["", "[]", '{"a": [[1, 2]]}', '{"1": [[1]]}', '{"1": 3}'])
def test_what_is_no_golden_json_is_named(tmp_path, text):
    path = tmp_path / "golden.json"
    path.write_text(text)
    with pytest.raises(DatasetError, match=r"golden\.json: not a list of certified luminosity sections"):
        read_golden(path)
    with pytest.raises(DatasetError, match=r"absent\.json"):
        read_golden(tmp_path / "absent.json")
