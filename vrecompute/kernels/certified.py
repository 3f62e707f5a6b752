"""Certified luminosity: which events of data a golden JSON declares good."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import DatasetError
from vrecompute.regular_file import read_regular

__all__ = ["certified_mask", "read_golden"]

# Those of experiments have about 100 kB.
_MAX_BYTES = 16 << 20

Golden = Mapping[int, Sequence[tuple[int, int]]]


def certified_mask(run: NDArray[Any], section: NDArray[Any], golden: Golden) -> NDArray[np.bool_]:
    """True for every event whose luminosity section lies in one of its run's ranges, ends included.

    `run` and `section` are integers of shape (events,); `golden` maps a run number to its ranges.
    """
    good = np.zeros(len(run), dtype=np.bool_)
    for number in np.unique(run):
        of_run = run == number
        for first, last in golden.get(int(number), ()):
            good |= of_run & (section >= first) & (section <= last)
    return good


def read_golden(path: Path) -> Golden:
    """The certified ranges of a golden JSON, `{"run": [[first, last], ...]}`; DatasetError where it is not one.

    Nothing in it is repaired: a run given twice, a range that runs backwards or a number that is not whole is an error.
    """
    try:
        text = read_regular(path, _MAX_BYTES)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        if len(text) > _MAX_BYTES:
            raise ValueError(f"larger than {_MAX_BYTES >> 20} MiB")
        content = json.loads(text, object_pairs_hook=_Pairs)
        if not isinstance(content, _Pairs):
            raise ValueError("the outermost value is not a mapping of runs")
        return _golden(content)
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            f"{path}: not a list of certified luminosity sections, which looks like "
            f'{{"190645": [[10, 110], [120, 130]]}}: {error}'
        ) from error


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its keys as they stand, repeated ones too."""


def _golden(content: _Pairs) -> Golden:
    golden: dict[int, list[tuple[int, int]]] = {}
    for key, ranges in content:
        if not re.fullmatch("[0-9]{1,18}", key):
            raise ValueError(f"run {key[:40]!r} is not a whole number")
        if (run := int(key)) in golden:
            raise ValueError(f"run {run} is given twice; put all its ranges into one list")
        if not isinstance(ranges, list) or isinstance(ranges, _Pairs):
            raise ValueError(f"run {run}: expected a list of ranges")
        golden[run] = [_range(f"run {run}, range {number}", given) for number, given in enumerate(ranges, 1)]
    return golden


def _range(place: str, given: Any) -> tuple[int, int]:
    if not isinstance(given, list) or isinstance(given, _Pairs) or len(given) != 2:
        raise ValueError(f"{place}: expected [first, last]")
    for section in given:
        # True is a number to Python
        if type(section) is not int or not 0 <= section < 1 << 63:
            raise ValueError(f"{place}: {json.dumps(section)[:40]} is not the number of a luminosity section")
    first, last = given
    if first > last:
        raise ValueError(f"{place}: [{first}, {last}] runs backwards")
    return first, last
