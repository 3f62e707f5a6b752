"""`Client(dask=...)`: any Dask cluster gives the numbers of a site's workers, and is left as it was found."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from distributed import Client as DaskClient
from distributed import LocalCluster, default_client

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Client
from vrecompute.errors import Unavailable, UsageError

BLOCKED = """
import sys
class Absent:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] == "vrecompute":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as made:
        made.scheduler.allowed_failures = 7
        yield made


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return str(write_events(tmp_path_factory.mktemp("data") / "e.root", 400, clusters=4))


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    file = tmp_path_factory.mktemp("analysis") / "sums.py"
    file.write_text(SUM_ANALYSIS)
    return str(file)


@pytest.fixture(scope="module")
def expected(sums, events, tmp_path_factory):
    with Client(workers=1, store=tmp_path_factory.mktemp("store")) as client:
        return client.run(sums, events, chunk_bytes=3400).result().to_bytes()


@pytest.mark.parametrize("how", ["cluster", "client", "address"])
def test_any_cluster_gives_the_same_bytes_and_stays_as_it_was(cluster, how, events, sums, expected, tmp_path):
    with DaskClient(cluster, set_as_default=True) as mine:
        given = {"cluster": cluster, "client": mine, "address": cluster.scheduler_address}[how]
        with Client(dask=given, store=tmp_path) as client:
            run = client.run(sums, events, chunk_bytes=3400)
            assert run.result(timeout_s=120).to_bytes() == expected
            assert run.report().status == "complete"
            assert run.manifest.site == "dask"
        assert cluster.scheduler.allowed_failures == 7
        assert default_client() is mine
        assert mine.status == "running"
        assert mine.submit(sum, [1, 2]).result(timeout=60) == 3
        assert len(cluster.scheduler.workers) == 2


def test_a_cluster_that_ends_is_said_and_nothing_waits_for_it(sums, events, tmp_path):
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as ending:
        client = Client(dask=ending.scheduler_address, store=tmp_path)
        client.run(sums, events).result(timeout_s=120)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="no Dask scheduler answered at tcp://127"):
        client.run(sums, events, reuse=False).result(timeout_s=120)
    assert time.monotonic() - began < 60
    client.close()


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (3, UsageError, "give a Dask cluster, a distributed.Client or the address of a scheduler"),
        ("nonsense", UsageError, "missing port number in address"),
        ("tcp://127.0.0.1:9", Unavailable, "no Dask scheduler answered at tcp://127.0.0.1:9"),
    ],
)
def test_what_is_no_cluster_is_refused(given, error, words, tmp_path):
    with pytest.raises(error, match=words), Client(dask=given, store=tmp_path) as client:
        _ = client.dask


def test_a_closed_client_is_refused(cluster, tmp_path):
    with DaskClient(cluster, set_as_default=False) as closed:
        pass
    with pytest.raises(UsageError, match="is closed; give an open one"), Client(dask=closed, store=tmp_path) as client:
        _ = client.dask


@pytest.mark.parametrize("beside", [{"site": "local"}, {"workers": 2}, {"threads": 2}, {"dashboard": True}])
def test_the_workers_are_as_their_owner_made_them(beside):
    with pytest.raises(UsageError, match=rf"Client\(dask=..., {next(iter(beside))}=...\)"):
        Client(dask="tcp://127.0.0.1:9", **beside)


def test_a_run_is_not_submitted_to_a_cluster(events, tmp_path):
    client = Client(dask="tcp://127.0.0.1:9", store=tmp_path)
    with pytest.raises(UsageError, match="a run is submitted to a site"):
        client.submit("dilepton", events)
    assert not client.runs(ask=False)


def test_workers_without_vrecompute_are_named(tmp_path):
    local = {"n_workers": 0, "dashboard_address": None, "host": "127.0.0.1", "protocol": "tcp://"}
    preload = tmp_path / "blocked.py"
    preload.write_text(BLOCKED)
    with LocalCluster(processes=False, **local) as cluster, (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address, "--no-nanny"]
        command += ["--no-dashboard", "--preload", str(preload), "--local-directory", str(tmp_path)]
        with subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, env=os.environ) as worker:
            try:
                with DaskClient(cluster, set_as_default=False) as mine:
                    mine.wait_for_workers(1, timeout=120)
                with (
                    pytest.raises(
                        UsageError, match=r"cannot run vrecompute \(.*ModuleNotFoundError.*\); install vrecompute"
                    ),
                    Client(dask=cluster, store=tmp_path / "store") as client,
                ):
                    _ = client.dask
            finally:
                worker.kill()
