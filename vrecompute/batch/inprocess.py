"""`in_process`: a Dask cluster whose scheduler and worker are threads of this process: it listens on no port."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import dask
from distributed import Client as DaskClient
from distributed import LocalCluster

from vrecompute.batch.dask_settings import SETTINGS
from vrecompute.batch.temporary import scratch_folder

__all__ = ["in_process"]


@contextlib.contextmanager
def in_process(threads: int) -> Iterator[DaskClient]:
    """A client of one worker of so many threads. Memory is not watched: the batch system does that."""
    dask.config.refresh(paths=[], env={})  # the user's files may be for another cluster
    dask.config.set({**SETTINGS, "distributed.scheduler.http.routes": []})
    alone = {"processes": False, "n_workers": 1, "threads_per_worker": threads, "dashboard_address": None}
    with (
        LocalCluster(**alone, memory_limit=0, local_directory=str(scratch_folder()), silence_logs="critical") as made,
        DaskClient(made, set_as_default=False) as client,
    ):
        yield client
