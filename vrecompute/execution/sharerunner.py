"""`ShareRunner`: the Runner of one share. It computes a static range of the run's plan, and says how that ended."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from distributed import Client as DaskClient
from numpy.typing import NDArray

from vrecompute.analysis import Analysis
from vrecompute.digest import canonical_json
from vrecompute.execution.collect import Collector
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.plan import Plan, read_plan
from vrecompute.execution.runlog import RunLog
from vrecompute.execution.runner import Runner
from vrecompute.execution.schedule import Task
from vrecompute.execution.share import Share, ShareEnd, shared_plan_name
from vrecompute.execution.stock import Stock, stock
from vrecompute.records import to_data
from vrecompute.results.result import Result
from vrecompute.stores.base import Store
from vrecompute.stores.objects import write_document

__all__ = ["ShareRunner", "died_at"]

_BEGINS = re.compile(r"^chunk ([0-9]{1,18}) begins$", re.MULTILINE)


def died_at(log: str) -> int | None:
    """Which chunk a Runner had begun that died, by the log of its job; None where that does not say.

    >>> died_at("chunk 7 begins\nchunk 8 begins\nKilled")
    8
    """
    begun = _BEGINS.findall(log)
    return int(begun[-1]) if begun else None


class _Silent(RunLog):
    """The log of a Runner among a thousand: none of them speaks for the run, and its job tells that it works."""

    def event(self, kind: str, **facts: Any) -> None:
        """Nothing is recorded."""

    @contextlib.contextmanager
    def speaking(self, facts: Callable[[], Mapping[str, Any]]) -> Iterator[None]:
        """Nothing is recorded."""
        yield


class ShareRunner(Runner):
    """One execution of one share. All shares cut the plan of the first of them that has one.

    With `one_by_one` it prints each chunk before it begins, for readers of the log of its job: see `died_at`.
    """

    cancel_s = 60.0  # a thousand of them ask, and each has a job that can be cancelled

    def __init__(
        self,
        dask: DaskClient,
        store: Store,
        manifest: Manifest,
        analysis: Analysis,
        share: Share,
        *,
        one_by_one: bool = False,
    ) -> None:
        super().__init__(dask, store, manifest, analysis)
        self.share = share
        self.one_by_one = one_by_one
        self.log = _Silent(store, manifest)
        self.planner.begins = share.index / share.count
        self._own = range(0)
        self._opened: set[str] = set()  # origins of its files as the first share found them
        self._there = (0, 0)

    def carry_out(self) -> ShareEnd:
        """Compute the share's chunks and say in the store how that ended. Raises as `execute` does."""
        _, retries = self._worked()
        self.tally.retried(retries)
        self.tally.warnings += self._aside.said()
        end = ShareEnd(
            self.share.index,
            self.share.count,
            self.log.writer,
            os.environ.get("VRECOMPUTE_JOB", ""),
            time.time(),
            tuple(sorted(self.tally.parts)),
            *self._there,
            tuple(self.tally.failures),
            self.tally.counts(),
            {first: now for first, now in self.tally.origins.items() if first in self._opened},
        )
        if not self._cancelled:
            end.write(self.store, self.manifest)
        return end

    def begins(self, task: Task) -> None:
        """Say which chunk comes, where there is one at a time."""
        if self.one_by_one:
            print(f"chunk {task.first} begins", flush=True)

    def _reuse(self, plan: Plan) -> tuple[Plan, Collector]:
        plan = self._settled(plan)
        self._own = self.share.chunks(plan)
        return super()._reuse(plan)

    def _stock(self, plan: Plan) -> Stock:
        return stock(self.store, plan, self.manifest.run, self.planner.prove, settled=True, within=self._own)

    def _settled(self, plan: Plan) -> Plan:
        """The plan of the share that had one first, for the same code, with the files of this share as they are now.

        Files of other shares are left as they were found: each machine may have copies, and no share compares files
        that it does not read.
        """
        name, data = shared_plan_name(self.manifest), to_data(plan)
        first = plan if write_document(self.store, name, "plan", data) else read_plan(self.store, name)
        own = self.share.chunks(first)
        files = [first.sources[number] for number, *_ in first.slices(own.start, own.stop)]
        self._opened = {source.origin for source in files}
        if first.work != plan.work or canonical_json(to_data(first)) == canonical_json(data):
            return plan
        mine = {(source.sample, source.path) for source in files}
        known = first.are_now({place: origin for place, origin in plan.origins.items() if place in mine})
        self.tally.are_now(first, known)
        # what other shares read of a file that changed since can be compared with it only by the digests of all of it
        self.tally.disturbed |= set(known.origins.values()) - set(first.origins.values())
        return known

    def _wanted(self, plan: Plan) -> NDArray[np.bool_]:
        wanted = np.zeros(plan.chunks, dtype=bool)
        wanted[self._own.start : self._own.stop] = True
        return wanted

    def _explain_recomputed(self, plan: Plan, missing: int) -> None:
        """Who merges does, once for all shares."""

    def _merged(self, plan: Plan, collector: Collector) -> dict[str, Result]:
        have = collector.have & self._wanted(plan)
        self.tally.collected(plan, have)
        self._there = int(have.sum()), self.tally.events_seen
        return {}
