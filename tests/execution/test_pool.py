"""Tasks in flight on a real cluster whose workers die."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.events import write_events
from tests.patience import comes_true
from vrecompute import Client
from vrecompute.errors import ClusterLost
from vrecompute.execution import pool as pool_module
from vrecompute.execution.pool import TaskPool


def process_of() -> int:
    return os.getpid()


def test_a_result_that_is_lost_before_it_is_fetched_is_computed_again(tmp_path):
    with Client(workers=1, store=tmp_path) as client:
        pool = TaskPool(client.dask, "lost")
        pool.submit("a", process_of)
        (future,) = pool._flying["a"]
        first = future.result(timeout=30)
        os.kill(first, signal.SIGKILL)
        assert comes_true(lambda: future.status != "finished", pause_s=0.01)
        ended = pool.wait(60)
    assert ended is not None
    assert (ended.ticket, ended.how) == ("a", "done")
    assert ended.value != first, "by another worker process"


def test_a_scheduler_imports_nothing_of_what_its_workers_do(client, run, tmp_path):
    """It may be on a login node, and starts anew with every cluster."""
    write_events(tmp_path / "events.root", 100)
    assert run(str(tmp_path / "events.root")).status == "complete"
    loaded = client.dask.run_on_scheduler(eval, "sorted(__import__('sys').modules)")
    heavy = ("numba", "awkward", "uproot", "boost_histogram", "vrecompute.execution", "vrecompute.reader")
    assert [name for name in loaded if name.startswith(heavy)] == []
    (there,) = client.dask.run(eval, "sorted(__import__('sys').modules)").values()
    assert {"numba", "vrecompute.execution.task"} <= set(there), "as its worker had to"


def test_what_tasks_share_is_sent_again_where_the_cluster_forgot_it(dask):
    pool = TaskPool(dask, "shared")
    shared = pool.share({"a": 1})
    shared.future().cancel()
    pool.submit("t", dict.get, shared, "a")
    ended = pool.wait(60)
    assert ended is not None
    assert (ended.how, ended.value) == ("done", 1)


def test_a_task_that_is_given_up_again_and_again_ends_with_the_reason(dask):
    pool = TaskPool(dask, "given-up")
    for _ in range(pool_module._MOST_CANCELLED):
        pool.submit("t", time.sleep, 5)
        pool._flying["t"][0].cancel()
        ended = pool.wait(60)
        assert ended is not None
        assert ended.how == "cancelled"
    pool.submit("t", time.sleep, 5)
    pool._flying["t"][0].cancel()
    with pytest.raises(ClusterLost, match="gave up the same task 11 times, as it does when it is restarted"):
        pool.wait(60)
