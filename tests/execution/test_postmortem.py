"""A chunk that kills its workers: run alone, then named with limit and peak, while all others are computed."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

import pytest

from tests.events import write_events
from vrecompute import Client
from vrecompute.batch.contract import JobStatus, State
from vrecompute.datasets.dataset import Sample
from vrecompute.execution.plan import Plan, PlannedSource
from vrecompute.execution.postmortem import lost_chunk
from vrecompute.workers.worker_exit import WorkerExit

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


@pytest.mark.slow
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
        report = run.report(timeout_s=400)
    assert report.status == "partial"
    assert report.exit_code == 3
    assert (report.chunks.total, report.chunks.computed, report.chunks.failed) == (20, 19, 1)
    (failure,) = report.failures
    assert failure.chunk == (300, 350)
    assert failure.file == str(tmp_path / "a.root")
    assert failure.kind == "memory"
    told = re.search(
        r"the worker on (\S+) was ended by its Dask nanny at ([\d.]+) MB of its ([\d.]+) MB", failure.reason
    )
    assert told, failure.reason
    assert "also when it ran alone" in failure.reason
    assert "give workers more memory" in failure.reason
    assert told[1] == socket.gethostname()
    assert float(told[3]) == 629.1
    assert float(told[2]) >= 0.95 * 629.1, "what it had when it was ended, not what it had told a second before"


SUICIDE = """
import os
import signal

from vrecompute import Analysis, Parameter, Result


class Suicide(Analysis):
    name = "suicide"
    parameters = (Parameter("how", "exit", "exit or kill", type=str),)

    def columns(self, source):
        return ["Muon_pt"]

    def process(self, events):
        if events.start == 300:
            codes = {"exit": 3, "exit 0": 0}
            os._exit(codes[self["how"]]) if self["how"] in codes else os.kill(os.getpid(), signal.SIGKILL)
        return Result(counters={"events": float(len(events))})
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "look_ms", "words", "advice"),
    [
        pytest.param(
            "exit",
            200,
            "ended itself with exit code 3",
            "run this chunk alone and find what ends the process",
            id="exit",
            marks=pytest.mark.acceptance,
        ),
        pytest.param(
            "exit 0",
            200,
            "ended itself with exit code 0",
            "run this chunk alone and find what ends the process",
            id="exit 0",
            marks=pytest.mark.acceptance,
        ),
        pytest.param(
            "exit",
            3_600_000,
            "ended itself with exit code 3; its memory is not known",
            "run this chunk alone",
            id="exit before the first look",
        ),
        pytest.param(
            "kill",
            200,
            "was killed by signal 9, SIGKILL; it was last seen at",
            "run this chunk alone and find what",
            id="kill",
        ),
    ],
)
def test_a_death_that_is_not_of_memory_is_not_called_so(tmp_path, how, look_ms, words, advice):
    def look_every(dask_worker):
        dask_worker.periodic_callbacks["vrecompute-watch"].callback_time = look_ms

    write_events(tmp_path / "a.root")
    (tmp_path / "suicide.py").write_text(SUICIDE)
    with Client(workers=1, store=tmp_path / "store") as client:
        client.dask.run(look_every, nanny=True)
        run = client.run(
            str(tmp_path / "suicide.py"),
            str(tmp_path / "a.root"),
            chunk_bytes=1500,
            task_chunks=20,
            on_bad="skip",
            max_bad=1,
            how=how,
        )
        report = run.report(timeout_s=400)
    (failure,) = report.failures
    assert (failure.chunk, failure.kind) == ((300, 350), "lost")
    assert words in failure.reason
    assert advice in failure.reason
    assert report.chunks.computed == 19


@dataclass
class Killed(Exception):
    last_worker: object


@dataclass
class Worker:
    address: str
    name: str


SOURCE = PlannedSource("/a.root", "s", "ttree", "t", "u", 1, 10, ("x",), (0, 5, 10), {})
PLAN = Plan.of("w", [Sample("s")], [SOURCE], 1)
KILLED = Killed(Worker("tcp://c1:1", "job-0"))


def test_the_batch_system_s_word_is_passed_on():
    status = JobStatus(State.OOM, reason="job 7 on c1 used 2.1 of 2.0 GiB")
    bare = WorkerExit("tcp://c1:1", 1, "c1", "7", -9)
    failure = lost_chunk(PLAN, 1, KILLED, {"job-0": status}, {}, bare)
    assert failure.kind == "memory"
    assert failure.skippable
    assert "job 7 on c1 used 2.1 of 2.0 GiB" in failure.reason
    assert (failure.start, failure.stop) == (5, 10)


def test_what_the_kernel_did_is_told_with_the_peak_and_the_limit_of_the_job():
    word = WorkerExit("tcp://c1:1", 1, "c1", "7", -9, "kernel", 10**8, 10**9, 2 * 10**9, 2 * 10**9)
    failure = lost_chunk(PLAN, 1, KILLED, {}, {}, word)
    assert failure.kind == "memory"
    assert (
        "the worker in job 7 on c1 was killed by the kernel at the job's memory limit of 2.0 GB (peak 2.0 GB); "
        "it was last seen at 100.0 MB of its 1.0 GB"
    ) in failure.reason


def test_where_the_nanny_died_too_the_last_heartbeat_is_what_is_known():
    failure = lost_chunk(PLAN, 1, KILLED, {}, {"tcp://c1:1": (8 * 10**8, 10**9)})
    assert "most likely memory: its worker last reported 800.0 MB of 1.0 GB in use" in failure.reason
    assert failure.kind == "lost"


@pytest.mark.parametrize("peaks", [{}, {"tcp://c1:1": (10**8, 10**9)}], ids=["unknown", "little"])
@pytest.mark.parametrize("word", [None, WorkerExit("tcp://c1:1", 1, "c1", "", -9, "", 10**8, 10**9)])
def test_memory_is_not_blamed_where_there_was_enough(peaks, word):
    reason = lost_chunk(PLAN, 1, KILLED, {}, peaks, word).reason
    assert "most likely memory" not in reason
    assert "run this chunk alone and find what ends the process" in reason


@pytest.mark.parametrize(
    ("state", "advice"), [(State.TIMEOUT, "ask for a longer walltime"), (State.NODE_FAIL, "run again later")]
)
def test_where_the_batch_system_ended_the_job_its_word_goes_before_the_nanny_s(state, advice):
    status = JobStatus(state, reason=f"{state}: job 7 on c1")
    ended = WorkerExit("tcp://c1:1", 1, "c1", "7", -15)
    failure = lost_chunk(PLAN, 1, KILLED, {"job-0": status}, {}, ended)
    assert failure.kind == "lost"
    assert f"{state}: job 7 on c1" in failure.reason
    assert advice in failure.reason
