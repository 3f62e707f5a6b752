"""How the functions of an event loop are compiled: everything is inlined into one entry, which alone is cached.

Without numba's run time for references (`_nrt`): counting references to the arrays, atomically and at
each inlined call, took 9/10 of the time of a loop with variations. Such a function cannot allocate an
array, which no loop over events should; the caller of the entry keeps the arrays alive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

from vrecompute.kernels.cache import compiled

__all__ = ["entry", "inline"]

F = TypeVar("F", bound=Callable[..., Any])
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "no_cfunc_wrapper": True, "_nrt": False}


def inline(function: F) -> F:
    """`function`, always inlined, and callable from Python too."""
    made: F = njit(forceinline=True, **_OPTIONS)(function)
    return made


def entry(function: F) -> F:
    """`function` as the entry of a loop: cached on disk, run without the interpreter lock."""
    return compiled(**_OPTIONS)(function)
