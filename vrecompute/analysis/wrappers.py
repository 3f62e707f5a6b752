"""What is inside an object that Python or a library put around others: a property, a method, what numba compiled."""

from __future__ import annotations

import functools
import sys
from types import MethodType
from typing import Any, ForwardRef, get_args

import numpy as np

from vrecompute.analysis.coderange import is_dispatcher, origin_of, python_of

__all__ = ["inside_of"]


def inside_of(value: Any) -> tuple[str, list[Any]] | None:
    """The kind of such an object and what counts of it, in an order; None of any other."""
    if isinstance(value, (staticmethod, classmethod)):
        return type(value).__name__, [value.__func__]
    if isinstance(value, property):
        return "property", [[value.fget, value.fset, value.fdel]]
    if isinstance(value, MethodType):
        return "method", [value.__func__, value.__self__]
    if (function := python_of(value)) is not None:  # compiled by numba
        options = dict(sorted(getattr(value, "targetoptions", {}).items()))
        return "compiled", [function, {k: v for k, v in options.items() if v is not None}]
    if (called := sys.modules.get("numba.core.ccallback")) is not None and isinstance(value, called.CFunc):
        return "C function", [value._pyfunc, str(value._sig), dict(sorted(value._compiler.targetoptions.items()))]
    if isinstance(value, functools._lru_cache_wrapper):
        return "cached", [value.__wrapped__]
    if is_dispatcher(value):
        return "dispatcher", [[list(pair) for pair in value.registry.items()]]
    if isinstance(value, functools.cached_property):
        return "cached_property", [value.func]
    if type(value) is np.ma.MaskedArray and not value.dtype.hasobject:
        # What is below the mask is not sent.
        return "masked", [value.filled(), np.ma.getmaskarray(value), np.asarray(value.fill_value)]
    if (origin := origin_of(value)) is not None:  # list[int]
        return "type", [origin, list(get_args(value))]
    if isinstance(value, ForwardRef):
        return "forward", [value.__forward_arg__]
    if type(value).__module__ == "typing" and isinstance(name := getattr(value, "__name__", None), str):
        of_what = ("__supertype__", "__bound__", "__constraints__", "__value__")  # a TypeVar, or another new name
        return "typing", [name, [getattr(value, each, None) for each in of_what]]
    return None
