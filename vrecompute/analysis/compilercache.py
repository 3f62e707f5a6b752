"""numba's `cache=True` keeps nothing of code that we load or send: it goes by the text of one file alone.

numba freezes globals into machine code, and what it kept of a file is taken again though a module beside it has another
`CUT` now. It also writes the name of the module that a function is in, and an analysis file has another name with each
edit. So such code is compiled in each process. What the user imports or runs by themselves is kept as ever.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

__all__ = ["compile_anew"]

_CACHING = "numba.core.caching"
_IsOurs = Callable[[Mapping[str, Any]], bool]


def compile_anew(is_loaded: _IsOurs) -> None:
    """numba keeps and takes no machine code of modules whose globals `is_loaded` is true of, and of what was sent here.

    numba is not imported for that: the rule waits until something does.
    """
    if (caching := sys.modules.get(_CACHING)) is not None:
        _restrict(caching, is_loaded)
    else:
        sys.meta_path.insert(0, _Watch(is_loaded))


class _Watch:
    """Finds numba's module of caches as Python would, and restricts it once that is imported."""

    def __init__(self, is_loaded: _IsOurs) -> None:
        self._is_loaded = is_loaded

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _CACHING or (spec := PathFinder.find_spec(name, path, target)) is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            _restrict(module, self._is_loaded)
            if self in sys.meta_path:
                sys.meta_path.remove(self)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # of this spec alone
        return spec


def _restrict(caching: Any, is_loaded: _IsOurs) -> None:
    def is_ours(function: Any) -> bool:
        members = function.__globals__
        return "__spec__" not in members or is_loaded(members)  # every module has it, and nothing that was sent

    class Nowhere(caching._CacheLocator):  # type: ignore[misc]  # numba is untyped
        """No place: numba refuses to compile a function whose file is not on this machine, if it is to be kept."""

        def __init__(self, file: str) -> None:
            self._py_file = file

        def get_cache_path(self) -> str:
            return ""

        def get_source_stamp(self) -> str:
            return ""

        def get_disambiguator(self) -> str:
            return ""

        @classmethod
        def from_function(cls, function: Any, file: str) -> Nowhere | None:
            return cls(file) if is_ours(function) else None

    caching.CacheImpl._locator_classes.insert(0, Nowhere)
    enable = caching.Cache.enable

    def enable_for_others(self: Any) -> None:
        enable(self)
        if is_ours(self._py_func):
            self.disable()

    caching.Cache.enable = enable_for_others
