"""`planned`: the plan of a run, by what looks at its sources: workers, or `explain`, which opens no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from vrecompute.datasets.dataset import Source
from vrecompute.execution.failure import Failure
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.plan import Plan, PlannedSource
from vrecompute.execution.preflight import (
    PreflightContext,
    lookalikes,
    plan_grid,
    settled,
    told_apart,
    without_twins,
)

__all__ = ["Eyes", "Planned", "planned", "with_empty_chunks", "within"]


class Eyes(Protocol):
    """What looks at sources."""

    def look(self, context: PreflightContext, sources: Sequence[Source]) -> list[Any]:
        """For each source a PlannedSource, or a Failure, or None where that is not known without opening it."""

    def whole(self, alike: Sequence[PlannedSource]) -> Mapping[str, str | None]:
        """By path, the sha256 of whole files; None where that is not known without reading it."""


@dataclass(frozen=True)
class Planned:
    """A plan of the sources that are known, what is wrong with others, and how many are not known."""

    plan: Plan
    failures: tuple[Failure, ...] = ()
    unknown: int = 0


def planned(manifest: Manifest, context: PreflightContext, eyes: Eyes) -> Planned:
    """The plan of what `eyes` see of the sources of a run."""
    found: Sequence[PlannedSource | Failure | None] = []
    if not manifest.grids:
        found = settled(context, manifest.dataset.sources, eyes.look)
    failures = [item for item in found if isinstance(item, Failure)]
    sources = [item for item in found if isinstance(item, PlannedSource)]
    if paths := lookalikes(sources):
        sha256 = eyes.whole([next(s for s in sources if s.path == path) for path in paths])
        sources = [source for source in sources if sha256.get(source.path, "") is not None]
        sources = told_apart(sources, {path: digest for path, digest in sha256.items() if digest is not None})
    sources += [
        plan_grid(g, s, context.view(s, f"grid:{g.name}")) for g in manifest.grids for s in context.samples.values()
    ]
    unknown = len(found) - len(failures) - sum(s.kind != "grid" for s in sources)
    sources, twins = without_twins(sources, allow=manifest.settings.allow_duplicates)
    cut = with_empty_chunks(within(sources, manifest.settings.max_events))
    plan = Plan.of(context.work, manifest.dataset.samples, cut, manifest.settings.chunk_bytes)
    return Planned(plan, (*failures, *twins), unknown)


def within(sources: Sequence[PlannedSource], most: int | None) -> list[PlannedSource]:
    """The first `most` events of each sample, in the order of plans; all where it is None.

    Whole chunks stay what they are, so that a run of everything may reuse what it can of them.
    """
    if most is None:
        return list(sources)
    left: dict[str, int] = {}
    chosen = []
    for source in sorted(sources, key=lambda s: (s.rank, s.identity)):
        room = left.setdefault(source.sample, most)
        if source.end <= room:
            chosen.append(source)
        elif room:
            chosen.append(replace(source, bounds=(*(b for b in source.bounds if b < room), room)))
        left[source.sample] = max(0, room - source.end)
    return chosen


def with_empty_chunks(sources: Sequence[PlannedSource]) -> list[PlannedSource]:
    """The same sources, where the first of a sample without any events has one chunk, of no events.

    So `process` is called for each sample, and its Result has the names that it has of events, with zeros. Other empty
    sources are not cut: nothing of them is read, and nothing can fail.
    """
    counted = {source.sample for source in sources if source.entries}
    chosen = {s.sample: s for s in sorted(sources, key=lambda s: (s.rank, s.identity), reverse=True)}
    return [replace(s, bounds=(0, 0)) if s.sample not in counted and s is chosen[s.sample] else s for s in sources]
