"""What the user's code put into classes of libraries and into `awkward.behavior`, however that was written.

The classes themselves are looked at, not the text that changed them: an alias, a loop or a helper may have. It counts
by value, and a worker that has something else there refuses the run.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from vrecompute import sourcetext
from vrecompute.analysis.asking import attribute_of, is_a, module_of
from vrecompute.analysis.coderange import Uses, is_library_file, is_user, leads_to, python_of

__all__ = ["classes_of", "functions_in", "patches_of"]

# They are what events are made of, whatever else is used.
_ALWAYS = frozenset({"awkward", "numpy"})
# A class of these makes no number, or is the machinery of classes and processes.
_NEVER = frozenset(
    {"IPython", "abc", "asyncio", "builtins", "cloudpickle", "concurrent", "ctypes", "dask", "distributed", "enum"}
    | {"functools", "importlib", "io", "ipykernel", "ipywidgets", "logging", "matplotlib", "multiprocessing", "os"}
    | {"pathlib", "pickle", "plotly", "rich", "signal", "socket", "ssl", "subprocess", "sys", "threading", "tqdm"}
    | {"traitlets", "types", "typing", "unittest", "warnings", "vrecompute", "vrecompute_analyses"}
    | {"vrecompute_backends"}
)
_CONSTANTS = (bool, int, float, complex, str)


def classes_of(outside: Mapping[str, Any], uses: Uses) -> Iterator[type]:
    """The classes of libraries that a function names; `outside` are values by the names that it has."""
    for name, value in outside.items():
        if is_a(value, type):
            yield value
        elif is_a(value, ModuleType):
            for chain in uses.attributes.get(name, ()):
                held: Any = value
                for each in chain:
                    held = vars(held).get(each) if is_a(held, ModuleType) else None
                    if is_a(held, type):
                        yield held


def patches_of(named: Iterable[type], libraries: Iterable[str], names: set[str]) -> Iterator[tuple[str, Any]]:
    """The full name and the value of what the user put into classes of libraries; `libraries` by their top module.

    Of classes that are `named`, and of awkward's arrays, constants count too, by the `names` that code has.
    """
    tops = (_ALWAYS | set(libraries)) - _NEVER
    awkward = sys.modules.get("awkward")
    with_constants = {*named, *(c for n in ("Array", "Record") if isinstance(c := getattr(awkward, n, None), type))}
    known: dict[int, bool] = {}
    for cls in _classes(tops):
        for name, value in list(vars(cls).items()):
            constant = cls in with_constants and name in names and not name.startswith("_")
            if _is_users(value, known) or (constant and _is_constant(value)):
                yield f"{cls.__module__}.{cls.__qualname__}.{name}", value
    for key, value in list(getattr(awkward, "behavior", {}).items()):
        if _is_users(value, known):
            yield f"awkward.behavior[{_key(key)}]", value


def functions_in(value: Any) -> list[Any]:
    """What a member of a class carries out."""
    if is_a(value, property):
        return [value.fget, value.fset, value.fdel]
    if issubclass(type(value), staticmethod | classmethod | MethodType):
        return [value.__func__]
    if issubclass(type(value), functools.cached_property | functools.partial | functools.partialmethod):
        return [value.func]
    if module_of(type(value)).startswith("numba") and (function := python_of(value)) is not None:
        return [function, {k: v for k, v in getattr(value, "targetoptions", {}).items() if v is not None}]
    return [value]


def _classes(tops: set[str] | frozenset[str]) -> Iterator[type]:
    """Classes of libraries that are what their names say, in an order of their names."""
    found: dict[int, type] = {}
    waiting: list[type] = [object]
    while waiting:
        below: list[type] = type.__subclasses__(waiting.pop())
        for cls in below:
            if id(cls) not in found:
                found[id(cls)] = cls
                waiting.append(cls)
    of_libraries = [c for c in found.values() if str(c.__module__).partition(".")[0] in tops]
    heap = 1 << 9  # a class that a statement made: others take no new attributes
    made = [
        c for c in of_libraries if c.__flags__ & heap and _is_bound(c) and leads_to(c, c.__module__, c.__qualname__)
    ]
    yield from sorted(made, key=lambda c: (c.__module__, c.__qualname__))


def _is_bound(cls: type) -> bool:
    """Whether its module has its name; one that makes it when asked may warn of it, as numpy does of old names."""
    return cls.__qualname__.partition(".")[0] in getattr(sys.modules.get(str(cls.__module__)), "__dict__", {})


def _is_users(value: Any, known: dict[int, bool]) -> bool:
    for each in functions_in(value):
        if type(each) is FunctionType:
            scope = id(each.__globals__)
            if scope not in known:
                known[scope] = _is_users_function(each)
            if known[scope]:
                return True
        elif each is not None and _is_users_class(each if is_a(each, type) else type(each)):
            return True
    return False


def _is_users_function(function: FunctionType) -> bool:
    """By where it was made: a library's decorator and what generates functions say other names."""
    module, file = str(function.__globals__.get("__name__")), function.__code__.co_filename
    if module in sys.modules or module == "__main__":
        return is_user(module)
    return sourcetext.kept(file) is not None or not (file.startswith("<") or is_library_file(file))


def _is_users_class(cls: type) -> bool:
    module = str(cls.__module__)  # a class may answer with a descriptor
    return module != "builtins" and is_user(module, dynamic=module not in sys.modules)


def _is_constant(value: Any) -> bool:
    return type(value) in _CONSTANTS or issubclass(type(value), np.number)


def _key(key: Any) -> str:
    if is_a(key, tuple):
        return ", ".join(map(_key, key))
    return repr(key) if is_a(key, str) else str(attribute_of(key, "__qualname__") or key)
