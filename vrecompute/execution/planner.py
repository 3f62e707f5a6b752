"""`Planner`: from the sources of a run to its plan, and to its parts in the store; the reading is done by workers.

preflight (cached) -> files that look alike told apart -> plan -> stored parts, proved where in doubt
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

from distributed import Client as DaskClient

from vrecompute import reader
from vrecompute.analysis import Analysis
from vrecompute.datasets.dataset import Source
from vrecompute.digest import canonical_json
from vrecompute.errors import BadInput
from vrecompute.execution.byvalue import Packed
from vrecompute.execution.collect import Collector
from vrecompute.execution.failure import Failure
from vrecompute.execution.hands import Hands
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.plan import Plan, PlannedSource, read_plan
from vrecompute.execution.planning import planned
from vrecompute.execution.pool import Finished, TaskPool
from vrecompute.execution.preflight import PreflightContext, preflight, preflight_failure, told_here
from vrecompute.execution.replicas import note_replicas
from vrecompute.execution.runner_walltime import RunnerWalltime
from vrecompute.execution.signer import Signer
from vrecompute.execution.spread import spread
from vrecompute.execution.stock import (
    Proofs,
    Stock,
    chunk_digests,
    in_batches,
    kept,
    remember,
    source_digests,
    stock,
)
from vrecompute.execution.tally import Tally
from vrecompute.execution.wholefile import whole_sha256
from vrecompute.execution.workkey import sample_views
from vrecompute.records import to_data
from vrecompute.stores.base import Store
from vrecompute.stores.objects import write_document

__all__ = ["Planner"]

_BATCH = 16
_TICK_S = 0.5


class _Watch(Protocol):
    """What a Runner lets its Planner know and tell."""

    @property
    def over(self) -> bool: ...
    def look_around(self, pool: TaskPool, ended: Finished | None) -> None: ...
    def report(self, **changes: object) -> None: ...


class Planner:
    """Plans one run. Failures and warnings go to `tally`."""

    def __init__(
        self,
        dask: DaskClient,
        store: Store,
        manifest: Manifest,
        tally: Tally,
        walltime: RunnerWalltime,
        watch: _Watch,
        hands: Hands | None,
        signer: Signer | None,
    ) -> None:
        self.dask = dask
        self.store = store
        self.manifest = manifest
        self.settings = manifest.settings
        self.tally = tally
        self.walltime = walltime
        self.watch = watch
        self.hands = hands
        self.signer = signer
        #: Where among the sources preflight begins: Runners of a run that begin apart open each other fewer of them.
        self.begins = 0.0
        # What workers open.
        self._url = store.url if hands is None else hands.url

    def plan(self, analysis: Analysis, work: str, packed: Packed) -> Plan:
        """What preflight found of all sources."""
        samples = {s.name: s for s in self.manifest.dataset.samples}
        views = sample_views(self.manifest)
        context = PreflightContext(
            *(analysis, samples, views, work, self.settings.chunk_bytes, self._url),
            code=packed.code.parts,
            unnamed=self.manifest.unnamed,
        )
        found = planned(self.manifest, context, _Workers(self, packed))
        for failure in dict.fromkeys(found.failures):  # that of a store is the same for each source
            self.tally.failed(failure)
        return found.plan

    def stock(self, plan: Plan) -> Stock:
        """The plan that the run keeps, and what the store has of it.

        Raises ValueError where stored Results cannot be combined, StoreError where the run's plan cannot be read.
        """
        run = self.manifest.run
        found = stock(self.store, plan, run, self.prove)
        known = self._settled(found.plan)
        return found if known is found.plan else stock(self.store, known, run, self.prove, settled=True)

    def _settled(self, plan: Plan) -> Plan:
        """The first Runner's plan is the run's plan, of files as they are now: those that changed since are caught."""
        name = self.manifest.plan_name
        data = to_data(plan)
        if self.watch.over or self.tally.failures or write_document(self.store, name, "plan", data):
            return plan
        first = read_plan(self.store, name)
        known = first.are_now(plan.origins)
        self.tally.are_now(first, known)
        return known if known.work == plan.work and canonical_json(to_data(known)) != canonical_json(data) else plan

    def preflight(
        self, packed: Packed, context: PreflightContext, sources: Sequence[Source]
    ) -> list[PlannedSource | Failure]:
        """What workers find of sources; see `preflight`."""
        batches = [sources[i : i + _BATCH] for i in range(0, len(sources), _BATCH)]
        begins = int(self.begins * len(batches))
        batches = [*batches[begins:], *batches[:begins]]

        def looking(ended: Finished | None, done: int) -> None:
            opened = min(done * _BATCH, len(sources))
            for failure in ended.value if ended is not None and ended.how == "done" else ():
                if isinstance(failure, Failure) and failure.kind == "credentials":
                    self.tally.failed(failure)  # those of other files would be the same
            if ended is None and self.walltime.is_up:
                self.walltime.not_opened(self.manifest.dataset.name, opened, len(sources))
            self.watch.report(stage="preflight", sources_total=len(sources), sources_done=opened)

        self.watch.report(stage="preflight", sources_total=len(sources), sources_done=0)
        # Dask takes equal names for equal tasks: each round over the sources has its own.
        label = f"preflight-{context.work[:8]}-{len(context.optional)}"
        ended = self._spread(label, preflight, context, batches, looking, packed)
        found: list[PlannedSource | Failure] = []
        for number in sorted(ended, key=lambda number: (number + begins) % len(batches)):
            end = ended[number]
            found += (
                end.value if end.how == "done" else [preflight_failure(end, s, self.store.url) for s in batches[number]]
            )
        return [told_here(each) for each in found]

    def whole(self, alike: Sequence[PlannedSource]) -> dict[str, str | None]:
        """The sha256 of whole files by path; one that cannot be read is not among them."""
        ended = self._spread("alike", whole_sha256, self._url, [source.places for source in alike])
        return {alike[number].path: end.value for number, end in ended.items() if end.how == "done"}

    def prove(self, sources: Sequence[PlannedSource]) -> Proofs:
        """What the chunks of sources hold, where all of them could be read; kept in the store."""
        batches = in_batches(sources)
        ended = self._spread("prove", chunk_digests, self._url, batches)
        found: dict[str, list[str]] = {s.proof: [] for s in sources}
        for number, (source, _, _) in enumerate(batches):
            if number in ended and ended[number].how == "done":
                digests, _, as_planned = ended[number].value
                found[source.proof] += digests
                self.tally.disturbed |= set() if as_planned else {source.origin}
        whole = {s.proof: tuple(found[s.proof]) for s in sources if len(found[s.proof]) == s.chunks}
        for name, digests in whole.items():
            remember(self.store, name, digests)
        return whole

    def again(self, plan: Plan) -> tuple[Plan, Collector, set[str]]:
        """The plan with its disturbed sources as they are now, what the run has of that, and the names of its parts.

        Nothing is disturbed then, until something is read that is of neither.
        """
        keys = {s.key for s in plan.sources if s.origin in self.tally.disturbed}
        disturbed = [s for s in plan.sources if s.key in keys]
        self.tally.disturbed.clear()
        proofs: Proofs = {}
        for number, end in self._spread("compare", source_digests, self._url, disturbed).items():
            if end.how == "done":
                digests, origin, _ = end.value
                disturbed[number] = replace(disturbed[number], origin=origin)
                proofs[disturbed[number].proof] = tuple(digests)
                remember(self.store, disturbed[number].proof, digests)
        others = [s for s in plan.sources if s.key not in keys]
        now = Plan.of(plan.work, plan.samples, [*others, *disturbed], plan.chunk_bytes)
        self.tally.are_now(plan, now)
        return now, *kept(self.store, now, self.tally.parts, disturbed, proofs)

    def _spread(
        self,
        label: str,
        function: Callable[..., Any],
        shared: Any,
        batches: Sequence[Any],
        looking: Callable[[Finished | None, int], None] = lambda ended, done: None,
        packed: Packed | None = None,
    ) -> dict[int, Finished]:
        def look(ended: Finished | None, done: int) -> None:
            self.watch.look_around(pool, ended)
            looking(_plain(ended) if ended is not None else None, done)

        pool = TaskPool(self.dask, f"{label}-{self.manifest.run}", hands=self.hands, signer=self.signer)
        with pool:
            ended = spread(
                pool,
                partial(_counting, function),
                pool.share(shared, packed),
                batches,
                over=lambda: self.watch.over,
                tick_s=_TICK_S,
                looking=look,
            )
        for end in ended.values():
            if end.how == "done":
                self.tally.retried(end.value.retries)
                self.tally.read_elsewhere(end.value.elsewhere)
                self.tally.traffic.add(end.value.links)
        return {number: _plain(end) for number, end in ended.items()}


@dataclass(frozen=True)
class _Workers:
    """The eyes of a Runner."""

    planner: Planner
    packed: Packed

    def look(self, context: PreflightContext, sources: Sequence[Source]) -> list[PlannedSource | Failure]:
        return self.planner.preflight(self.packed, context, sources)

    def whole(self, alike: Sequence[PlannedSource]) -> dict[str, str | None]:
        return self.planner.whole(alike)


class _Counted(NamedTuple):
    """What a call gave or raised on a worker, and what it cost: reads tried again, replicas, and traffic by link."""

    given: Any
    raised: BadInput | None
    retries: list[str]
    elsewhere: list[str]
    links: Any


def _counting(function: Callable[..., Any], shared: Any, batch: Any) -> _Counted:
    """Call the function on a worker. What was tried again for a file that could not be read in the end counts too."""
    retries, notes, traffic = reader.count_retries(), note_replicas(), reader.count_traffic()
    given, raised = None, None
    try:
        given = function(shared, batch)
    except BadInput as error:
        raised = error
    return _Counted(given, raised, retries, list(notes.told), traffic.links)


def _plain(ended: Finished) -> Finished:
    """How the call ended that was counted."""
    if ended.how != "done":
        return ended
    counted: _Counted = ended.value
    if counted.raised is not None:
        return replace(ended, how="raised", value=counted.raised)
    return replace(ended, value=counted.given)
