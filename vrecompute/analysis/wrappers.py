"""What is inside an object that Python or a library put around others: a property, a method, what numba compiled."""

from __future__ import annotations

import functools
import sys
from types import MethodType
from typing import Any, ForwardRef, get_args

import numpy as np

from vrecompute.analysis.asking import is_a, module_of
from vrecompute.analysis.coderange import is_dispatcher, origin_of, python_of

__all__ = ["inside_of", "library_of"]


_SUBCLASSED = (staticmethod, classmethod, property, functools.cached_property)


def inside_of(value: Any) -> tuple[str, list[Any]] | None:
    """The kind of such an object and what counts of it, in an order; None of any other."""
    found = _inside_of(value)
    if found is not None and issubclass(type(value), _SUBCLASSED) and type(value) not in _SUBCLASSED:
        own = {name: held for name, held in sorted(vars(value).items()) if name != "lock"}  # as Python 3.11 gives it
        return found[0], [*found[1], type(value), own]
    return found


def _inside_of(value: Any) -> tuple[str, list[Any]] | None:
    if is_a(value, (staticmethod, classmethod)):
        return "staticmethod" if is_a(value, staticmethod) else "classmethod", [value.__func__]
    if is_a(value, property):
        return "property", [[value.fget, value.fset, value.fdel]]
    if is_a(value, MethodType):
        return "method", [value.__func__, value.__self__]
    if (function := python_of(value)) is not None:  # compiled by numba
        options = dict(sorted(getattr(value, "targetoptions", {}).items()))
        return "compiled", [function, {k: v for k, v in options.items() if v is not None}]
    if (called := sys.modules.get("numba.core.ccallback")) is not None and is_a(value, called.CFunc):
        return "C function", [value._pyfunc, str(value._sig), dict(sorted(value._compiler.targetoptions.items()))]
    if is_a(value, functools._lru_cache_wrapper):
        return "cached", [value.__wrapped__]
    if is_dispatcher(value):
        return "dispatcher", [[list(pair) for pair in value.registry.items()]]
    if is_a(value, functools.cached_property):
        return "cached_property", [value.func]
    if type(value) is np.ma.MaskedArray and not value.dtype.hasobject:
        # What is below the mask is not sent.
        return "masked", [value.filled(), np.ma.getmaskarray(value), np.asarray(value.fill_value)]
    if (origin := origin_of(value)) is not None:  # list[int]
        return "type", [origin, list(get_args(value))]
    if is_a(value, ForwardRef):
        return "forward", [value.__forward_arg__]
    if module_of(type(value)) == "typing" and isinstance(name := getattr(value, "__name__", None), str):
        of_what = ("__supertype__", "__bound__", "__constraints__", "__value__")  # a TypeVar, or another new name
        return "typing", [name, [getattr(value, each, None) for each in of_what]]
    return None


def library_of(value: np.ufunc) -> str:
    """The library that has a ufunc by its name; empty for one that was made."""
    has = (name for name in ("numpy", "scipy.special") if getattr(sys.modules.get(name), value.__name__, None) is value)
    return next(has, "")
