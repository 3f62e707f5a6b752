"""Arrays that say everything by their numbers: no mask, nothing missing. Why a value is none, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import AnalysisError
from vrecompute.results.promotion import exact_array

__all__ = ["plain_array", "refuse_missing", "why_not_numbers"]


def refuse_missing(what: str, value: Any) -> None:
    """AnalysisError, naming `what`, where entries of `value` are masked or missing.

    Of numpy's masked arrays, alone or in lists, and of arrays of awkward, pandas and pyarrow. numpy takes what lies
    under a mask, or NaN, for the number of such an entry.
    """
    missing, entries = _missing(value)
    if not missing:
        return
    if entries == 1:
        raise AnalysisError(
            f"{what} is masked or missing, as is a mean of nothing, and results have no mask: leave it out, or give it "
            "a value"
        )
    raise AnalysisError(
        f"{missing} of {entries} entries of {what} are masked or missing, and results have no mask: leave them out "
        "(`.compressed()` of a numpy array, `ak.drop_none`), or give them a value (`.filled(x)`, `ak.fill_none`)"
    )


def plain_array(what: str, value: Any) -> NDArray[Any]:
    """`value` as an array without a mask; AnalysisError, naming `what`, where it has missing entries or is no array."""
    refuse_missing(what, value)
    try:
        return np.asarray(exact_array(value))
    except (TypeError, ValueError) as error:
        raise AnalysisError(f"{what} is no array: {why_not_numbers(value) or error}") from error


def why_not_numbers(value: Any) -> str:
    """What keeps `value` from being an array of numbers, and what to do; empty where that is not known."""
    if isinstance(value, str | bytes):
        return "it is text"
    if isinstance(value, Mapping):
        return "it is a mapping within a mapping; give each of its values a name in the outer one"
    if _is_awkward(value):
        return _why_not_awkward(value)
    try:
        kind = np.asarray(value).dtype.kind
    except (TypeError, ValueError):
        return "its parts differ in length; join them end to end, as by np.concatenate"
    return {
        "c": "it holds complex numbers; return .real and .imag under names of their own",
        "U": "it holds text; return numbers",
        "S": "it holds text; return numbers",
        "M": "it holds dates; return numbers, as of .astype('int64')",
        "m": "it holds times; return numbers, as of .astype('int64')",
        "V": "it holds records; return each of their fields under a name",
        "O": "it holds objects of Python that are no numbers" if np.ndim(value) else "",
    }.get(kind, "")


def _why_not_awkward(value: Any) -> str:
    import awkward as ak

    if fields := ak.fields(value):
        return f"it holds records of {', '.join(map(repr, fields))}; return each under a name"
    kind = str(ak.type(value))
    if "string" in kind or "bytes" in kind:
        return "it holds text; return numbers"
    if "complex" in kind:
        return "it holds complex numbers; return ak.real and ak.imag of it under names of their own"
    if "var *" in kind:
        return f"its lists differ in length ({kind}); join them by ak.flatten"
    return f"its type is {kind}"


def _is_awkward(value: Any) -> bool:
    return type(value).__module__.split(".")[0] == "awkward"


def _missing(value: Any) -> tuple[int, int]:
    """How many entries of a value are masked or missing, and how many it has."""
    if isinstance(value, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(value)
        if mask.dtype.names:  # of records: those of which any field is masked
            mask = np.logical_or.reduce([np.ma.getmaskarray(value[name]) for name in mask.dtype.names])
        return int(np.count_nonzero(mask)), int(np.size(mask))
    if isinstance(value, list | tuple):
        parts = [_missing(item) for item in value]
        return sum(n for n, _ in parts), sum(n for _, n in parts)
    if isinstance(value, np.ndarray):
        if value.dtype.kind != "O":
            return 0, value.size
        parts = [_missing(item) for item in value.ravel().tolist()]
        return sum(n for n, _ in parts), sum(n for _, n in parts)
    if _is_awkward(value):
        return _missing_of_awkward(value)
    if hasattr(value, "dtypes") and hasattr(value, "columns"):  # a DataFrame of pandas
        parts = [_missing(column) for _, column in value.items()]
        return sum(n for n, _ in parts), sum(n for _, n in parts)
    nulls = getattr(value, "null_count", None)  # of pyarrow
    if isinstance(nulls, int):
        return nulls, len(value)
    if callable(isna := getattr(value, "isna", None)) and not isinstance(getattr(value, "dtype", None), np.dtype):
        absent = np.asarray(isna())  # of pandas' own types; in one of numpy's, NaN is a number
        return int(np.count_nonzero(absent)), int(absent.size)
    return int(value is None or type(value).__name__ == "NAType"), 1


def _missing_of_awkward(value: Any) -> tuple[int, int]:
    import awkward as ak

    kind = str(ak.type(value))
    if not isinstance(value, ak.Array) or not ("?" in kind or "option[" in kind) or ak.fields(value):
        return 0, 1
    absent = [ak.is_none(value, axis=axis) for axis in range(value.ndim)]
    missing = sum(int(ak.sum(a, axis=None)) for a in absent)
    return missing, missing + int(ak.count(value, axis=None))
