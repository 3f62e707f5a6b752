"""Certified luminosity: which events of data a golden JSON declares good."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import DatasetError

__all__ = ["certified_mask", "read_golden"]

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
    """The certified ranges of a golden JSON, `{"run": [[first, last], ...]}`; DatasetError where it is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {int(run): [(int(first), int(last)) for first, last in ranges] for run, ranges in content.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path}: not a list of certified luminosity sections, which looks like "
            f'{{"190645": [[10, 110], [120, 130]]}}: {error}'
        ) from error
