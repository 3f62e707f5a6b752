"""Whether two histograms of one name may be added, and which axis keeps them from it."""

from __future__ import annotations

from typing import Any

import boost_histogram as bh
import numpy as np

__all__ = ["unlike"]

_CATEGORIES = (bh.axis.IntCategory, bh.axis.StrCategory)
_FLOW = ("underflow", "overflow", "circular")


def unlike(a: bh.Histogram[Any], b: bh.Histogram[Any]) -> str:
    """What keeps `a` and `b` from being added, and what to do; empty where nothing does.

    boost-histogram itself adds an axis with an overflow bin and one without, though what the latter dropped is lost,
    and axes that grew apart, though not where one of them has been written.
    """
    if len(a.axes) != len(b.axes):
        return f"it has {len(a.axes)} axes in one part of the events and {len(b.axes)} in another; give it the same"
    if a.storage_type is not b.storage_type:
        kinds = f"{a.storage_type.__name__} in one part of the events and {b.storage_type.__name__} in another"
        return f"its storage is {kinds}; give it the same"
    for number, (mine, other) in enumerate(zip(a.axes, b.axes, strict=True)):
        if mine == other:
            continue
        what = f"axis {number}{f' ({label!r})' if (label := _label(mine)) else ''}"
        if not _same_bins(mine, other):
            advice = "give it the same fixed bins in all chunks"
            if mine.traits.growth or other.traits.growth:
                advice += ", without growth=True"
            return f"{what} is {mine!r} in one part of the events and {other!r} in another; {advice}"
        about, others = repr(mine.__dict__), repr(other.__dict__)
        if about != others:
            return f"{what} is called {about} in one part of the events and {others} in another; give it the same"
    return ""


def _same_bins(mine: Any, other: Any) -> bool:
    """Whether two axes have the same bins, within and outside; one that was written no longer says that it may grow."""
    if any(getattr(mine.traits, flow) != getattr(other.traits, flow) for flow in _FLOW) or mine.size != other.size:
        return False
    if isinstance(mine, _CATEGORIES) or isinstance(other, _CATEGORIES):
        return list(mine) == list(other)
    return np.array_equal(mine.edges, other.edges)


def _label(axis: Any) -> str:
    return str(getattr(axis, "name", "") or getattr(axis, "label", "") or axis.metadata or "")
