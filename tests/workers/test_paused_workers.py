"""Workers that take no task are known by what their scheduler says of them."""

from __future__ import annotations

import pytest

from vrecompute.workers.paused_workers import all_paused


def worker(status="paused", used=0, limit=0, **counts):
    return {"status": status, "memory_limit": limit, "metrics": {"memory": used, "task_counts": counts}}


@pytest.mark.parametrize(
    "workers",
    [
        {},
        {"a": worker("running")},
        {"a": worker(), "b": worker("running")},
        {"a": worker(), "b": worker(executing=1)},
        {"a": {"status": "init"}},
    ],
)
def test_one_that_takes_a_task_or_computes_one_is_enough(workers):
    assert all_paused(workers) == ""


def test_the_fullest_is_named():
    workers = {"a": worker(used=142_000_000, limit=180_000_000, ready=3), "b": worker(used=1, limit=180_000_000)}
    assert all_paused(workers) == (
        "all 2 workers are paused by Dask, which sends no task there (142.0 MB of 180.0 MB of memory used on worker a)"
    )
    assert all_paused({"a": worker()}) == "the only worker is paused by Dask, which sends no task there"
