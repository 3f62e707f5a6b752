"""What a mapped function's work is named by: its source, and all it reaches that is not an installed library's.

A function of a notebook leans on globals, closures, helpers and arrays of that notebook. Each of them may
be edited between two runs, so each is part of the name; what has no content to name makes the work unique.
"""

from __future__ import annotations

import dis
import functools
import inspect
import pickle
import secrets
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from vrecompute.digest import module_digests, sha256_json, sha256_of, strip_comments
from vrecompute.errors import AnalysisError

__all__ = ["function_digest"]

_LIBRARIES = tuple(str(Path(sysconfig.get_path(name))) + "/" for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def function_digest(function: Callable[..., Any]) -> str:
    """sha256 over source, defaults, closure and globals of a callable, and of its helpers likewise.

    Equal in every process for equal content. Raises AnalysisError where there is no source.
    """
    return sha256_json(_Description().of(function))


class _Description:
    """Values as data; what was described before is referred to, so that cycles end."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no id is given to another object meanwhile

    def of(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            return [type(value).__name__, repr(value)]
        if id(value) in self._known:
            return ["again", self._known[id(value)]]
        self._known[id(value)] = len(self._known)
        self._kept.append(value)
        return self._compound(value)

    def _compound(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [type(value).__name__, [self.of(item) for item in value]]
        if isinstance(value, (set, frozenset)):
            return ["set", sorted(repr(item) for item in value)]
        if type(value) is dict:
            return ["dict", [[self.of(k), self.of(v)] for k, v in value.items()]]
        if isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
            array = np.asarray(value)
            return ["array", array.dtype.str, list(array.shape), sha256_of(np.ascontiguousarray(array).tobytes())]
        if isinstance(value, ModuleType):
            return self._module(value)
        if isinstance(value, functools.partial):
            return ["partial", self.of(value.func), self.of(value.args), self.of(value.keywords)]
        if isinstance(value, MethodType):
            return ["method", self.of(value.__func__), self.of(value.__self__)]
        if isinstance(value, type):
            return self._class(value)
        if isinstance(compiled := getattr(value, "py_func", value), FunctionType):
            return self._function(compiled)
        if inspect.isbuiltin(value) or isinstance(value, np.ufunc):
            return ["builtin", str(getattr(value, "__module__", "")), value.__name__]
        return self._object(value)

    def _function(self, function: FunctionType) -> Any:
        # Not by its module's name alone: what `exec` made says that it belongs to builtins.
        if function.__code__.co_filename.startswith(_LIBRARIES) or _own(function.__module__):
            return ["library", function.__module__, function.__qualname__]
        closure = {}
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                closure[name] = self.of(cell.cell_contents)
            except ValueError:  # assigned later than defined
                closure[name] = None
        reached = {n: self.of(function.__globals__[n]) for n in sorted(_globals(function)) if n in function.__globals__}
        defaults = self.of([function.__defaults__, function.__kwdefaults__])
        return ["function", _source(function), defaults, closure, reached]

    def _class(self, cls: type) -> Any:
        if _installed(cls.__module__):
            return ["library", cls.__module__, cls.__qualname__]
        members = [v for v in vars(cls).values() if isinstance(v, FunctionType)]
        return ["class", _text(cls, cls.__qualname__), [self.of(m) for m in members if _has_source(m)]]

    def _module(self, module: ModuleType) -> Any:
        if _installed(module.__name__):
            return ["library", module.__name__, str(getattr(module, "__version__", ""))]
        return ["module", module.__name__, module_digests(module.__name__)]

    def _object(self, value: Any) -> Any:
        try:
            content = sha256_of(pickle.dumps(value, protocol=5))
        except Exception:
            # Nobody can tell whether it is the same next time, so nothing of this run is ever taken for it.
            content = secrets.token_hex(16)
        return ["object", self.of(type(value)), content]


def _globals(function: FunctionType) -> set[str]:
    return {i.argval for code in _codes(function.__code__) for i in dis.get_instructions(code) if "_GLOBAL" in i.opname}


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of all functions, lambdas and comprehensions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _source(function: FunctionType) -> Any:
    text = _text(function.__code__, function.__qualname__)
    # Several lambdas may share a line of source.
    return [text, function.__code__.co_code.hex()] if function.__name__ == "<lambda>" else text


def _text(thing: Any, name: str) -> str:
    try:
        return strip_comments(textwrap.dedent(inspect.getsource(thing)))
    except (OSError, TypeError) as error:
        raise AnalysisError(
            f"the source of the mapped function's {name!r} cannot be had, so its work could not be named: define it "
            "in a file or a notebook cell, not at a bare prompt"
        ) from error


def _has_source(function: FunctionType) -> bool:
    try:
        return bool(inspect.getsource(function.__code__))
    except (OSError, TypeError):
        return False  # generated, as by a dataclass: the class' own source says it all


def _installed(module: str | None) -> bool:
    """Whether a module belongs to a library: its version is the environment's business, not the function's."""
    if module in (None, "builtins") or _own(module):
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return module != "__main__" and (file is None or str(file).startswith(_LIBRARIES))


def _own(module: str | None) -> bool:
    """Whether a module is vrecompute's; its kernels make numbers, so they count as the user's own do."""
    return str(module).partition(".")[0] == "vrecompute" and not str(module).startswith("vrecompute.kernels")
