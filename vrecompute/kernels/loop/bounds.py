"""The check of every index that a physicist's function gives to a column: a neighbour's value is never read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import AnalysisError
from vrecompute.kernels.loop.inline import inline
from vrecompute.kernels.loop.source_map import Where

__all__ = ["OutsideEvent", "Site", "inside", "item", "no_fault", "outside"]


@dataclass(frozen=True)
class Site:
    """A place where something is read by index, in the user's words: `thing` is `muon.pt` of `muon`, or a tuple."""

    where: Where
    thing: str
    index: str
    collection: str | None = None


class OutsideEvent(AnalysisError):
    """An index outside its event, number `event` of the chunk, from 0; `place` says which that is for the user."""

    def __init__(self, site: Site, event: int, index: float, length: int) -> None:
        super().__init__(site, event, index, length)
        self.site, self.event, self.index, self.length = site, event, index, length
        self.place = f"event {event} of the chunk"

    def __str__(self) -> str:
        site = self.site
        length = f"len({site.collection or site.thing})"
        return (
            f"{site.where}: {site.thing}[{site.index}] is read at index {self.index:.15g} in {self.place}, where "
            f"{length} is {self.length}; compare the index with {length} before"
        )


def no_fault() -> NDArray[np.float64]:
    """What the loop notes of an access outside: site, event, index and length."""
    return np.full(4, -1.0)


@inline
def refuse(index: Any, length: int, fault: NDArray[np.float64], site: int, entry: int) -> None:
    """Note the access and end the loop."""
    fault[0] = site
    fault[1] = entry
    fault[2] = index
    fault[3] = length
    raise IndexError("an index is outside its event")


@inline
def inside(index: Any, length: int, fault: NDArray[np.float64], site: int, entry: int) -> Any:
    """`index` where it is that of one of an event's objects."""
    if not (0 <= index < length and index == int(index)):
        refuse(index, length, fault, site, entry)
    return index


@inline
def item(values: Any, index: Any, fault: NDArray[np.float64], site: int, entry: int) -> Any:
    """`values[index]` of a tuple; a negative index counts from the end, as in Python."""
    if not (-len(values) <= index < len(values) and index == int(index)):
        refuse(index, len(values), fault, site, entry)
    return values[int(index)]


def outside(fault: NDArray[np.float64], sites: Sequence[Site]) -> OutsideEvent | None:
    """The error of the access that a loop has noted."""
    if fault[0] < 0:
        return None
    site, event, index, length = fault.tolist()
    return OutsideEvent(sites[int(site)], int(event), index, int(length))
