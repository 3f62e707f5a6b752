"""`Client(dask=...)`: any Dask cluster gives the numbers of a site's workers, and is left as it was found."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import dask
import pytest
from distributed import Client as DaskClient
from distributed import LocalCluster, default_client

from tests.events import SUM_ANALYSIS, write_events
from tests.patience import comes_true
from vrecompute import Client
from vrecompute.batch import given_dask
from vrecompute.batch.given_dask import GivenDask
from vrecompute.errors import Unavailable, UsageError
from vrecompute.stores.directory import DirStore
from vrecompute.workers.dask_hooks import workers_of
from vrecompute.workers.paused_workers import all_paused

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
        ("tls://127.0.0.1:9", UsageError, "asks for certificates, and none are known here; give a distributed.Client"),
        ("inproc://10.0.0.1/1/1", UsageError, "one at inproc:// is reached from its own process alone"),
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


def test_a_closed_cluster_is_refused(tmp_path):
    with LocalCluster(n_workers=0, processes=False, dashboard_address=None) as closed:
        pass
    with pytest.raises(UsageError, match="the LocalCluster is closed; give an open one"):
        _ = Client(dask=closed, store=tmp_path).dask


@pytest.mark.parametrize("stage", ["asked", "connected"])
def test_what_accepts_and_says_nothing_is_not_waited_for(stage, tmp_path, monkeypatch):
    """A scheduler that is stopped, or no scheduler at all."""
    monkeypatch.setattr(given_dask, "_CONNECT_S", 0.5)
    monkeypatch.setattr(given_dask, "_VERSION_S", 0.5)
    if stage == "connected":  # and falls silent then

        async def silent(dask, *rest, **named):
            raise TimeoutError

        monkeypatch.setattr(DaskClient, "_run_on_scheduler", silent)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent_port,
        LocalCluster(
            n_workers=0, processes=False, dashboard_address=None, host="127.0.0.1", protocol="tcp://"
        ) as there,
    ):
        port = silent_port.getsockname()[1]
        address = f"tcp://127.0.0.1:{port}" if stage == "asked" else there.scheduler_address
        with pytest.raises(Unavailable, match=rf"no Dask scheduler answered at {address} \(it accepts connections and"):
            _ = Client(dask=address, store=tmp_path).dask


def test_a_worker_that_is_stopped_is_named_and_ends_no_run_of_others(no_workers, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(given_dask, "_VERSION_S", 1.0)
    with workers_in(no_workers, tmp_path / "w"), DaskClient(no_workers, set_as_default=False) as mine:
        ((stopped, process),) = mine.run(os.getpid).items()
        os.kill(process, signal.SIGSTOP)
        try:
            silent = f"worker {stopped} of the given Dask cluster has not answered for 1 s: it may be stopped"
            with pytest.raises(Unavailable, match=f"{silent}.*No other worker is there"):
                _ = Client(dask=no_workers, store=tmp_path / "s").dask
            with workers_in(no_workers, tmp_path / "v"), Client(dask=no_workers, store=tmp_path / "s") as client:
                _ = client.dask
                assert f"{silent}, or hold its event loop; end it" in caplog.text
                monkeypatch.setattr("vrecompute.batch.store_reach._ANSWER_S", 0.5)
                monkeypatch.setattr("vrecompute.batch.store_reach._SILENT_S", 0.5)
                client.store.create("runs/x", b"x")
                assert not client._site_workers.reaches(client.store, "runs/x")
                assert (
                    f"1 of 2 workers of the given Dask cluster do not reach the store {tmp_path / 's'}" in caplog.text
                )
        finally:
            os.kill(process, signal.SIGCONT)


@pytest.mark.parametrize("given", ["nonsense", 5, "", "tls://127.0.0.1:9", "closed"])
def test_nothing_is_written_of_a_run_that_what_is_given_refuses(given, events, sums, tmp_path):
    if given == "closed":
        with LocalCluster(n_workers=0, processes=False, dashboard_address=None) as given:
            pass
    with Client(dask=given, store=tmp_path) as client:
        with pytest.raises(UsageError, match="give a"):
            client.run(sums, events)
        assert client.runs() == []


def test_a_cluster_that_closes_in_the_middle_is_the_reason_that_its_run_has(events, sums, tmp_path):
    def slow(chunk):
        time.sleep(2)
        return {"n": len(chunk)}

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as ending,
        Client(dask=ending, store=tmp_path) as client,
    ):
        run = client.map(slow, events, columns=["x"], chunk_bytes=3400)
        assert comes_true(lambda: run.status == "running", 60)
        ending.close()
        with pytest.raises((Unavailable, UsageError)):
            run.result(timeout_s=120)
    with Client(store=tmp_path) as other:
        where = other.attach(run.id).where()
    assert where.state == "interrupted"
    assert re.search("LocalCluster is clos|scheduler", where.reason), where


def test_an_asynchronous_client_is_refused(no_workers, tmp_path):
    async def ask():
        async with DaskClient(no_workers.scheduler_address, asynchronous=True, set_as_default=False) as mine:
            return await asyncio.to_thread(lambda: Client(dask=mine, store=tmp_path).dask)

    with pytest.raises(UsageError, match=r"the distributed\.Client is asynchronous; give one made without it"):
        asyncio.run(ask())


def test_a_run_whose_client_is_closed_ends_and_says_so(no_workers, events, sums, tmp_path, caplog):
    with DaskClient(no_workers, set_as_default=False) as mine:
        client = Client(dask=mine, store=tmp_path)
        run = client.run(sums, events)
        assert comes_true(lambda: run.progress().stage == "preflight")
    with pytest.raises(Unavailable, match=r"was closed, and the run cannot go on without it.*give an open one"):
        run.result(timeout_s=60)
    assert "new workers" not in caplog.text


@pytest.mark.parametrize("beside", [{"site": "local"}, {"workers": 2}, {"threads": 2}, {"dashboard": True}])
def test_the_workers_are_as_their_owner_made_them(beside):
    with pytest.raises(UsageError, match=rf"Client\(dask=..., {next(iter(beside))}=...\)"):
        Client(dask="tcp://127.0.0.1:9", **beside)


def test_a_run_is_not_submitted_to_a_cluster(events, tmp_path):
    client = Client(dask="tcp://127.0.0.1:9", store=tmp_path)
    with pytest.raises(UsageError, match="a run is submitted to a site"):
        client.submit("dilepton", events)
    assert not client.runs(ask=False)


# What each process takes for a folder of its own working directory: one name, and for every process another store.
OWN = Path("/proc/self/cwd/store")


@contextlib.contextmanager
def workers_in(cluster, *folders, options=()):
    """A Dask worker in each folder, there once this is entered."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address, "--no-nanny"]
    command += ["--no-dashboard", "--nthreads", "1", *options]
    with contextlib.ExitStack() as stack, DaskClient(cluster, set_as_default=False) as mine:
        there = len(cluster.scheduler.workers)
        for folder in folders:
            folder.mkdir(exist_ok=True)
            log = stack.enter_context((folder / "log").open("wb"))
            here = [*command, "--local-directory", str(folder / "scratch")]
            worker = subprocess.Popen(here, stdout=log, stderr=log, cwd=folder, env=os.environ)
            stack.enter_context(worker)
            stack.callback(worker.kill)
        mine.wait_for_workers(there + len(folders), timeout=120)
        yield


@pytest.fixture
def full_workers():
    """Two that are paused by what this process has in memory, as by a small memory_limit."""
    local = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with (
        dask.config.set({f"distributed.worker.memory.{k}": v for k, v in {"pause": 0.01, "spill": False}.items()}),
        LocalCluster(processes=False, protocol="tcp://", memory_limit="1GB", **local) as made,
    ):
        yield made


@pytest.fixture
def no_workers():
    local = {"n_workers": 0, "dashboard_address": None, "host": "127.0.0.1", "protocol": "tcp://"}
    with LocalCluster(processes=False, **local) as made:
        yield made


def absent(folder, store):
    """No folder of that name."""


def another(folder, store):
    """A folder of that name with something else in it."""
    (folder / "store").mkdir()
    (folder / "store" / "mine").write_text("kept")


def read_only(folder, store):
    """Its objects can be read, and a new one lands elsewhere."""
    (folder / "store").mkdir()
    (folder / "store" / "runs").symlink_to(store / "runs")


def unwritable(folder, store):
    """Its objects can be read, and no new one written."""
    read_only(folder, store)
    (folder / "store" / "probe").write_text("no folder")


@pytest.mark.parametrize("makes", [absent, another, read_only, unwritable])
def test_parts_come_back_through_dask_where_workers_do_not_reach_the_store(
    makes, no_workers, events, sums, expected, tmp_path, monkeypatch, caplog
):
    home, away = tmp_path / "home", tmp_path / "away"
    (home / "store").mkdir(parents=True)
    away.mkdir()
    monkeypatch.chdir(home)
    makes(away, home / "store")
    before = {p for p in away.rglob("*") if "probe" not in p.parts}
    with workers_in(no_workers, away), Client(dask=no_workers, store=DirStore(OWN)) as client:
        run = client.run(sums, events, chunk_bytes=3400)
        assert run.result(timeout_s=120).to_bytes() == expected
        assert run.report().status == "complete"
        assert client.run(sums, events, chunk_bytes=3400).wait(120).report().chunks.computed == 0
    assert "1 of 1 workers of the given Dask cluster do not reach the store /proc/self/cwd/store" in caplog.text
    ours = {p for p in away.rglob("*") if not {"log", "scratch", "probe"} & set(p.parts)}
    assert ours == before, "nothing is left where only a worker sees it"
    assert not list(DirStore(home / "store").names("probe"))


def test_workers_that_all_reach_the_store_write_to_it_and_those_that_come_later_are_looked_at_then(
    no_workers, events, sums, expected, tmp_path, monkeypatch
):
    said = []
    monkeypatch.setattr(GivenDask, "reaches", lambda *a, plain=GivenDask.reaches: said.append(plain(*a)) or said[-1])
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    with Client(dask=no_workers, store=DirStore(OWN)) as client:
        first = client.run(sums, events, chunk_bytes=3400)  # while there is none, any may come
        deadline = time.monotonic() + 60
        while not said and time.monotonic() < deadline:
            time.sleep(0.05)
        with workers_in(no_workers, home):
            assert first.result(timeout_s=120).to_bytes() == expected
            second = client.run(sums, events, chunk_bytes=3400, reuse=False)
            assert second.result(timeout_s=120).to_bytes() == expected
            with workers_in(no_workers, tmp_path / "away"):
                third = client.run(sums, events, chunk_bytes=3400, reuse=False)
                assert third.result(timeout_s=120).to_bytes() == expected
    assert said == [False, True, False]


def test_a_file_system_that_hangs_holds_up_neither_worker_nor_run(no_workers, events, sums, expected, tmp_path, caplog):
    hangs = (
        "import time, vrecompute.batch.store_reach as r\nr._ANSWER_S = 0.5\nr.open_store = lambda url: time.sleep(3)"
    )
    (tmp_path / "hangs.py").write_text(hangs)
    options = ["--preload", str(tmp_path / "hangs.py")]
    with (
        workers_in(no_workers, tmp_path / "w", options=options),
        Client(dask=no_workers, store=tmp_path / "s") as client,
    ):
        assert client.run(sums, events, chunk_bytes=3400).result(timeout_s=120).to_bytes() == expected
    assert "did not answer within" in caplog.text


def test_workers_that_are_all_paused_are_said_and_end_the_run(full_workers, events, sums, tmp_path):
    """Dask sends a worker nothing that has 80 % of its memory in use, which Python's libraries alone may take."""
    with Client(dask=full_workers, store=tmp_path / "store") as client:
        assert comes_true(lambda: all_paused(workers_of(client.dask)))
        client._site_workers.patience_s = 6.0
        run = client.run(sums, events, chunk_bytes=3400)
        assert comes_true(lambda: "all 2 workers are paused by Dask" in str(run.progress()), pause_s=0.05)
        assert run.progress().waiting_for == "workers"
        paused = r"all 2 workers are paused by Dask, .* MB of 1.0 GB of memory used on worker tcp://.*give workers more"
        with pytest.raises(Unavailable, match=paused):
            run.result(timeout_s=120)
    assert len(full_workers.scheduler.workers) == 2


PAUSED = """
import sys, time
import dask
from distributed import LocalCluster
from vrecompute import Client
from vrecompute.errors import Unavailable

if __name__ == "__main__":
    dask.config.set({"distributed.worker.memory.pause": 0.01, "distributed.worker.memory.spill": False})
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, memory_limit="1GB")
    client = Client(dask=cluster, store=sys.argv[3])
    client.dask
    client._site_workers.patience_s = 5.0
    try:
        client.run(sys.argv[1], sys.argv[2]).result()
    except Unavailable as error:
        print(error)
"""


def test_a_script_that_ends_after_such_a_run_without_closing_anything_says_no_more(events, sums, tmp_path):
    """Futures that are left would call back into an interpreter that ends."""
    (tmp_path / "script.py").write_text(PAUSED)
    command = [sys.executable, str(tmp_path / "script.py"), str(sums), str(events), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "the only worker is paused by Dask" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.acceptance
def test_workers_without_vrecompute_are_named(no_workers, tmp_path):
    preload = tmp_path / "blocked.py"
    preload.write_text(BLOCKED)
    with (
        workers_in(no_workers, tmp_path / "w", options=["--preload", str(preload)]),
        pytest.raises(UsageError, match=r"cannot run vrecompute \(.*ModuleNotFoundError.*\); install vrecompute"),
        Client(dask=no_workers, store=tmp_path / "store") as client,
    ):
        _ = client.dask


CHANGES = """
import os
import awkward as ak
{change}
from vrecompute import Analysis, Result

class Count(Analysis):
    name = "count"

    def columns(self, source):
        return ["run"]

    def process(self, events):
        return Result(counters={{"set": float(len(events)) if ({there}) else 0.0}})
"""
TWO_RUNS_OF_EACH = """
import os, sys
from distributed import Client as DaskClient, LocalCluster
from vrecompute import Client
from vrecompute.errors import UsageError

def main():
    ours = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(processes=sys.argv[1] == "processes", **ours) as cluster, DaskClient(cluster) as mine:
        kept, data = mine.submit(os.getpid, pure=False), mine.scatter({"a": 1})
        process = kept.result(timeout=60)
        with Client(dask=cluster, store="given-store") as client:
            for name in ("one.py", "one.py", "other.py", "one.py"):
                try:
                    print(client.run(name, "e.root", reuse=False).result(timeout_s=100).total.counters["set"])
                except UsageError as refused:
                    print(refused)
        print(kept.status, data["a"].status, list(mine.run(os.getpid).values()) == [process])

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize(
    ("workers", "instead"),
    [("processes", "restart its workers with restart() of your own"), ("threads", "give a new cluster, whose workers")],
)
def test_workers_that_would_have_to_begin_anew_are_not_restarted_but_refuse_the_run(workers, instead, tmp_path):
    one = {"change": "os.environ.setdefault('SET_BY_ONE', '1')", "there": "'SET_BY_ONE' in os.environ"}
    other = {"change": "ak.behavior['set_by_other'] = int", "there": "'set_by_other' in ak.behavior"}
    (tmp_path / "one.py").write_text(CHANGES.format(**one))
    (tmp_path / "other.py").write_text(CHANGES.format(**other))
    (tmp_path / "script.py").write_text(TWO_RUNS_OF_EACH)
    write_events(tmp_path / "e.root", 40)
    command = [sys.executable, "script.py", workers]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False)
    first, again, refused, once_more, kept = ended.stdout.splitlines() or [ended.stderr] * 5
    assert [first, again, once_more] == ["40.0"] * 3, ended.stderr
    assert "has changed libraries or its environment as the modules of an earlier run did" in refused
    assert "A cluster that was given is not restarted" in refused
    assert instead in refused
    assert kept == "finished finished True"


def never_ends(events):
    while True:
        pass


def length(events):
    return len(events)


def test_a_worker_that_a_cancelled_run_holds_is_named_and_left_to_its_owner(tmp_path, caplog):
    file = str(write_events(tmp_path / "e.root", 40))
    ours = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with (
        LocalCluster(**ours) as cluster,
        DaskClient(cluster, set_as_default=False) as mine,
        Client(dask=cluster, store=tmp_path / "store") as client,
    ):
        held = client.map(never_ends, file, columns=["run"])
        assert comes_true(lambda: held.progress().stage == "work")
        before = list(mine.run(os.getpid).values())
        time.sleep(2)  # until it has begun
        held.cancel()
        assert held.wait(60).status == "cancelled"
        run = client.map(length, file, columns=["run"])
        assert comes_true(lambda: "given Dask cluster still computes" in run.progress().waiting)
        (worker,) = mine.scheduler_info()["workers"]
        for said in (run.progress().waiting, caplog.text):
            assert f"worker {worker} of the given Dask cluster still computes a task of run {held.id}" in said
            assert f"restart_workers(['{worker}'])" in said
        assert list(mine.run(os.getpid).values()) == before
        mine.restart_workers([worker])
        assert run.result(timeout_s=120)["events"].counters["value"] == 40
        assert "restart" not in run.progress().waiting


def takes_a_while(events):
    time.sleep(0.3)
    return len(events)


def test_a_run_goes_on_where_the_owner_restarts_the_cluster(tmp_path):
    """Which makes its scheduler forget all tasks, and what they share."""
    file = str(write_events(tmp_path / "e.root", 400, clusters=10))
    ours = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None, "host": "127.0.0.1"}
    with (
        LocalCluster(**ours) as cluster,
        DaskClient(cluster, set_as_default=False) as mine,
        Client(dask=cluster, store=tmp_path / "store") as client,
    ):
        run = client.map(takes_a_while, file, columns=["run"], chunk_bytes=300, task_chunks=1)
        assert comes_true(lambda: run.progress().chunks_done > 0, pause_s=0.05)
        assert run.progress().chunks_done < 10
        mine.restart(wait_for_workers=False)
        assert run.result(timeout_s=120)["events"].counters["value"] == 400
        assert run.report().chunks.computed == 10
