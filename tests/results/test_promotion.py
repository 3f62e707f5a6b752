"""Values that come in several types keep every one of them, or a sentence says that they cannot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vrecompute.results.promotion import ValueType, exact_array, joined
from vrecompute.results.result import Array, TableSummary, joint_columns

TYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
ARRAYS = st.sampled_from(TYPES).flatmap(
    lambda t: hnp.arrays(t, st.integers(0, 4), elements={"allow_nan": False} if t.startswith("float") else None)
)
BIG = (1 << 53) + 1


@given(st.lists(ARRAYS, min_size=1, max_size=4), st.randoms())
def test_joining_keeps_every_value_or_refuses_whatever_the_order(arrays, random):
    def outcome(given):
        try:
            return joined(*given)
        except ValueError:
            return None

    found = outcome(arrays)
    if found is not None:
        assert len({a.dtype for a in found}) == 1
        for before, after in zip(arrays, found, strict=True):
            assert [int(x) if x == int(x) else float(x) for x in before.tolist() if abs(x) < 1e300] == [
                int(x) if x == int(x) else float(x) for x in after.tolist() if abs(x) < 1e300
            ]
    shuffled = list(arrays)
    random.shuffle(shuffled)
    other = outcome(shuffled)
    assert (other is None) == (found is None)
    if found and other:
        assert found[0].dtype == other[0].dtype


@given(ARRAYS, ARRAYS, ARRAYS)
def test_types_add_up_in_any_grouping(a, b, c):
    a, b, c = map(ValueType.of, (a, b, c))
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a


@pytest.mark.parametrize(
    ("one", "other", "dtype"),
    [
        (np.int64([BIG]), np.int32([1]), "int64"),
        (np.uint64([BIG]), np.int64([1]), "int64"),
        (np.uint64([1 << 63]), np.int64([1]), "uint64"),
        (np.int64([7]), np.float64([0.5]), "float64"),
        (np.int64([BIG]), np.zeros(0), "int64"),
        (np.float32([0.5]), np.float64([0.5]), "float64"),
        (np.int32([1 << 30]), np.float32([0.5]), "float64"),
    ],
)
def test_arrays_of_chunks_join_without_loss(one, other, dtype):
    both = (Array(one, "concat") + Array(other, "concat")).values
    assert both.dtype == dtype
    assert both.tolist() == [*one.tolist(), *other.tolist()]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.int64([BIG]), np.float64([0.5])),
        (np.uint64([1 << 63]), np.int64([-1])),
        (np.uint64([BIG]), np.float32([0.5])),
    ],
)
@pytest.mark.parametrize("merge", ["concat", "sum"])
def test_what_no_type_holds_is_refused(one, other, merge):
    with pytest.raises(ValueError, match=r"no numpy type holds every value of .* exactly"):
        Array(one, merge) + Array(other, merge)


def test_an_empty_chunk_has_no_say_in_shape_or_type():
    pairs = np.arange(6, dtype=np.int64).reshape(3, 2)
    assert (Array(np.zeros(0), "concat") + Array(pairs, "concat")).values.tolist() == pairs.tolist()
    assert (Array(pairs, "concat") + Array(np.array([]), "concat")).values.dtype == np.int64


def test_integers_of_a_list_are_not_rounded():
    assert exact_array([1, 1 << 63]).tolist() == [1, 1 << 63]
    assert exact_array([BIG, 1]).dtype == np.int64
    for values in ([-1, 1 << 63], [BIG, 0.5]):
        with pytest.raises(ValueError, match="no numpy type"):
            exact_array(values)


def test_columns_of_a_table_are_told_by_name():
    def summary(**columns):
        return TableSummary(1, "x", tuple((name, ValueType.of(values)) for name, values in columns.items()))

    wide, narrow = summary(event=np.int64([BIG])), summary(event=np.uint32([1]))
    assert (wide + narrow).columns[0][1].dtype == np.int64
    with pytest.raises(ValueError, match="column 'event': no numpy type holds every value"):
        wide + summary(event=np.float64([0.5]))
    with pytest.raises(ValueError, match="column 'weight' is missing in some"):
        wide + summary(event=np.int64([1]), weight=np.ones(1))
    assert [n for n, _ in joint_columns([wide, summary(event=np.int64([1]), weight=np.ones(1))])] == ["event", "weight"]
    assert TableSummary.from_data((wide + narrow).to_data()) == wide + narrow
