"""What code uses of libraries by name and what may have been bound anew there, as `math.pi`, however that was written.

Constants count by value, functions of the user's that stand for a library's by their text. A worker whose library has
another one finds another digest of it, and refuses the run.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from vrecompute import sourcetext
from vrecompute.analysis.asking import attribute_of, is_a, module_of
from vrecompute.analysis.coderange import Uses, is_user, label_of

__all__ = ["members_of"]

# Their constants are of the machine or the process.
_SYSTEM = frozenset(
    {"__main__", "builtins", "ctypes", "errno", "locale", "logging", "multiprocessing", "os", "platform", "resource"}
    | {"select", "signal", "site", "socket", "ssl", "sys", "sysconfig", "tempfile", "threading", "time"}
    | {"vrecompute", "vrecompute_analyses", "vrecompute_backends"}
)
_SETTINGS = ("config", "settings")
# They are there on every worker, and their functions have their own names wherever they run.
_NUMERICAL = frozenset({"awkward", "cmath", "fractions", "math", "numba", "numpy", "random", "statistics"})


def members_of(modules: Mapping[str, Any], uses: Uses) -> Iterator[tuple[str, Any]]:
    """The full name and a description of what is used of libraries; `modules` by the names that a function has."""
    for name, module in modules.items():
        if is_a(module, ModuleType):
            yield from _of_chains(module, uses.attributes.get(name, {()}), uses)
    for imported, chains in uses.imports.items():
        if imported.partition(".")[0] in _NUMERICAL:
            with contextlib.suppress(ImportError):
                yield from _of_chains(importlib.import_module(imported), chains, uses)


def _of_chains(module: ModuleType, chains: Iterable[tuple[str, ...]], uses: Uses) -> Iterator[tuple[str, Any]]:
    every = set(chains)
    if () in every or ("__dict__",) in {each[:1] for each in every}:
        every |= {(name,) for name in uses.names & vars(module).keys()}
    for chain in every:
        holder, value = module, module
        for name in chain:
            holder = value
            value = attribute_of(holder, name)  # a module that loads what is asked for may raise
            if not is_a(value, ModuleType):
                if (described := _described(holder, name, value)) is not None:
                    yield f"{holder.__name__}.{name}", described
                break


def _is_users(module: ModuleType) -> bool:
    """Whether a module is the user's, also where it was sent."""
    sent = sys.modules.get(module.__name__) is not module
    return is_user(module.__name__, getattr(module, "__file__", None), dynamic=sent)


def _described(module: ModuleType, name: str, value: Any) -> Any:
    """What is compared of a member; None where nothing is."""
    top, last = module.__name__.partition(".")[0], module.__name__.rpartition(".")[2]
    if top in _SYSTEM or last in _SETTINGS or name.startswith("_") or _is_users(module):
        return None
    if type(value) in (bool, int, float, complex, str) or issubclass(type(value), np.number):
        return [type(value).__name__, repr(value)]
    if module_of(type(value)) == "unittest.mock":
        return ["mock"]
    if is_a(value, FunctionType) and is_user(str(value.__module__), value.__code__.co_filename):
        found = sourcetext.find(value.__code__)
        text = None if found is None else sourcetext.canonical(found.node)
        return ["function", label_of(str(value.__module__)), value.__qualname__, text]
    if is_user(of := module_of(type(value)), dynamic=of not in sys.modules):
        return ["object", label_of(module_of(type(value))), type(value).__qualname__]
    if is_a(value, type):  # many have two names, as numpy.bool_
        return None
    if top in _NUMERICAL and callable(value) and (called := attribute_of(value, "__name__")) != name:
        return ["named", called]
    return None
