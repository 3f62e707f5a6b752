"""`Parameter`: one parameter of an analysis, and how its text is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

from vrecompute.errors import ParameterError
from vrecompute.wording import shortened

__all__ = ["Parameter", "interval"]


def interval(given: Any) -> tuple[float, float]:
    """Two numbers `low,high`, the first not above the second: a type of parameters. ValueError for anything else."""
    low, high = _to_tuple(given)
    if not low <= high:
        raise ValueError(given)
    return low, high


@dataclass(frozen=True)
class Parameter:
    """One parameter of an analysis. Its unit is part of its name (`pt_min_gev`).

    `help` says what it is, for `vrecompute analyses NAME` and for messages about it.
    `type` is float, int, str, bool, `interval`, or tuple for a comma-separated list of floats of any length.
    Numbers are finite, `above` and `below` these, and from `minimum` to `maximum`, where those are given.
    `stage` says who reads it: a parameter of `finish` alone never causes a chunk to be recomputed.
    The default is read like any other value; None says that there is none.
    """

    name: str
    default: Any
    help: str
    _: KW_ONLY
    type: Callable[[str], Any] = float
    choices: tuple[Any, ...] = ()
    stage: Literal["process", "finish"] = "process"
    above: float | None = None
    below: float | None = None
    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.help, str):
            raise ParameterError(
                f"parameter {self.name}: its third argument is {self.help!r}, and has to be the help text, such as "
                f"Parameter({self.name!r}, {self.default!r}, 'what it is', type=int)"
            )
        # 20 and 20.0 are one value and two texts: without this, a part's key would depend on who wrote it
        if self.default is not None:
            object.__setattr__(self, "default", self.parse(self.default))

    def parse(self, text: Any) -> Any:
        """The value of `text`, from a command line or a notebook, in this parameter's type; else ParameterError."""
        given = f"parameter {self.name}={shortened(repr(text))}"
        try:
            convert: Callable[[Any], Any] = _CONVERT.get(self.type, self.type)
            value = convert(text)
        except (TypeError, ValueError) as error:
            kind = "two numbers low,high" if self.type is interval else f"a {getattr(self.type, '__name__', 'value')}"
            raise ParameterError(f"{given} is not {kind}: {self.help}") from error
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            raise ParameterError(f"{given} is not a finite number: {self.help}")
        if wrong := [limit for number in numbers for limit in self._broken(number)]:
            raise ParameterError(f"{given}: choose {wrong[0]}: {self.help}")
        if self.choices and value not in self.choices:
            raise ParameterError(f"{given}: choose one of {', '.join(map(str, self.choices))}")
        return value

    def _broken(self, number: Any) -> Iterator[str]:
        """The limits that a number does not keep, in words."""
        if self.above is not None and not number > self.above:
            yield f"a number above {self.above:g}"
        if self.below is not None and not number < self.below:
            yield f"a number below {self.below:g}"
        if self.minimum is not None and not number >= self.minimum:
            yield f"at least {self.minimum:g}"
        if self.maximum is not None and not number <= self.maximum:
            yield f"at most {self.maximum:g}"


def _to_bool(text: Any) -> bool:
    word = str(text).strip().lower()
    if word in {"true", "yes", "on", "1"}:
        return True
    if word in {"false", "no", "off", "0"}:
        return False
    raise ValueError(text)


def _to_tuple(text: Any) -> tuple[float, ...]:
    items = text.split(",") if isinstance(text, str) else text
    return tuple(float(item) for item in items)


def _to_int(given: Any) -> int:
    value = int(given)
    if not isinstance(given, str) and value != given:  # 1.5 is none, and 3.0 is
        raise ValueError(given)
    return value


_CONVERT: dict[Any, Callable[[Any], Any]] = {bool: _to_bool, int: _to_int, tuple: _to_tuple}
