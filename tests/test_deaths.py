"""A chunk that kills its workers: run alone, then named with limit and peak, while all others are computed."""

from __future__ import annotations

from dataclasses import dataclass

from tests.events import write_events
from vrecompute import Client
from vrecompute.backend import JobStatus, State
from vrecompute.dataset import Sample
from vrecompute.deaths import lost_chunk
from vrecompute.plan import Plan, PlannedSource

HOG = """
import time

import numpy as np

from vrecompute import Analysis, Result


class Hog(Analysis):
    name = "hog"

    def columns(self, source):
        return ["Muon_pt"]

    def process(self, events):
        if events.start == 300:
            held = np.ones(100_000_000)  # 800 MB
            time.sleep(5)
            del held
        return Result(counters={"events": float(len(events))})
"""


def test_a_chunk_that_can_never_fit_ends_partial_and_costs_no_other_chunk(tmp_path):
    write_events(tmp_path / "a.root")
    (tmp_path / "hog.py").write_text(HOG)
    with Client(workers=2, memory_bytes=600 << 20, store=tmp_path / "store") as client:
        run = client.run(
            str(tmp_path / "hog.py"),
            str(tmp_path / "a.root"),
            chunk_bytes=1500,
            task_chunks=2,
            on_bad="skip",
            max_bad=1,
        )
        report = run.report(timeout_s=150)
    assert report.status == "partial"
    assert report.exit_code == 3
    assert (report.chunks.total, report.chunks.computed, report.chunks.failed) == (20, 19, 1)
    (failure,) = report.failures
    assert failure.chunk == (300, 350)
    assert "also when it ran alone" in failure.reason
    assert "of the 629.1 MB of its worker" in failure.reason


@dataclass
class Killed(Exception):
    last_worker: object


@dataclass
class Worker:
    address: str


def test_the_batch_system_s_word_is_passed_on():
    source = PlannedSource("/a.root", "s", "ttree", "t", "u", 1, 10, ("x",), (0, 5, 10), {})
    plan = Plan.of("w", [Sample("s")], [source], 1)
    status = JobStatus(State.OOM, reason="job 7 on c1 used 2.1 of 2.0 GiB")
    failure = lost_chunk(plan, 1, Killed(Worker("tcp://c1:1")), {"tcp://c1:1": status}, {})
    assert failure.kind == "memory"
    assert failure.skippable
    assert "job 7 on c1 used 2.1 of 2.0 GiB" in failure.reason
    assert (failure.start, failure.stop) == (5, 10)
