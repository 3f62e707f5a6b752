"""What an object of the user's class loses when it is sent: its own `__reduce__` or `__getstate__` may leave out what
counts, and a worker would have what `__init__` gave.

A cache, a lock or an open file is left out with good reason. So what is named is data: what is there on both
sides and differs, and plain data that is gone. Names that say that they are a cache are not. Of a name that begins with
"_" what is empty or gone on the other side is made when it is asked for; another value there would be calculated with.
"""

from __future__ import annotations

import copy
import copyreg
import inspect
import re
from collections.abc import Callable, Iterator, Sized
from types import MappingProxyType
from typing import Any

import numpy as np

from vrecompute.analysis.asking import attribute_of, is_a, module_of
from vrecompute.analysis.coderange import is_user

__all__ = ["is_kept_by_python", "lost_by"]

_CACHE = re.compile(r"cache|memo", re.IGNORECASE)
_PLAIN = (bool, int, float, complex, str, bytes, np.number, np.ndarray)
_LONG = 40


def lost_by(value: Any, made: tuple[Any, ...], known: Callable[[Any], Any]) -> Iterator[str]:
    """Sentences about attributes of a value that `made`, as `__reduce_ex__` gave it, does not keep.

    `known` gives what is equal for equal content, and None where that is not known.
    """
    cls = type(value)
    if not is_user(module_of(cls)):
        return
    if why := _unmakeable(cls, made):
        yield why
        return
    if is_kept_by_python(cls):
        return
    before = _attributes(value)
    try:
        # Nothing public makes the object of which `made` tells but pickle, which fails for what only cloudpickle sends.
        sent = copy._reconstruct(value, None, *made)  # type: ignore[attr-defined]
        after = _attributes(sent)
    except Exception:  # which a worker tells of
        return
    for name, held in before.items():
        if _CACHE.search(name):
            continue
        gone, private = name not in after, name.startswith("_")
        there = attribute_of(sent, name)
        if (gone and not private and _is_plain(held)) or (
            not _is_unmade(there, private) and _differ(held, there, known)
        ):
            said = repr(held) if type(held) in _PLAIN and len(repr(held)) < _LONG else f"of type {type(held).__name__}"
            what = "lack it" if _is_unmade(there, private) else "would calculate with another value"
            yield (
                f"{cls.__qualname__}.{name} is {said} in this session, and workers {what}: {_how(cls)} of that class "
                f'does not keep it; keep it there, or put "cache" into its name if it is one'
            )


def _unmakeable(cls: type, made: tuple[Any, ...]) -> str:
    """Why a worker cannot make an object of what pickle keeps for that: too few arguments; empty where it can."""
    if made[0] is copyreg.__newobj__:  # type: ignore[attr-defined]  # pickle's own, which typeshed leaves out
        maker, given, how = cls.__new__, made[1], "__getnewargs__(self)"
    elif made[0] is cls:
        maker, given, how = cls, made[1], "__reduce__(self)"
    else:
        return ""
    try:
        signature = inspect.signature(maker)
    except (TypeError, ValueError):  # of what is not written in Python
        return ""
    try:
        signature.bind(*given)
    except TypeError as error:
        return (
            f"an object of class {cls.__qualname__} cannot be made again on workers: pickle keeps too little of what "
            f"it was made with ({error}); give the class a method {how} that returns it"
        )
    return ""


def _is_unmade(there: Any, private: bool) -> bool:
    """Whether this stands for what has not been calculated yet."""
    if there is None or not private:
        return there is None
    try:
        return isinstance(there, Sized) and not len(there)
    except Exception:  # the user's `__len__`, or what it says that it is
        return False


def is_kept_by_python(cls: type) -> bool:
    """Whether nothing but Python says how its objects are pickled."""
    plain = {n: getattr(object, n, None) for n in ("__reduce__", "__reduce_ex__", "__getstate__")}
    same = all(getattr(cls, name, None) is own for name, own in plain.items())
    return same and not hasattr(cls, "__setstate__") and cls not in copyreg.dispatch_table


def _how(cls: type) -> str:
    names = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__")
    own = [n for n in names if getattr(cls, n, None) is not getattr(object, n, None)]
    return own[0] if own else "copyreg"


def _attributes(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and (held := attribute_of(value, name, found)) is not found:
                found[name] = held
    inner = attribute_of(value, "__dict__")
    return found | (dict(inner) if is_a(inner, (dict, MappingProxyType)) else {})


def _is_plain(value: Any) -> bool:
    if is_a(value, dict):
        return all(map(_is_plain, value.values()))
    if type(value) in (list, tuple, set, frozenset):
        return all(map(_is_plain, value))
    return is_a(value, _PLAIN)


def _differ(held: Any, other: Any, known: Callable[[Any], Any]) -> bool:
    if held is other:
        return False
    one, two = known(held), known(other)
    return one is not None and two is not None and one != two
