"""`Merger`: ends a run of shares once all of them have: it merges what they left and computes nothing.

Any process may do so, as often as it likes: parts are immutable, and the same parts give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from distributed import Client as DaskClient

from vrecompute.analysis import Analysis
from vrecompute.execution.collect import Collector
from vrecompute.execution.failure import Failure
from vrecompute.execution.gathered import Gathered
from vrecompute.execution.plan import Plan
from vrecompute.execution.runner import Runner
from vrecompute.records import to_data
from vrecompute.results.result import Result
from vrecompute.stores.base import Store
from vrecompute.stores.objects import write_document

__all__ = ["Merger"]


class Merger(Runner):
    """A Runner that has no workers. `lost` names what shares that are given up lack."""

    def __init__(self, store: Store, analysis: Analysis, found: Gathered, lost: Sequence[Failure] = ()) -> None:
        super().__init__(cast(DaskClient, None), store, found.manifest, analysis)
        self.found = found
        for failure in (*found.failures, *lost):
            self.tally.failed(failure)
        for end in found.ends.values():
            self.tally.add(end.counts)
        self.tally.warnings += found.warnings

    def _results(self) -> dict[str, Result]:
        plan, collector = self.found.plan, self.found.collector
        if plan is None or collector is None:
            return {}
        if not self.tally.failures:
            write_document(self.store, self.manifest.plan_name, "plan", to_data(plan))
        self.tally.planned(plan, self.analysis)
        # a share that was begun again found what it had finished before
        self.tally.reused = max(0, int(np.sum(collector.have)) - self.tally.computed)
        self._explain_recomputed(plan, self.tally.computed)
        with self._stage("merge"):
            return self._merged(plan, collector)

    def _merged(self, plan: Plan, collector: Collector) -> dict[str, Result]:
        results = super()._merged(plan, collector)
        self.report(chunks_done=int(collector.have.sum()), chunks_total=plan.chunks, stage="work")
        return results

    def _cluster_lost(self, error: Exception) -> str:
        del error
        return ""
