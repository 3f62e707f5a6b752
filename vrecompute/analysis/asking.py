"""What an object of the user's is, asked without its own words: these may be of another, raise anything, or never end.

An object may say by `__class__` that it is a function, answer any name by `__getattr__`, or raise a KeyError there.
"""

from __future__ import annotations

import inspect
from typing import Any, TypeGuard, TypeVar, overload

__all__ = ["attribute_of", "held_by", "is_a", "module_of"]

_T = TypeVar("_T")
_U = TypeVar("_U")


@overload
def is_a(value: Any, kinds: type[_T]) -> TypeGuard[_T]: ...
@overload
def is_a(value: Any, kinds: tuple[type[_T], type[_U]]) -> TypeGuard[_T | _U]: ...
@overload
def is_a(value: Any, kinds: tuple[type[_T], ...]) -> TypeGuard[_T]: ...
def is_a(value: Any, kinds: Any) -> bool:
    """As `isinstance`, of what an object is and not of what it says."""
    return issubclass(type(value), kinds)


def attribute_of(value: Any, name: str, default: Any = None) -> Any:
    """As `getattr` with a default, which is given also where an object answers with an error of another kind."""
    try:
        return getattr(value, name, default)
    except Exception:
        return default


def held_by(value: Any, name: str) -> Any:
    """What a module, class or object has by a name, or its class, unasked: a mock grows by each question."""
    try:
        return inspect.getattr_static(value, name, None)
    except Exception:
        return None


def module_of(cls: type) -> str:
    """The name of a class' module; a class may answer with a property."""
    module = type.__getattribute__(cls, "__module__")
    return module if type(module) is str else "?"
