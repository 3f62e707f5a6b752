"""`Share`: a static range of the chunks of a run, which one of its jobs computes alone; and `ShareEnd`, how it ended.

    runs/<run>/shares/plan.json                 the plan that all shares of the run cut alike
    runs/<run>/shares/<number>/<writer>.json    how a Runner of that share ended

A share says nothing of how the run ended: that is found out once all of them have, by `Merger`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from vrecompute.errors import StoreError, UsageError
from vrecompute.execution.counts import Counts
from vrecompute.execution.failure import Failure
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.plan import Plan
from vrecompute.records import ADDED, from_data, to_data
from vrecompute.stores.base import Store
from vrecompute.stores.objects import read_document, write_document

__all__ = ["Share", "ShareEnd", "share_ends", "shared_plan_name"]


@dataclass(frozen=True)
class Share:
    """Number `index`, from 0, of `count` shares."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UsageError(f"share {self}: write I/N with I from 0 to N-1, such as 0/40")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Share:
        """The share of a text such as 3/40; UsageError for any other.

        >>> Share.parse("3/40")
        Share(index=3, count=40)
        """
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal()):
            raise UsageError(f"share {text!r}: write I/N with I from 0 to N-1, such as 0/40")
        return cls(int(index), int(count))

    def chunks(self, plan: Plan) -> range:
        """Numbers of its chunks: whole chunks, near an equal number of events in each share.

        A function of the plan alone; shares of a count take each chunk once. Some have none where chunks are few.
        """
        widths = plan.table[:, 2] - plan.table[:, 1]
        before = np.cumsum(widths) - widths
        owners = np.minimum(before * self.count // max(1, plan.events), self.count - 1)
        first, last = np.searchsorted(owners, [self.index, self.index + 1])
        return range(int(first), int(last))


@dataclass(frozen=True)
class ShareEnd:
    """How one Runner of a share ended: the parts that its chunks are in, what failed, and what it cost.

    `parts` are store names: of what it computed, and of what was there. `chunks` and `events` are how many of the
    share are in them. `job` is the native id, `ended` in seconds since 1970. `origins` are as in an Outcome.
    """

    share: int
    count: int
    writer: str
    job: str
    ended: float
    parts: tuple[str, ...]
    chunks: int = 0
    events: int = 0
    failures: tuple[Failure, ...] = ()
    counts: Counts = field(default_factory=Counts)
    origins: Mapping[str, str] = field(default_factory=dict, metadata=ADDED)

    def write(self, store: Store, manifest: Manifest) -> None:
        """Make it durable."""
        write_document(store, f"{_prefix(manifest)}{self.share:05}/{self.writer}.json", "share", to_data(self))


def share_ends(
    store: Store, manifest: Manifest, kept: dict[str, ShareEnd] | None = None
) -> tuple[Mapping[int, ShareEnd], list[str]]:
    """The latest end of each share, by its number, and why others cannot be read; `kept` ones are not read again."""
    found: dict[int, ShareEnd] = {}
    damaged: list[str] = []
    kept = {} if kept is None else kept
    for name in store.names(_prefix(manifest).removesuffix("/")):
        if name == shared_plan_name(manifest):
            continue
        try:
            end = kept.get(name) or read_document(store, name, "share", lambda raw: from_data(ShareEnd, raw))
            kept[name] = end
        except StoreError as error:
            damaged.append(str(error))
            continue
        if end.count == manifest.shares and (end.share not in found or end.ended > found[end.share].ended):
            found[end.share] = end
    return found, damaged


def shared_plan_name(manifest: Manifest) -> str:
    """Where the plan is that the shares of a run cut; it lacks sources that its first Runner could not use."""
    return f"{_prefix(manifest)}plan.json"


def _prefix(manifest: Manifest) -> str:
    return f"{manifest.prefix}shares/"
