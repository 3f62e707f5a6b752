"""What `process` returned, checked where it was made: a mistake is reported at its chunk, not at the merge."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any

import boost_histogram as bh
import numpy as np

from vrecompute.digest import canonical_json
from vrecompute.errors import AnalysisError
from vrecompute.results.plainarray import plain_array, refuse_missing
from vrecompute.results.result import Array, Result
from vrecompute.utf8text import is_utf8, utf8
from vrecompute.wording import shortened

__all__ = ["TABLE_NAME", "check_result"]

_CATEGORIES = (bh.axis.IntCategory, bh.axis.StrCategory)
#: What a skim table may be called: files are named by it.
TABLE_NAME = re.compile(r"\w[\w-]{0,99}", re.ASCII)


def check_result(result: Any) -> Result:
    """`result` itself, where it is a Result that can be added and written; AnalysisError says what is wrong with it."""
    if not isinstance(result, Result):
        raise AnalysisError(
            f"process returned {type(result).__name__}; it must return a Result for every chunk, an empty one too"
        )
    for name, histogram in _named(result.histograms, "histograms"):
        if not isinstance(histogram, bh.Histogram):
            raise AnalysisError(f"histogram {name!r} is {_kind(histogram)}; it must be a boost_histogram.Histogram")
        if any(a.size == 0 and not isinstance(a, _CATEGORIES) for a in histogram.axes):
            raise AnalysisError(f"histogram {name!r} has an axis without bins, on which nothing can be filled")
        _check_text(f"histogram {name!r}", vars(histogram))
        for number, axis in enumerate(histogram.axes):
            _check_text(f"axis {number} of histogram {name!r}", vars(axis))
            if isinstance(axis, bh.axis.StrCategory):
                _check_text(f"a category on axis {number} of histogram {name!r}", list(axis))
            if axis.traits.growth:  # also where these chunks agree: others may not
                raise AnalysisError(
                    f"axis {number} of histogram {name!r} grows with what is filled (growth=True), so that its bins "
                    "depend on the events of a chunk and their order; give it all of its bins or categories, without "
                    "growth=True"
                )
            _check_said(f"axis {number} of histogram {name!r}", axis)
        _check_said(f"histogram {name!r}", histogram)
    for name, array in _named(result.arrays, "arrays"):
        if not isinstance(array, Array):
            refuse_missing(f"array {name!r}", array)
            raise AnalysisError(f"array {name!r} is {_kind(array)}; it must be a vrecompute.Array of numbers")
        values = plain_array(f"array {name!r}", array.values)
        if values.dtype.hasobject:
            raise AnalysisError(f"array {name!r} is {_kind(array)}; it must be a vrecompute.Array of numbers")
        if array.merge == "sum" and values.dtype.kind == "b":
            values = values.astype(np.int64)  # numpy's + of these is `or`
        if values is not array.values:
            result.arrays[name] = Array(values, array.merge)
    # As numbers of Python: those of numpy round where their types differ, and wrap around where they are full.
    result.counters = {n: _number(f"counter {n!r}", x) for n, x in _named(result.counters, "counters")}
    result.cutflow = {
        channel: {cut: _number(f"cut {cut!r} of channel {channel!r}", x) for cut, x in _cuts(channel, cuts)}
        for channel, cuts in _named(result.cutflow, "cutflow")
    }
    for name, _ in _named(result.tables, "tables"):
        if not TABLE_NAME.fullmatch(name):
            raise AnalysisError(f"skim table {name!r}: choose a name of letters, digits, '_' and '-'; it names files")
    return result


def _named(mapping: Any, what: str) -> Any:
    if not isinstance(mapping, Mapping) or not all(isinstance(name, str) for name in mapping):
        raise AnalysisError(f"{what} of the Result must be a mapping of names, not {_kind(mapping)}")
    for name in mapping:
        _check_text(f"a name in {what} of the Result", name)
    return mapping.items()


def _check_said(what: str, described: object) -> None:
    for name, value in vars(described).items():
        try:
            canonical_json(value)
        except ValueError as error:
            raise AnalysisError(f"{what} has {name} {value!r}, which no result can hold; write it as a text") from error
        except TypeError:  # what writes it knows more kinds, and says which it does not know
            continue


def _check_text(what: str, said: Any) -> None:
    """AnalysisError, which shows it, for text that no document could hold: spelled out, two names could become one."""
    if (odd := next((text for text in _texts(said) if not is_utf8(text)), None)) is not None:
        raise AnalysisError(
            f"{what} has text that is not UTF-8, '{shortened(utf8(odd))}', as Python gives it for a file name in "
            "another encoding; write it in UTF-8"
        )


def _texts(said: Any) -> Iterator[str]:
    if isinstance(said, str):
        yield said
    elif isinstance(said, (Mapping, list, tuple)):
        for item in said.items() if isinstance(said, Mapping) else said:
            yield from _texts(item)


def _cuts(channel: str, cuts: Any) -> Any:
    return _named(cuts, f"cutflow of {channel!r}")


def _number(what: str, value: Any) -> Any:
    if not isinstance(value, (Real, np.bool_)):
        refuse_missing(what, value)
        raise AnalysisError(f"{what} is {_kind(value)}; it must be a number")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        raise AnalysisError(f"{what} is a whole number above 1.8e308, the largest that a result holds") from None
    if not finite:
        raise AnalysisError(f"{what} is {float(value)}; it must be a finite number")
    return value.item() if isinstance(value, np.generic) else value


def _kind(value: Any) -> str:
    if isinstance(value, Array):
        value = value.values
    dtype = getattr(value, "dtype", None)
    return f"a {type(value).__name__}" + (f" of {dtype}" if dtype is not None else "")
