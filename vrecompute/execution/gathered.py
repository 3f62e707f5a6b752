"""`Gathered`: what the shares of a run have left in the store by now, and which of them are still needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from vrecompute.errors import AbsentObject, DamagedObject, StoreError
from vrecompute.execution.collect import Collector
from vrecompute.execution.failure import Failure, failures_of_chunks
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.parts import read_part
from vrecompute.execution.plan import Plan, PlannedSource, read_plan
from vrecompute.execution.schedule import runs_of
from vrecompute.execution.share import Share, ShareEnd, share_ends, shared_plan_name
from vrecompute.execution.stock import Proofs, is_of, remembered
from vrecompute.stores.base import Store
from vrecompute.stores.objects import set_aside

__all__ = ["Gathered", "gathered"]


@dataclass(frozen=True)
class Gathered:
    """`ends` are the latest ends of shares by their numbers; `collector` has what is in the parts that they name.

    `plan` is None where no share has opened all files yet.
    """

    manifest: Manifest
    ends: Mapping[int, ShareEnd]
    plan: Plan | None = None
    collector: Collector | None = None
    warnings: tuple[str, ...] = field(default=())

    @property
    def have(self) -> int:
        """How many chunks are there."""
        return 0 if self.collector is None else int(self.collector.have.sum())

    @property
    def failures(self) -> list[Failure]:
        """What failed in any share, each once."""
        return list(dict.fromkeys(failure for end in self.ends.values() for failure in end.failures))

    def needed(self) -> list[int]:
        """Numbers of the shares that are to be computed still: none where what failed ends the run."""
        failures, settings = self.failures, self.manifest.settings
        if failures and (settings.on_bad == "fail" or not all(f.skippable for f in failures)):
            return []
        return [n for n in range(self.manifest.shares) if self._lacks(n)]

    def lost(self, share: int, kind: str, reason: str, at: int | None = None) -> list[Failure]:
        """The Failures of all that lacks of a share that is given up; `at` is the chunk that ended it, if known."""
        if self.plan is None or self.collector is None:
            return [Failure(self.manifest.dataset.name, "", kind, reason)]
        lacking = np.zeros(self.plan.chunks, dtype=bool)
        own = Share(share, self.manifest.shares).chunks(self.plan)
        lacking[own.start : own.stop] = ~self.collector.have[own.start : own.stop]
        at = at if at is not None and at in own and lacking[at] else None
        left = f"it was not kept or not begun: share {share} of {self.manifest.shares} was given up at another chunk"
        named: list[Failure] = []
        if at is not None:
            named += failures_of_chunks(self.plan, (at, at + 1), kind, reason)
            lacking[at] = False
        for span in runs_of(lacking):
            named += failures_of_chunks(self.plan, span, kind, reason if at is None else left)
        return named

    def _lacks(self, number: int) -> bool:
        if self.plan is None or self.collector is None:
            return number not in self.ends
        if number in self.ends and self.ends[number].failures:
            return False  # the others of its chunks were computed
        own = Share(number, self.manifest.shares).chunks(self.plan)
        return not bool(self.collector.have[own.start : own.stop].all())


def gathered(store: Store, manifest: Manifest) -> Gathered:
    """What is there. Parts that are damaged are set aside, and lack. ValueError where Results do not combine."""
    ends, damaged = share_ends(store, manifest)
    try:
        plan = read_plan(store, shared_plan_name(manifest))
    except AbsentObject:
        return Gathered(manifest, ends, warnings=tuple(damaged))
    plan, doubted = _as_last_read(plan, ends)
    proofs: Proofs = {s.proof: remembered(store, s.proof) or () for s in doubted}
    collector = Collector(plan)
    for name in dict.fromkeys(name for end in ends.values() for name in end.parts):
        try:
            collector.add(node for node in read_part(store, name) if is_of(node, doubted, proofs))
        except DamagedObject as error:
            set_aside(store, name, error)
        except StoreError:
            if store.exists(name):
                raise
    return Gathered(manifest, ends, plan, collector, tuple(damaged))


def _as_last_read(plan: Plan, ends: Mapping[int, ShareEnd]) -> tuple[Plan, list[PlannedSource]]:
    """The plan of files as the share found them that ended last, and those that changed while shares read them."""
    latest: dict[str, str] = {}
    for end in sorted(ends.values(), key=lambda end: end.ended):
        latest |= end.origins
    now = plan.are_now({place: latest.get(origin, origin) for place, origin in plan.origins.items()})
    keys = {a.key for a, b in zip(now.sources, plan.sources, strict=True) if a.origin != b.origin}
    return now, [source for source in now.sources if source.key in keys]
