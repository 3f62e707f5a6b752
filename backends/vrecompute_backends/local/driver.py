"""`LocalBackend`: this machine. Dask workers are processes of a `distributed.LocalCluster` on loopback."""

from __future__ import annotations

import logging
from typing import Any

import dask
from distributed import Client as DaskClient
from distributed import LocalCluster
from distributed.deploy.spec import SpecCluster

from vrecompute.batch.contract import Capabilities, Cluster
from vrecompute.sites.model import Site
from vrecompute_backends.local.jobs import LocalJobs

__all__ = ["LocalBackend", "LocalDask"]

# Of this machine's memory, what workers may use together; the rest is for the client and the system.
_MEMORY_SHARE = 0.8
_SETTINGS = {
    # A worker under memory pressure is restarted at this share of its limit; nothing is spilled, since
    # chunks are small and partial results smaller.
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.pause": False,
    # Sampling the stacks of threads takes part of their time, and kernels are one frame.
    "distributed.worker.profile.enabled": False,
    # A kernel may hold a thread for long; its worker is alive all the same.
    "distributed.scheduler.worker-ttl": None,
}


class LocalBackend(LocalJobs):
    """Worker processes of the site's shape on this machine; jobs are background processes that outlive the client."""

    capabilities = Capabilities(workers=True, arrays=False, restarts=False, memory=False, walltime=True)

    def __init__(self, site: Site) -> None:
        super().__init__(site)

    def open_cluster(self, workers: int) -> Cluster:
        """`workers` processes of `site.workers.threads` threads each; the scheduler runs in this process."""
        return LocalDask(workers, self.site.workers.threads, self._memory(workers))

    def _memory(self, workers: int) -> int:
        if self.site.workers.memory is not None:
            return self.site.workers.memory // max(1, self.site.workers.processes)
        from distributed.system import MEMORY_LIMIT

        return int(MEMORY_LIMIT * _MEMORY_SHARE / max(1, workers))


class _Processes(LocalCluster):  # type: ignore[misc]  # distributed is untyped
    """A LocalCluster whose nannies restart their workers for as long as it is open.

    Dask looks for a lost worker's successor once, 15 s later, and closes its nanny where there is none at that
    moment: a chunk that kills one worker after another would so take all, and its run would never end.
    """

    def _update_worker_status(self, op: str, msg: Any) -> None:
        super(SpecCluster, self)._update_worker_status(op, msg)


class LocalDask(Cluster):
    """A LocalCluster and a client of it. Everything listens on loopback alone."""

    def __init__(self, workers: int, threads: int, memory_bytes: int) -> None:
        with dask.config.set(_SETTINGS):
            self._cluster: Any = _Processes(
                n_workers=workers,
                threads_per_worker=threads,
                memory_limit=memory_bytes,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                preload_nanny=["vrecompute.workers.worker_exit"],
                # What matters of a worker comes back in receipts; its last words at a shutdown would only alarm.
                silence_logs=logging.CRITICAL,
            )
            self._client = DaskClient(self._cluster, set_as_default=False)
        self._open = True

    @property
    def client(self) -> DaskClient:
        """The plain `distributed.Client`, connected."""
        return self._client

    def scale(self, workers: int) -> None:
        """Want that many worker processes."""
        self._cluster.scale(workers)

    def close(self) -> None:
        """End the workers and the scheduler."""
        if self._open:
            self._open = False
            self._client.close(timeout=5)
            self._cluster.close(timeout=20)
