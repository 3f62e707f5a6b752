"""What code of the user's leaves changed in its worker process, which another run would find: it is put back.

That is the environment with the time zone, locales, the working directory and the umask, limits of Python's, warnings
that became errors, what was put into `ak.behavior`, and names of libraries' modules and classes that were bound anew or
added (`np.hypot = ...`, `ak.Array.cut = ...`). What a run's modules did when they were imported stays.
"""

from __future__ import annotations

import contextlib
import locale
import os
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from vrecompute.analysis.asking import attribute_of, is_a, module_of
from vrecompute.analysis.coderange import is_user

__all__ = ["SETTINGS", "changing", "leave_session", "put_back_after", "put_variables"]

_State = dict[str, dict[Any, Any]]
_MODULES = ("awkward", "builtins", "cmath", "functools", "itertools", "math", "numpy", "operator", "pandas", "scipy")
_CLASSES = (("awkward", "Array"), ("awkward", "Record"), ("pandas", "DataFrame"), ("pandas", "Series"))
_LOCALES = ("LC_COLLATE", "LC_CTYPE", "LC_MONETARY", "LC_NUMERIC", "LC_TIME")
_PLAIN = (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, np.ndarray, np.generic, type(None))
_GONE = object()

_lock = threading.RLock()
_under_way = 0
# What the process was before code of the user's ran, while some does.
_kept: _State | None = None
_is_session = False


def leave_session() -> None:
    """This process is the user's own, where nothing is put back: a Dask cluster may have its workers in it."""
    global _is_session
    _is_session = True


@contextlib.contextmanager
def changing() -> Iterator[None]:
    """What is changed meanwhile stays: it belongs to the runs of this process."""
    with _lock:
        if (kept := _kept) is None:
            yield
            return
        before = _state()
        yield
        for group, held in _state().items():
            was, keeps = before.get(group, held), kept.setdefault(group, {**held})
            for name in {*was, *held}:
                if was.get(name, _GONE) is not (there := held.get(name, _GONE)):
                    keeps.pop(name, None)
                    keeps |= {} if there is _GONE else {name: there}


@contextlib.contextmanager
def put_back_after() -> Iterator[None]:
    """What is changed meanwhile is put back, when no other such code runs in this process."""
    global _under_way, _kept
    with _lock:
        _under_way += 1
        if _kept is None and not _is_session:
            _kept = _state()
    try:
        yield
    finally:
        with _lock:
            _under_way -= 1
            if not _under_way and _kept is not None:
                _put(_kept)
                _kept = None


def _state() -> _State:
    found: _State = {"environment": dict(os.environ), "process": {n: read() for n, (read, _) in SETTINGS.items()}}
    return found | {group: dict(vars(holder)) for group, holder in _holders()} | _behavior()


def _behavior() -> _State:
    behavior = getattr(sys.modules.get("awkward"), "behavior", None)
    return {"behavior": dict(behavior)} if isinstance(behavior, Mapping) else {}


def _put(kept: _State) -> None:
    """Make the process what it was, as far as that can be had."""
    put_variables(kept["environment"])
    time.tzset()
    for name, (read, write) in SETTINGS.items():
        if (wanted := kept["process"].get(name)) is not None and read() != wanted:
            with contextlib.suppress(OSError, ValueError, locale.Error):
                write(wanted)
    for group, holder in _holders():
        if group in kept:
            _put_names(vars(holder), kept[group], partial(setattr, holder), partial(delattr, holder))
    behavior = getattr(sys.modules.get("awkward"), "behavior", None)
    if "behavior" in kept and isinstance(behavior, MutableMapping):
        _put_names(behavior, kept["behavior"], behavior.__setitem__, behavior.__delitem__)


def put_variables(kept: Mapping[str, str]) -> None:
    """Have these environment variables, and no others."""
    for name in (held := dict(os.environ)) | dict(kept):
        if held.get(name) != (wanted := kept.get(name)):
            os.environ.pop(name, None)
            os.environ.update({} if wanted is None else {name: wanted})


def _put_names(
    held: Mapping[Any, Any], kept: Mapping[Any, Any], put: Callable[[Any, Any], None], take: Callable[[Any], None]
) -> None:
    """Names that were bound anew or taken away, and those of the user's that were added; a library may add its own."""
    for name, value in dict(held).items():
        if name not in kept and _is_added(value):
            take(name)
    for name, value in kept.items():
        if held.get(name, _GONE) is not value and (name not in held or _is_added(held[name])):
            put(name, value)


def _is_added(value: Any) -> bool:
    """Whether a value that a library has anew is of the user's making: plain data, a function, an object or class."""
    if is_a(value, _PLAIN):
        return True
    if is_a(value, ModuleType):
        return False
    named = is_a(value, (FunctionType, type))
    module = str(attribute_of(value, "__module__", "?")) if named else module_of(type(value))
    if is_a(value, property):
        module = str(attribute_of(value.fget, "__module__", "?"))
    return is_user(module, dynamic=module not in sys.modules)


def _holders() -> Iterator[tuple[str, Any]]:
    """The modules and classes of libraries that are looked at, where they are there."""
    for name in _MODULES:
        if (module := sys.modules.get(name)) is not None:
            yield name, module
    for name, inner in _CLASSES:
        if is_a(cls := attribute_of(sys.modules.get(name), inner), type):
            yield f"{name}.{inner}", cls


def _umask() -> int | None:
    """As Linux says it: to ask Python for it is to set it, also for other threads."""
    with contextlib.suppress(OSError):
        if found := re.search(r"^Umask:\s*(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE):
            return int(found[1], 8)
    return None


def _folder() -> str | None:
    with contextlib.suppress(OSError):
        return os.getcwd()
    return None


def _errors() -> list[Any]:
    return [each for each in warnings.filters if each[0] == "error"]


def _set_errors(wanted: list[Any]) -> None:
    others = [each for each in warnings.filters if each[0] != "error" or each in wanted]
    # typeshed has them as a sequence, and to put them back in order there is no other way
    warnings.filters[:] = [*(each for each in wanted if each not in others), *others]  # type: ignore[index]
    warnings.simplefilter("default", _NoWarning, append=True)  # has Python forget what it decided


class _NoWarning(Warning):
    pass


#: Settings of the process by name, with what reads and what sets each.
SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "working directory": (_folder, os.chdir),
    "umask": (_umask, os.umask),
    "recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
    "digits of an integer": (sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    "warnings that are errors": (_errors, _set_errors),
    # mypy infers no type of a lambda with a default
    **{
        name: (
            lambda name=name: locale.setlocale(getattr(locale, name)),  # type: ignore[misc]
            lambda value, name=name: locale.setlocale(getattr(locale, name), value),  # type: ignore[misc]
        )
        for name in _LOCALES
    },
}
