"""`in_process`: a Dask cluster whose scheduler and worker are threads of this process: it listens on no port."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import dask
from distributed import Client as DaskClient
from distributed.deploy.spec import SpecCluster

from vrecompute.batch.dask_settings import SETTINGS
from vrecompute.batch.temporary import scratch_folder
from vrecompute.workers.dask_hooks import SilentScheduler, SilentWorker
from vrecompute.workers.dask_logs import dask_logs_kept_back

__all__ = ["in_process"]


@contextlib.contextmanager
def in_process(threads: int) -> Iterator[DaskClient]:
    """A client of one worker of so many threads. Memory is not watched: the batch system does that."""
    plain: dict[str, Any] = {}
    dask.config.refresh(config=plain, paths=[], env={})  # the user's files may be for another cluster
    here = {"protocol": "inproc://", "dashboard": False}
    worker = {**here, "nthreads": threads, "memory_limit": 0, "local_directory": str(scratch_folder())}
    with (
        dask_logs_kept_back(),
        dask.config.set(distributed=plain["distributed"]),
        dask.config.set({**SETTINGS, "distributed.scheduler.http.routes": []}),
        SpecCluster(
            scheduler={"cls": SilentScheduler, "options": here},
            workers={0: {"cls": SilentWorker, "options": worker}},
            silence_logs=False,
        ) as made,
        DaskClient(made, set_as_default=False) as client,
    ):
        client.wait_for_workers(1)
        yield client
