"""`said_of`: why an analysis cannot be sent to workers, by the name of the user's variable that holds the trouble."""

from __future__ import annotations

import contextlib
import gc
import io
import sys
import weakref
from collections import deque
from collections.abc import Coroutine, Generator, Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from vrecompute.analysis.asking import attribute_of, is_a
from vrecompute.analysis.coderange import is_user

__all__ = ["said_of"]

_MAKE = "make it in `process`, or in a function that `process` calls, so that each worker has one"
_ADVICE: tuple[tuple[tuple[Any, ...], str], ...] = (
    ((io.IOBase,), "keep what is in it, not the open file"),
    ((Generator, Coroutine), "keep a list of what it gives"),
    ((weakref.ReferenceType, *weakref.ProxyTypes), "keep what it refers to, not a weak reference"),
)
# So many objects are looked at: an analysis may hold any number, and this is but a better message.
_MOST = 200_000
# Of what pickle tried last, so many: the very last may have been made for it, and be held by nothing.
_LAST = 50


class _Found(NamedTuple):
    """`name` is what leads to it from a variable of the user's, `user` the function or class that uses that."""

    value: Any
    name: str
    user: Any


def said_of(analysis: Any, tried: Sequence[Any], error: BaseException) -> str:
    """A sentence about what could not be pickled; `tried` are the objects that pickle began with, in order."""
    last = [v for v in reversed(tried[-_LAST:]) if not issubclass(type(v), type | FunctionType | ModuleType)]
    places = _places(analysis, {id(value) for value in [*tried[-1:], *last]})
    found = next((places[id(value)] for value in [*tried[-1:], *last] if id(value) in places), None)
    if found is None or found.value is analysis:
        return f"analysis {analysis.name or type(analysis).__name__!r} cannot be sent to workers: {error}"
    advice = next((words for kinds, words in _ADVICE if issubclass(type(found.value), kinds)), _MAKE)
    if isinstance(error, ReferenceError):
        advice = "keep the object that is referred to, not a weak reference to it"
    who = found.user.__qualname__.replace("<locals>.", "")
    return (
        f"{_file_of(found.user)}: `{found.name}`, which {who} uses, cannot be sent to workers, as it is of type "
        f"{type(found.value).__name__} ({error}); {advice}"
    )


def _file_of(user: Any) -> str:
    module = getattr(user, "__globals__", None) or vars(sys.modules.get(user.__module__, sys))
    return Path(module["__file__"]).name if "__file__" in module else "the notebook"


def _places(analysis: Any, wanted: set[int]) -> dict[int, _Found]:
    """Those of the `wanted` objects that the analysis leads to, by the shortest way."""
    waiting = deque([_Found(analysis, "self", type(analysis))])
    seen: dict[int, Any] = {}
    found: dict[int, _Found] = {}
    while waiting and len(seen) < _MOST and len(found) < len(wanted):
        here = waiting.popleft()
        if id(here.value) in seen:
            continue
        seen[id(here.value)] = here.value
        if id(here.value) in wanted:
            found[id(here.value)] = here
        waiting += _within(here)
    return found


def _within(here: _Found) -> Iterator[_Found]:
    value, name, user = here
    if type(value) in weakref.ProxyTypes:  # one whose object is gone answers nothing, not even `isinstance`
        return
    if is_a(value, FunctionType) and is_user(str(value.__module__)):
        yield from (_Found(v, n, value) for n, v in _used(value).items())
    elif is_a(value, (type, ModuleType)):
        module = value.__name__ if is_a(value, ModuleType) else str(value.__module__)
        made = is_a(value, ModuleType) and sys.modules.get(module) is not value
        if is_user(module, dynamic=made):
            user = user if is_a(value, ModuleType) else value
            yield from (_Found(v, f"{name}.{n}", user) for n, v in vars(value).items() if not n.startswith("__"))
            yield from (_Found(base, base.__qualname__, base) for base in getattr(value, "__mro__", ())[1:])
    elif is_a(value, dict):
        yield from (_Found(v, f"{name}[{k!r}]", user) for k, v in value.items())
    elif is_a(value, (list, tuple)):
        yield from (_Found(v, f"{name}[{n}]", user) for n, v in enumerate(value))
    elif not issubclass(type(value), str | bytes | int | float | CodeType):
        inner = {} if issubclass(type(value), FunctionType | MethodType) else attribute_of(value, "__dict__", {})
        if is_a(inner, dict):  # an object may answer with anything
            yield from (_Found(v, f"{name}.{n}", user) for n, v in inner.items())
        yield _Found(type(value), type(value).__qualname__, user)
        # of a library's function what it was made around, of any other object all that it holds
        held = getattr(value, "__closure__", None) or () if is_a(value, FunctionType) else [value]
        yield from (_Found(v, name, user) for h in held for v in gc.get_referents(h) if v is not inner)


def _used(function: FunctionType) -> dict[str, Any]:
    """What a function uses by name: globals, variables of those around it, defaults, attributes."""
    names = _names(function.__code__)
    used = {n: v for n, v in function.__globals__.items() if n in names}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # assigned later than defined
            used[name] = cell.cell_contents
    defaults = function.__defaults__ or ()
    arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
    used |= dict(zip(arguments[len(arguments) - len(defaults) :], defaults, strict=True))
    return used | (function.__kwdefaults__ or {}) | vars(function)


def _names(code: CodeType) -> set[str]:
    return {*code.co_names}.union(*(_names(c) for c in code.co_consts if isinstance(c, CodeType)))
