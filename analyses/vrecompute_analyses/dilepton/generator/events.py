"""`EventBatch`: generated events as flat columns, before they get the names and units of a file layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Collection", "EventBatch", "truncate_mantissa"]


@dataclass(frozen=True)
class Collection:
    """Objects per event: `counts` of shape (events,), and members of shape (sum of counts,)."""

    counts: NDArray[np.int64]
    members: Mapping[str, NDArray[Any]]

    def sliced(self, start: int, stop: int) -> Collection:
        """The objects of events [start, stop)."""
        first, last = int(self.counts[:start].sum()), int(self.counts[:stop].sum())
        return Collection(self.counts[start:stop], {n: v[first:last] for n, v in self.members.items()})


@dataclass(frozen=True)
class EventBatch:
    """Consecutive events: one value per event in `scalars`, lists of objects in `collections`; momenta in GeV."""

    scalars: Mapping[str, NDArray[Any]]
    collections: Mapping[str, Collection]

    def __len__(self) -> int:
        return len(next(iter(self.scalars.values())))

    def sliced(self, start: int, stop: int) -> EventBatch:
        """Events [start, stop) of this batch."""
        return EventBatch(
            {n: v[start:stop] for n, v in self.scalars.items()},
            {n: c.sliced(start, stop) for n, c in self.collections.items()},
        )

    @classmethod
    def joined(cls, batches: Sequence[EventBatch]) -> EventBatch:
        """The events of several batches, in order."""
        if len(batches) == 1:
            return batches[0]
        first = batches[0]
        scalars = {n: np.concatenate([b.scalars[n] for b in batches]) for n in first.scalars}
        collections = {}
        for name, collection in first.collections.items():
            parts = [b.collections[name] for b in batches]
            members = {m: np.concatenate([p.members[m] for p in parts]) for m in collection.members}
            collections[name] = Collection(np.concatenate([p.counts for p in parts]), members)
        return cls(scalars, collections)


def truncate_mantissa(values: NDArray[Any], bits: int) -> NDArray[np.float32]:
    """float32 rounded to `bits` of its 23 mantissa bits, as NanoAOD does: noise bits do not compress."""
    drop = 23 - bits
    pattern = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = (pattern + np.uint32(1 << (drop - 1))) & np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)
    return rounded.view(np.float32)
