"""A Dask cluster of one process has no port and no other process."""

from __future__ import annotations

import psutil

from vrecompute.batch.inprocess import in_process


def test_it_computes_and_listens_on_no_port():
    before = set(psutil.Process().net_connections())
    children = set(psutil.Process().children())
    with in_process(2) as dask:
        assert dask.submit(sum, [1, 2]).result() == 3
        assert sum(dask.ncores().values()) == 2
        assert {c for c in psutil.Process().net_connections() if c.status == "LISTEN"} <= before
        assert set(psutil.Process().children()) == children
