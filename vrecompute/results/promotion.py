"""One type for values that came in several: no value changes, or there is none. An event number stays what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ValueType", "exact_array", "joined"]

# Integers up to here are exact as float64.
_EXACT = 1 << 53


@dataclass(frozen=True)
class ValueType:
    """The types that values came in, sorted, and the range of the integers among them. `+` is that of both.

    Nothing of no values: an empty chunk has no say in the type of a column.
    """

    dtypes: tuple[str, ...] = ()
    low: int = 0
    high: int = 0

    @classmethod
    def of(cls, values: NDArray[Any]) -> ValueType:
        """That of an array."""
        if not values.size:
            return cls()
        if values.dtype.kind not in "iu":
            return cls((values.dtype.str,))
        return cls((values.dtype.str,), min(0, int(values.min())), max(0, int(values.max())))

    def __add__(self, other: ValueType) -> ValueType:
        dtypes = tuple(sorted({*self.dtypes, *other.dtypes}))
        return ValueType(dtypes, min(self.low, other.low), max(self.high, other.high))

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The type that holds all of them exactly, None of no values; ValueError where there is none."""
        kinds = [np.dtype(d) for d in self.dtypes]
        if len(kinds) < 2:
            return kinds[0] if kinds else None
        found = np.result_type(*kinds)
        numbers = {k.kind in "biufc" for k in kinds}
        if numbers == {True} and all(k.kind in "biu" for k in kinds):
            if found.kind in "biu":
                return found
            # int64 and uint64: numpy would take float64
            found = np.dtype(np.int64 if self.high < 1 << 63 else np.uint64)
            exact = self.low >= np.iinfo(found).min
        else:
            exact = len(numbers) == 1 and self.low >= -_EXACT and self.high <= _EXACT
        if not exact:
            names = " and ".join(k.name for k in kinds)
            raise ValueError(
                f"no numpy type holds every value of {names} exactly; convert them to one type in the analysis"
            )
        return found


def joined(*arrays: NDArray[Any]) -> list[NDArray[Any]]:
    """The arrays in one type that holds all values exactly; ValueError where there is none."""
    if len({a.dtype for a in arrays}) == 1:
        return list(arrays)
    dtype = sum((ValueType.of(a) for a in arrays), ValueType()).dtype or np.result_type(*arrays)
    return [a.astype(dtype, copy=False) for a in arrays]


def exact_array(values: Any) -> NDArray[Any]:
    """`values` as an array; ValueError for integers of a list that no type holds exactly (numpy takes float64)."""
    array = np.asarray(values)
    if array.dtype.kind != "f" or not isinstance(values, (list, tuple)):
        return array
    given = np.asarray(values, dtype=object).ravel()
    integers = [int(v) for v in given if isinstance(v, (int, np.integer))]
    if not integers or (min(integers) >= -_EXACT and max(integers) <= _EXACT):
        return array
    if len(integers) == len(given) and min(integers) >= -(1 << 63) and max(integers) < 1 << 64:
        return np.asarray(values, ValueType(("<i8", "<u8"), min(integers), max(integers)).dtype)
    raise ValueError("no numpy type holds every number of the list exactly")
