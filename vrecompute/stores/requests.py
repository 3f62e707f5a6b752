"""`requested`: requests to a store that fail in passing are made again, and counted with the reads that are."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from vrecompute.errors import TransientStore
from vrecompute.retries import persistent

__all__ = ["requested"]

_F = TypeVar("_F", bound=Callable[..., Any])


def requested(method: _F) -> _F:
    """A method of a Store, called again where it raises TransientStore; one that yields is called to its end first.

    A `create` whose answer was lost says that the name is taken: those who must know look whose object it is.
    """

    @functools.wraps(method)
    def call(*args: Any, **named: Any) -> Any:
        if inspect.isgeneratorfunction(method):
            return iter(persistent(lambda: list(method(*args, **named)), TransientStore))
        return persistent(lambda: method(*args, **named), TransientStore)

    return cast("_F", call)
