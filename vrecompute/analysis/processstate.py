"""What of the session's whole process can make another number, and was changed since vrecompute was imported.

That is the time zone (`os.environ["TZ"]`, `time.tzset()`), locales but for that of characters, and how many digits an
integer may have as text. It goes with a run: workers set it before they do anything else, and it is part of the key.
The zone and locales with which a machine begins are its own.
"""

from __future__ import annotations

import locale
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from vrecompute.errors import AnalysisError

__all__ = ["ENVIRONMENT", "hold_process", "process_state"]

#: What is brought besides: the variables that the session has set and code reads, see `variables`.
ENVIRONMENT = "environment"

_CATEGORIES = ("LC_COLLATE", "LC_MONETARY", "LC_NUMERIC", "LC_TIME")
_ZONE, _LOCALES, _DIGITS = "time zone", "locales", "digits of an integer"


def _state() -> dict[str, Any]:
    zone = [os.environ.get("TZ"), *time.tzname, time.timezone, time.altzone]
    locales = {name: locale.setlocale(getattr(locale, name)) for name in _CATEGORIES}
    return {_ZONE: zone, _LOCALES: locales, _DIGITS: sys.get_int_max_str_digits()}


_BEGAN = _state()
# What a worker, or the Runner of a job, was given; None in the user's own process.
_held: dict[str, Any] | None = None


def process_state() -> dict[str, Any]:
    """What is not as this process began, by name; on a worker, what the session said."""
    return {name: held for name, held in _state().items() if held != _BEGAN[name]} if _held is None else dict(_held)


def hold_process(state: Mapping[str, Any]) -> None:
    """Have what `process_state` said in the session here; AnalysisError where that cannot be had."""
    global _held
    wanted = {name: state[name] for name in _BEGAN if name in state}
    if (zone := wanted.get(_ZONE)) is not None:
        if zone[0] is None:
            os.environ.pop("TZ", None)
        else:
            os.environ["TZ"] = zone[0]
    for name, value in state.get(ENVIRONMENT, {}).items():
        os.environ.pop(name, None)
        os.environ.update({} if value is None else {name: value})
    time.tzset()  # a file or cell may have set the variable, which is read only once
    if zone is not None and _state()[_ZONE] != list(zone):
        raise AnalysisError(
            f"the time zone of this session is {'/'.join(zone[1:3])}, and workers find {'/'.join(time.tzname)} for "
            f"TZ={zone[0]!r}; call `time.tzset()` after os.environ['TZ'] = ..., or undo it"
        )
    for name, value in wanted.get(_LOCALES, {}).items():
        try:
            locale.setlocale(getattr(locale, name), value)
        except locale.Error as error:
            raise AnalysisError(
                f"{name} is {value} in this session, and workers have no such locale: install it there, or call "
                f"`locale.setlocale(locale.{name}, 'C')`"
            ) from error
    if _DIGITS in wanted:
        sys.set_int_max_str_digits(wanted[_DIGITS])
    _held = wanted
