"""`stocktaking`: what of a store no remaining run needs, and how it is removed while Runners are at work.

A run that has ended complete needs its own objects, resources and code; with skim tables also the parts and rows of
its work. Any other may be resumed, and needs all parts of its work; where it has no plan that could be read, all that
were written since it was made. Everything else that no run needs can be made again: parts, rows, what is known of
files, resources; results and products that no outcome tells of; what was set aside; what deleted runs left.

Nothing is removed that was written or used in the last seven days. What a Runner takes it has refreshed before it
looks at it, and whatever was refreshed after the stock was taken stays: neither waits for the other.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from vrecompute.errors import RunError, StoreError
from vrecompute.execution.manifest import Manifest, read_manifest
from vrecompute.execution.plan import read_plan
from vrecompute.execution.runlog import outcomes
from vrecompute.stores.base import ASIDE, Entry, Store
from vrecompute.units import bytes_option

__all__ = ["YOUNGEST_S", "Stocktaking", "stocktaking"]

#: Nothing younger is removed, in seconds.
YOUNGEST_S = 7 * 86_400.0
# The clocks of a client and of a file server may disagree by this much.
_SKEW_S = 86_400.0
# So many objects are removed before new runs are looked for.
_BATCH = 256


@dataclass
class _Need:
    """What one run needs besides its own documents: exact names, all of some works, and parts written `since`."""

    names: set[str] = field(default_factory=set)
    works: set[str] = field(default_factory=set)
    since: float = float("inf")
    outputs: bool = False  # all of its results and products
    unknown: str = ""  # why nothing of this can be told


@dataclass(frozen=True)
class Stocktaking:
    """What could go, oldest first, of `total_bytes`; `unread` says of which runs it is not known what they need."""

    store: Store
    garbage: tuple[Entry, ...]
    total_bytes: int
    unread: tuple[str, ...]
    before: float
    needs: _Needs

    @property
    def bytes(self) -> int:
        """Bytes that could go."""
        return sum(entry.size for entry in self.garbage)

    def remove(self) -> Iterator[Entry | StoreError]:
        """Remove it piece by piece, and give what went, or why it could not; what is needed by now stays."""
        for first in range(0, len(self.garbage), _BATCH):
            self.needs.look()
            for entry in self.garbage[first : first + _BATCH]:
                try:
                    if not self.needs.of(entry) and self.store.retire(entry.name, self.before):
                        yield entry
                except StoreError as error:
                    yield error


def stocktaking(
    store: Store, *, older_than_s: float = 0.0, most_bytes: int | str | None = None, keep: Collection[str] = ()
) -> Stocktaking:
    """What may be removed of a store: older than `older_than_s`, and no more than brings it down to `most_bytes`.

    Runs in `keep` need all parts of their work, though they ended complete.
    """
    before = time.time() - max(older_than_s, YOUNGEST_S)
    entries = list(store.entries(""))  # before runs are asked: one that begins meanwhile has refreshed what it takes
    needs = _Needs(store, {work for e in entries if (work := _work_with_tables(e.name))}, frozenset(keep))
    needs.look()
    total = sum(entry.size for entry in entries)
    found = sorted((e for e in entries if e.written < before and not needs.of(e)), key=lambda e: (e.written, e.name))
    if (most := bytes_option("most_bytes", most_bytes)) is not None:
        found = list(_oldest(found, total - most))
    return Stocktaking(store, tuple(found), total, needs.unread, before, needs)


def _oldest(entries: Sequence[Entry], excess_bytes: int) -> Iterator[Entry]:
    for entry in entries:
        if excess_bytes <= 0:
            return
        excess_bytes -= entry.size
        yield entry


def _work_with_tables(name: str) -> str:
    parts = name.split("/")
    return parts[1] if parts[0] == "work" and parts[2:3] == ["tables"] else ""


class _Needs:
    """What all runs of a store need together. What a run needs is read once."""

    def __init__(self, store: Store, with_tables: Collection[str], keep: frozenset[str]) -> None:
        self.store = store
        self.with_tables = with_tables
        self.keep = keep
        self._of: dict[str, _Need] = {}
        self._all = _Need()

    @property
    def unread(self) -> tuple[str, ...]:
        """Of which runs it cannot be told, and why."""
        return tuple(need.unknown for need in self._of.values() if need.unknown)

    def look(self) -> None:
        """Take in runs that came since, and forget those that were deleted."""
        runs = [run for run in self.store.children("runs") if self.store.exists(f"runs/{run}/manifest.json")]
        # one without a plan may have got it by now
        known = {run: need for run, need in self._of.items() if need.since == float("inf") and not need.unknown}
        self._of = {run: known.get(run) or self._need(run) for run in runs}
        each = self._of.values()
        self._all = _Need(
            set().union(*(need.names for need in each)),
            set().union(*(need.works for need in each)),
            min((need.since for need in each), default=float("inf")),
            unknown=" ".join(self.unread),
        )

    def of(self, entry: Entry) -> bool:
        """Whether some run needs an object, or it is none that could be made again."""
        top, _, rest = entry.name.partition("/")
        owner, _, inner = rest.partition("/")
        if top == "runs":
            need = self._of.get(owner)
            output = inner.startswith(("results/", "products/"))
            return need is not None and (need.outputs or not output or entry.name in need.names)
        if top == "work":
            return bool(self._all.unknown) or owner in self._all.works or entry.written > self._all.since
        if top in {"blobs", "sources"}:
            return bool(self._all.unknown) or entry.name in self._all.names
        return top not in {ASIDE, "probe"}

    def _need(self, run: str) -> _Need:
        try:
            manifest = read_manifest(self.store, run)
        except (StoreError, RunError) as error:
            return _Need(outputs=True, unknown=str(error))
        ended, damaged = outcomes(self.store, run)
        need = _Need({*manifest.resources.values(), *manifest.certified.values(), *manifest.source_files.values()})
        for end in ended:
            need.names |= {end.outcome.result or "", *end.outcome.product_files.values()}
        need.outputs = bool(damaged)
        complete = bool(ended) and ended[0].outcome.summary.status == "complete"
        try:
            plan = read_plan(self.store, manifest.plan_name)
        except StoreError:
            need.since = _made(manifest) - _SKEW_S
            return need
        if not complete or run in self.keep or plan.work in self.with_tables:
            need.works.add(plan.work)
            need.names |= {name for source in plan.sources for name in (source.sidecar, source.proof)}
        return need


def _made(manifest: Manifest) -> float:
    try:
        return datetime.fromisoformat(manifest.created).timestamp()
    except ValueError:
        return 0.0
