"""Tasks in flight on a real cluster whose workers die."""

from __future__ import annotations

import os
import signal

from tests.patience import comes_true
from vrecompute import Client
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
