"""A call on its way to a worker, unpacked only there.

A Dask scheduler unpickles every call that it hands on, and so would import what the calls do: the analysis' libraries,
numba, the reader. Packed as bytes a call costs it neither the time nor the memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distributed import Future
from distributed.protocol.pickle import dumps, loads

__all__ = ["packed", "unpacked"]


def packed(function: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[Any, ...]:
    """What `Client.submit` is given for `function(*arguments, **named)`; futures among `arguments` stay such."""
    held = {place: value for place, value in enumerate(arguments) if isinstance(value, Future)}
    sent = [None if place in held else value for place, value in enumerate(arguments)]
    return unpacked, dumps((function, sent, named, tuple(held))), *held.values()


def unpacked(data: bytes, *held: Any) -> Any:
    """Carry out what was packed; `held` is what its futures stand for."""
    function, arguments, named, places = loads(data)
    for place, value in zip(places, held, strict=True):
        arguments[place] = value
    return function(*arguments, **named)
