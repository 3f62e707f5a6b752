"""How the session calculates: decimal's context and numpy's floating-point errors, wherever they were set.

They are of a thread, so a worker would not have them; no text says by whom they are set. What is of the whole process
is in `processstate`.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from vrecompute.analysis.processstate import process_state

__all__ = ["arithmetic", "with_arithmetic"]

_T = TypeVar("_T")
_NUMPY = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_OF_CONTEXT = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")


def arithmetic() -> dict[str, Any]:
    """What is not as Python, numpy and the process began: `decimal`, `numpy`, and `process_state`."""
    found: dict[str, Any] = process_state()
    if (context := _described(decimal.getcontext())) != _described(decimal.Context()):
        found["decimal"] = context
    if (errors := dict(np.geterr())) != _NUMPY:
        found["numpy"] = errors
    return found


def with_arithmetic(state: Mapping[str, Any], function: Callable[..., _T], *arguments: Any, **named: Any) -> _T:
    """What a function gives where the thread calculates as `arithmetic` said elsewhere, else as Python begins."""
    given = dict(state.get("decimal", {}))
    on = given.pop("traps", None)
    traps = None if on is None else {signal: signal.__name__ in on for signal in decimal.Context().traps}
    with (
        decimal.localcontext(decimal.Context(**given, traps=traps)),
        np.errstate(**{**_NUMPY, **state.get("numpy", {})}),
    ):
        return function(*arguments, **named)


def _described(context: decimal.Context) -> dict[str, Any]:
    traps = sorted(signal.__name__ for signal, is_on in context.traps.items() if is_on)
    return {**{name: getattr(context, name) for name in _OF_CONTEXT}, "traps": traps}
