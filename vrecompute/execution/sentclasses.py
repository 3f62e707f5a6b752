"""How a class of the user's is made on a worker: as what it is here, by no code of the user's.

cloudpickle makes an empty class of the same name and bases, and then sets its members. Making it would run what the
user wrote to see classes being made, a second time and on an empty one: `__init_subclass__` (whose required keywords
are known here alone) and metaclasses. What these did is in the members that are sent.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

import cloudpickle

from vrecompute.analysis.asking import module_of
from vrecompute.analysis.coderange import is_user, leads_to
from vrecompute.analysis.roundtrip import is_kept_by_python

__all__ = ["sent", "state_of"]

_SKELETON, _ENUM = cloudpickle.cloudpickle._make_skeleton_class, cloudpickle.cloudpickle._make_skeleton_enum
# Which argument of these says that a class which was made before may do.
_TRACKED = {_SKELETON: 4, _ENUM: 5}
_MADE_WITH_CLASS = frozenset(
    {"__abstractmethods__", "__annotate_func__", "__dict__", "__module__", "__weakref__", "_abc_impl"}
)
_SEES_CLASSES = "__init_subclass__"


def sent(cls: type, made: tuple[Any, ...]) -> tuple[Any, ...]:
    """What pickle gets of a class in place of what cloudpickle `made` of it; that itself where it is no class.

    A class is made anew each time: what an earlier run left in it on a worker is not in it.
    """
    if (place := _TRACKED.get(made[0])) is None:
        return made
    arguments = [*made[1]]
    arguments[place] = None
    if made[0] is _SKELETON:  # else the name of a class within another, or within a function, is lost
        arguments[3] = {**arguments[3], "__qualname__": cls.__qualname__}
    members, slots = made[2]
    if "__name__" in members:  # a property of that name, which a class that is there takes for its own
        arguments[3] = {**arguments[3], "__name__": members["__name__"]}
        members = {name: held for name, held in members.items() if name != "__name__"}
    watching = tuple(base for base in cls.__mro__[1:] if _SEES_CLASSES in vars(base) and _is_users(base))
    maker = next(m for m in inspect.getmro(type(cls)) if not _is_users(m) and "__new__" in vars(m))
    return (
        _made,
        (made[0], tuple(arguments), watching, None if maker is type(cls) else maker),
        ({**_as_inherited(cls), **members}, slots),
        *made[3:],
    )


def state_of(value: Any) -> Any:
    """What pickle gets of an object whose `__getattr__` answers every name, or none with an AttributeError.

    Who loads a pickle asks an object that has nothing yet for its `__setstate__`. NotImplemented for any other.
    """
    cls = type(value)
    answers = any("__getattr__" in vars(base) for base in inspect.getmro(cls))
    if not (answers and is_kept_by_python(cls) and _is_users(cls)):
        return NotImplemented
    made, *rest = value.__reduce_ex__(4)
    return (made, *rest, *[None] * (4 - len(rest)), _set_state)


def _set_state(value: Any, state: Any) -> None:
    members, slots = state if isinstance(state, tuple) else (state, None)
    if members:
        object.__getattribute__(value, "__dict__").update(members)
    for name, held in (slots or {}).items():
        object.__setattr__(value, name, held)


def _is_users(cls: type) -> bool:
    return is_user(module_of(cls), dynamic=not leads_to(cls, module_of(cls), cls.__qualname__))


def _made(make: Any, arguments: tuple[Any, ...], watching: tuple[type, ...], maker: Any) -> Any:
    """A class without its members; `maker` is the metaclass of a library that one of the user's is made of."""
    with _unseen(watching):
        if maker is None or make is not _SKELETON:
            return make(*arguments)
        metaclass, name, bases, members, *_ = arguments
        return maker.__new__(metaclass, name, types.resolve_bases(bases), dict(members))


@contextmanager
def _unseen(watching: tuple[type, ...]) -> Iterator[None]:
    """No class of the user's sees another being made; these were made for the same analysis, which no one has yet."""
    held = [(cls, vars(cls)[_SEES_CLASSES]) for cls in watching if _SEES_CLASSES in vars(cls)]
    for cls, _ in held:
        type.__delattr__(cls, _SEES_CLASSES)
    try:
        yield
    finally:
        for cls, method in held:
            type.__setattr__(cls, _SEES_CLASSES, method)


def _as_inherited(cls: type) -> dict[str, Any]:
    """Attributes of a class that are the very objects its bases have, as small numbers are.

    cloudpickle leaves them out. They are the class' own all the same: they stay when a base has another, and hide what
    another base has.
    """
    bases = [vars(base) for base in cls.__bases__]
    same = {n: v for n, v in vars(cls).items() if n not in _MADE_WITH_CLASS and any(b.get(n, b) is v for b in bases)}
    if issubclass(cls, Enum):  # whose metaclass makes such
        return {n: v for n, v in same.items() if not (n.startswith("_") and n.endswith("_"))}
    return same
