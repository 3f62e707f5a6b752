"""How user code travels to workers of a live run: by value, its functions as the source they were compiled from.

A worker has no module of the user's, or another one. It compiles what it gets, whatever its Python, so it can
digest what it will run, and show its lines in a traceback.
"""

from __future__ import annotations

import functools
import io
import secrets
import sys
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle

from vrecompute import sourcetext
from vrecompute.analysis import Analysis
from vrecompute.analysis.arithmetic import arithmetic, with_arithmetic
from vrecompute.analysis.code import Code, difference
from vrecompute.analysis.codedigest import code_of
from vrecompute.analysis.coderange import file_of, is_dispatcher, is_user
from vrecompute.analysis.filereads import ENVIRONMENT_READ
from vrecompute.analysis.processstate import ENVIRONMENT, process_state
from vrecompute.analysis.variables import set_since
from vrecompute.digest import sha256_json
from vrecompute.errors import AnalysisError
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.sentclasses import sent, state_of
from vrecompute.execution.unsendable import said_of

__all__ = ["Packed", "making_anew", "pack", "pack_for"]

# Whether what is made shares nothing with what was made of the same bytes before.
_IS_ANEW: ContextVar[bool] = ContextVar("is_anew", default=False)
_TABLE: MutableMapping[type, Callable[[Any], Any]] = cloudpickle.Pickler.dispatch_table


@dataclass(frozen=True)
class Packed:
    """An analysis as it was at one moment, whatever is edited later: its code, and a pickle for `TaskPool.share`.

    `effects` names what workers do first, as importing its modules did; empty where that is nothing.
    """

    code: Code
    data: bytes
    effects: str = ""


def pack(analysis: Analysis) -> Packed:
    """What workers get of an analysis; AnalysisError where it holds something that cannot be sent."""
    code = analysis.code()
    if code.lost:
        raise AnalysisError(code.lost[0])
    for name in code.modules:
        if name in sys.modules and name != "__main__":
            cloudpickle.register_pickle_by_value(sys.modules[name])
    state = {**process_state(), ENVIRONMENT: set_since(code.variables)}
    state = {name: held for name, held in state.items() if held}
    effects = sha256_json([_named(code.effects) if code.effects else "", state]) if code.effects or state else ""
    with io.BytesIO() as buffer:
        pickler = _Pickler(buffer, code)
        try:
            pickler.dump((analysis, [*code.imported.values()], code.effects, effects, {**arithmetic(), **state}))
        except AnalysisError:
            raise
        except Exception as error:
            raise AnalysisError(said_of(analysis, pickler.tried, error)) from error
        return Packed(code, buffer.getvalue(), effects)


def _named(functions: Sequence[FunctionType]) -> str:
    """What these do to a worker: the same name where that is the same, whatever run they are of.

    What they read of a file may be other by the next run. The environment that a worker has stays as it is while that
    lives, but for what they change in it themselves.
    """
    code = code_of(tuple(functions), effects=())
    stays = all(each.startswith(ENVIRONMENT_READ) for each in code.unnamed)
    return replace(code, unnamed=()).digest if stays else code.digest


def pack_for(manifest: Manifest, analysis: Analysis) -> Packed:
    """What workers get of a run's analysis; AnalysisError where it is not what the run was made with."""
    return with_arithmetic(manifest.arithmetic, _packed_for, manifest, analysis)


def _packed_for(manifest: Manifest, analysis: Analysis) -> Packed:
    if differing := difference(manifest.code_parts, analysis.code(looks=False).parts):
        raise AnalysisError(
            f"run {manifest.run} was made with different code of {', '.join(differing[:3])}; run the analysis again: "
            "what it had finished under this code is reused"
        )
    return pack(analysis)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
    def __init__(self, buffer: io.BytesIO, code: Code) -> None:
        self._code = code
        self.tried: list[Any] = []
        own: dict[type, Callable[[Any], Any]] = {
            CodeType: _reduce_code,
            ModuleType: self._reduce_module,
            functools._lru_cache_wrapper: _reduce_cached,
            functools.cached_property: _reduce_property,
            functools.singledispatchmethod: _reduce_method,
        }
        self.dispatch_table = ChainMap(own, _TABLE)
        super().__init__(buffer)  # which looks for the table

    def reducer_override(self, value: Any) -> Any:
        """Functions that numba compiled go as the Python they were made of, unless a library has them."""
        self.tried.append(value)
        if is_dispatcher(value):
            state = (value.__wrapped__, dict(value.registry))
            return _dispatcher, (value.__name__,), state, None, None, _register
        if _is_of_numba(value, "numba.core.dispatcher", "Dispatcher"):
            return self._reduce_compiled(value)
        if _is_of_numba(value, "numba.core.serialize", "ReduceMixin"):  # else numba pickles its function, as bytecode
            return _compiled, (type(value), value._reduce_states())
        if _is_of_numba(value, "numba.core.ccallback", "CFunc"):
            return _c_function, (value._pyfunc, value._sig, dict(value._compiler.targetoptions))
        if _is_of_numba(value, "numba.experimental.jitclass.base", "JitClassType"):
            raise AnalysisError(_said_of_jitclass(value))
        made = super().reducer_override(value)
        return sent(value, made) if isinstance(made, tuple) else state_of(value) if made is NotImplemented else made

    def _reduce_module(self, module: ModuleType) -> Any:
        """Of a user's module what is used of it: the rest need not be something that can be sent."""
        used = self._code.modules.get(module.__name__)
        if used is None:
            return _TABLE[ModuleType](module)
        names = {"__name__", "__file__", "__package__", *used}
        # A package without a file has none there either: it is known for the user's by where that would be.
        known = {"__file__": file_of(module.__name__)} if getattr(module, "__file__", None) is None else {}
        members = {**{n: v for n, v in vars(module).items() if n in names}, **known}
        return _module, (module.__name__,), members, None, None, _fill

    def _reduce_compiled(self, compiled: Any) -> Any:
        function = compiled.py_func
        module = sys.modules.get(function.__module__)
        if getattr(module, function.__qualname__, None) is compiled and not is_user(function.__module__):
            return function.__qualname__
        states = dict(compiled._reduce_states())
        found = sourcetext.find(function.__code__)
        # numba takes two of one id for one: it must be another where anything that can be reached is.
        states["uuid"] = secrets.token_hex(32)
        if found is not None and not (function.__closure__ or function.__defaults__ or self._code.unnamed):
            written = [dict(self._code.parts), function.__module__, sourcetext.canonical(found.node)]
            states["uuid"] = sha256_json(written)
        return _compiled, (type(compiled), states)


def _is_of_numba(value: Any, module: str, name: str) -> bool:
    """Whether numba made it; where nothing has imported numba there is none."""
    return issubclass(type(value), getattr(sys.modules.get(module), name, ()))


def _module(name: str) -> ModuleType:
    return ModuleType(name)


def _fill(module: ModuleType, state: Mapping[str, Any]) -> None:
    vars(module).update(state)


@contextmanager
def making_anew() -> Iterator[None]:
    """What numba compiled is made once more meanwhile, where it would give what it has of the same name."""
    token = _IS_ANEW.set(True)
    try:
        yield
    finally:
        _IS_ANEW.reset(token)


def _compiled(kind: Any, states: Mapping[str, Any]) -> Any:
    other = {"uuid": secrets.token_hex(32)} if _IS_ANEW.get() and "uuid" in states else {}
    return kind._rebuild(**{**states, **other})


def _c_function(function: Any, signature: Any, options: Mapping[str, Any]) -> Any:
    import numba  # as what only looks at an analysis does not

    return numba.cfunc(signature, **options)(function)


def _said_of_jitclass(cls: type) -> str:
    code = next((m.__code__ for m in vars(cls.__bases__[0]).values() if isinstance(m, FunctionType)), None)
    at = f"{Path(code.co_filename).name}:{code.co_firstlineno}: " if code is not None else ""
    return (
        f"{at}class {cls.__qualname__}, which numba.experimental.jitclass compiled, cannot be sent to workers; compile "
        "it in a function that `process` calls (`jitclass(SPEC)(Plain)`), or write functions with numba.njit instead"
    )


def _dispatcher(name: str) -> Any:
    def not_registered(value: Any) -> None: ...

    not_registered.__name__ = name
    return functools.singledispatch(not_registered)


def _register(dispatcher: Any, state: tuple[Any, Mapping[type, Any]]) -> None:
    function, implementations = state
    functools.update_wrapper(dispatcher, function)
    for kind, implementation in implementations.items():
        dispatcher.register(kind, implementation)


def _reduce_cached(cached: Any) -> Any:
    """What functools.lru_cache made: with an empty cache, unless a library has it."""
    function = cached.__wrapped__
    if not is_user(function.__module__):
        return cached.__reduce__()
    return _cached, (function, cached.cache_parameters())


def _cached(function: Any, parameters: Mapping[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def _reduce_property(prop: functools.cached_property[Any]) -> Any:
    """Without its lock, which Python 3.11 gives it and which cannot be sent."""
    return _property, (prop.func, prop.attrname)


def _property(function: Callable[[Any], Any], name: str | None) -> functools.cached_property[Any]:
    made = functools.cached_property(function)
    if name is not None:
        made.__set_name__(object, name)
    return made


def _reduce_method(method: functools.singledispatchmethod[Any]) -> Any:
    """Without its cache of weak references, which Python 3.13 gives it and which cannot be sent."""
    return _method, (method.func, method.dispatcher)


def _method(function: Callable[..., Any], dispatcher: Any) -> functools.singledispatchmethod[Any]:
    made = functools.singledispatchmethod(function)
    made.dispatcher = dispatcher
    return made


def _reduce_code(code: CodeType) -> Any:
    found = sourcetext.find(code)
    if found is None:
        version = sys.version_info[:2]
        return _bytecode, (version, *_TABLE[CodeType](code))
    return sourcetext.rebuilt, (found.file, found.text, code.co_flags, code.co_name, found.place)


def _bytecode(version: tuple[int, int], make: Callable[..., CodeType], arguments: tuple[Any, ...]) -> CodeType:
    if version != sys.version_info[:2]:
        here = ".".join(map(str, sys.version_info[:2]))
        raise AnalysisError(
            f"a function without source cannot go from Python {'.'.join(map(str, version))} to workers with {here}: "
            "define it in a file or a notebook cell, or give client and workers the same Python"
        )
    return make(*arguments)
