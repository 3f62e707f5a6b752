"""What `count` adds: integers exactly, as far as float64 holds them, or with an error that names the counter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from vrecompute.errors import AnalysisError

__all__ = ["add", "too_large"]

# Integers below are exact as float64, and so are their sums; what is a little above rounds to this.
_EXACT = 1 << 53
# In place of the site of an access outside its event.
_TOO_LARGE = -2.0


def add(counters: NDArray[np.float64], slot: int, value: Any, fault: NDArray[np.float64]) -> None:
    """`counters[slot] += value`; an integer that does not stay exact ends the loop."""
    raise NotImplementedError("only for compiled loops")


@overload(add, jit_options={"forceinline": True, "error_model": "numpy", "_nrt": False})
def _add(counters: Any, slot: Any, value: Any, fault: Any) -> Callable[..., None]:
    if not isinstance(value, types.Integer):

        def add_number(counters: Any, slot: Any, value: Any, fault: Any) -> None:
            counters[slot] += value

        return add_number

    def add_integer(counters: Any, slot: Any, value: Any, fault: Any) -> None:
        total = counters[slot] + np.float64(value)
        if value >= _EXACT or value <= -_EXACT or not -_EXACT < total < _EXACT:
            fault[0] = _TOO_LARGE
            fault[1] = slot
            raise OverflowError("a counter is too large for integers")
        counters[slot] = total

    return add_integer


def too_large(fault: NDArray[np.float64], counters: Sequence[str]) -> AnalysisError | None:
    """The error of the counter, of these names by slot, to which an integer could not be added."""
    if fault[0] != _TOO_LARGE:
        return None
    name = counters[int(fault[1])]
    return AnalysisError(
        f"counter {name!r} reaches 2**53 = {_EXACT}, from which on an event loop cannot count integers exactly; "
        f"write count.{name}(float(...)) where it may round, or keep the integers in an array"
    )
