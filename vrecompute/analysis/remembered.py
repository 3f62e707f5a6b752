"""What `functools.lru_cache` has kept of calls, which belongs to no object that could be digested."""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vrecompute.analysis.asking import attribute_of, is_a

__all__ = ["held_by", "memories"]

_UNCHANGING = (bool, int, float, complex, str, bytes, type(None), object)


def memories(reached: Iterable[Any]) -> Mapping[str, Any]:
    """Those of what an analysis reaches, by a name such as `table()`."""
    found: dict[str, Any] = {}
    for value in reached:
        if is_a(value, functools._lru_cache_wrapper):
            name = f"{attribute_of(value, '__module__', '?')}: {attribute_of(value, '__qualname__', 'a function')}"
            known = sum(each.partition(" #")[0] == name for each in found)
            found[f"{name}{f' #{known + 1}' if known else ''}()"] = value
    return found


def held_by(memory: Any) -> list[Any] | None:
    """The values that it has kept and that may change, as a list or an object may; None where it has kept nothing."""
    if not memory.cache_info().currsize:
        return None
    beside = {id(memory.__wrapped__), id(vars(memory))}
    values: list[Any] = []
    for each in gc.get_referents(memory):
        if id(each) in beside or is_a(each, type):
            continue
        # A limited one has its values one by one, and a dict of its own links; an unlimited one has a dict of values.
        inner = [v for v in each.values() if type(v).__name__ != "_lru_list_elem"] if type(each) is dict else None
        is_table = inner is not None and (memory.cache_info().maxsize is None or len(inner) < len(each))
        values += inner if is_table and inner is not None else [each]
    return [value for value in values if not _is_constant(value)]


def _is_constant(value: Any) -> bool:
    if type(value) is tuple:
        return all(map(_is_constant, value))
    return type(value) in _UNCHANGING or issubclass(type(value), np.generic)
