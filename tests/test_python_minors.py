"""A client and workers of different minor versions of Python: the code that travels is the same code (law 3)."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from random import Random

import pytest
from distributed import Client as DaskClient
from distributed import LocalCluster

from tests.edits import REACHED, UNREACHED, apply, write_analysis
from tests.events import write_events
from vrecompute import Client
from vrecompute.batch.contract import Cluster
from vrecompute.workforce import Workforce


@pytest.fixture
def other_python(absent) -> str:
    """An interpreter of another minor version, with this vrecompute and libraries of the same versions."""
    if not (python := os.environ.get("VRECOMPUTE_OTHER_PYTHON", "")):
        absent("other-python", "VRECOMPUTE_OTHER_PYTHON names no interpreter of another minor with this vrecompute")
    return python


class Given(Cluster):
    """Workers that were started elsewhere."""

    patience_s = 120.0

    def __init__(self, dask: DaskClient) -> None:
        self._dask = dask

    @property
    def client(self) -> DaskClient:
        return self._dask

    def scale(self, workers: int) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def client(other_python, tmp_path):
    """A Client whose one worker is a process of the other Python."""
    local = {"n_workers": 0, "processes": False, "dashboard_address": None, "host": "127.0.0.1"}
    log = tmp_path / "worker.log"
    with LocalCluster(protocol="tcp://", **local) as cluster, DaskClient(cluster) as dask, log.open("wb") as stream:
        command = [other_python, "-m", "distributed.cli.dask_worker", cluster.scheduler_address, "--no-nanny"]
        # A scratch folder of its own: other workers of the machine clear away what they find in the common one.
        command += ["--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", "--local-directory", str(tmp_path)]
        with subprocess.Popen(command, cwd=tmp_path, stdout=stream, stderr=stream) as worker:
            try:
                _wait_for(worker, dask, log)
                with Client(workers=1, store=tmp_path / "store") as made:
                    made._workforce = Workforce(made.site, 1)
                    made._workforce._cluster = Given(dask)
                    yield made
            finally:
                worker.kill()


def _wait_for(worker: subprocess.Popen, dask: DaskClient, log: Path, patience_s: float = 200) -> None:
    """Until the worker is the scheduler's. AssertionError with what it printed: it ended, or it took too long."""
    until = time.monotonic() + patience_s
    while not dask.scheduler_info()["workers"]:
        assert worker.poll() is None, f"exit code {worker.returncode}: {log.read_text()}"
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.1)


def test_edits_are_seen_and_reused_by_workers_of_another_python(client, tmp_path, examples):
    random = Random(3)
    file = write_analysis(tmp_path / "a")
    events = str(write_events(tmp_path / "e.root", 400, clusters=4))

    def finished(analysis: Path, by: Client = client):
        run = by.run(str(analysis), events, chunk_bytes=3400)
        chunks = run.report(timeout_s=120).chunks
        assert run.status == "complete", run.report().failures
        return run.result().to_bytes(), chunks

    before, chunks = finished(file)
    assert chunks.computed == chunks.total > 1
    for number in range(examples(200)):
        kind = random.choice(REACHED if number % 2 else UNREACHED)
        file = apply(file.parent, kind, random)
        now, chunks = finished(file)
        assert chunks.reused == (chunks.total if kind in UNREACHED else 0), kind
        assert kind in REACHED or now == before, kind
        before = now
    with Client(workers=1, store=tmp_path / "here") as here:
        assert finished(file, here)[0] == before
