"""`ClusterContract`: Dask workers in jobs, live and beside a command."""

from __future__ import annotations

import time

import dask

from vrecompute.batch.cluster import QueueCluster
from vrecompute.batch.contract import Backend, State
from vrecompute.testing.suite import Suite

__all__ = ["ClusterContract"]

_SUM = """
import os, sys
from distributed import Client
client = Client(os.environ["DASK_SCHEDULER_ADDRESS"])
client.wait_for_workers(int(sys.argv[1]), timeout=90)
print("sum", sum(client.gather(client.map(lambda n: n * n, range(10)))))
"""


class ClusterContract(Suite):
    """Skipped where the driver's `capabilities` deny it."""

    def test_a_job_with_workers_finds_them_as_any_dask_program_does(self, backend: Backend) -> None:
        """`distributed.Client()` without arguments is connected to the job's own workers.

        There are two, or one where a job has one node and the site one worker on a node.
        """
        self.needs(backend, "workers")
        workers = 2 if backend.capabilities.spans else min(2, backend.site.workers.processes)
        job = self.python(_SUM, str(workers), workers=workers)
        job_id, status = self.end(backend, job, 3 * self.patience_s)
        assert status.state is State.COMPLETED, backend.logs(job_id)
        assert "sum 285" in backend.logs(job_id)

    def test_a_cluster_computes_scales_and_closes(self, backend: Backend) -> None:
        """Workers come, work, come back after a loss, and are gone when the cluster is closed."""
        self.needs(backend, "clusters")
        with backend.open_cluster(2) as cluster:
            client = cluster.client
            client.wait_for_workers(2, timeout=self.patience_s)
            assert sum(client.gather(client.map(_square, range(10), pure=False))) == 285
            assert set(client.run(_spills).values()) == {False}, "Dask's settings are ours in every cluster"
            cluster.scale(0)
            deadline = time.monotonic() + self.patience_s
            while client.nthreads() and time.monotonic() < deadline:
                time.sleep(0.2)
            assert not client.nthreads()
            cluster.scale(1)
            client.wait_for_workers(1, timeout=self.patience_s)
        cluster.close()

    def test_a_cluster_tells_how_the_jobs_of_lost_workers_ended(self, backend: Backend) -> None:
        """By worker, so that a chunk that dies with its worker is charged to what ended that."""
        self.needs(backend, "clusters")
        self.queue(backend)
        with backend.open_cluster(1) as cluster:
            assert isinstance(cluster, QueueCluster)
            cluster.client.wait_for_workers(1, timeout=self.patience_s)
            worker = next(facts["name"] for facts in cluster.client.scheduler_info()["workers"].values())
            assert not cluster.deaths()
            backend.cancel(cluster.job_ids())
            deadline = time.monotonic() + self.patience_s
            while worker not in cluster.deaths():
                assert time.monotonic() < deadline, f"no death of {worker} in {cluster.deaths()}"
                time.sleep(0.3)
            assert cluster.deaths()[worker].state is State.CANCELLED
            assert not cluster.lost()


def _square(number: int) -> int:
    return number * number


def _spills() -> object:
    return dask.config.get("distributed.worker.memory.spill")
