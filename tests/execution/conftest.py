"""What tests of runs share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dask import config as dask_config
from distributed import Client as DaskClient
from distributed import LocalCluster


@pytest.fixture(scope="module")
def dask() -> Iterator[DaskClient]:
    """Workers that are threads of this process, so that they have its stores and its schemes."""
    threads = {"processes": False, "n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    # sampling the stacks of threads, with which this Python may lock itself, is off as in our own clusters
    with (
        dask_config.set({"distributed.worker.profile.enabled": False}),
        LocalCluster(**threads) as cluster,
        DaskClient(cluster, set_as_default=False) as made,
    ):
        yield made
