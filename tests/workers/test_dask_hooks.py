"""What we rely on in Dask without its promise: each hook works with the distributed that is installed, or is named."""

from __future__ import annotations

import ast
import asyncio
import inspect
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import distributed
import pytest
import yaml
from distributed import Client, LocalCluster, Nanny, Scheduler, Security, Worker
from distributed.deploy.spec import SpecCluster
from distributed.scheduler import KilledWorker
from distributed.worker_memory import NannyMemoryManager
from distributed.worker_state_machine import WorkerState

import vrecompute
from vrecompute.batch.dask_settings import SETTINGS
from vrecompute.workers import dask_hooks

_PACKAGES = [Path(vrecompute.__file__).parent, Path(vrecompute.__file__).parents[1] / "backends"]


def lacks(what, hook):
    return f"distributed {distributed.__version__} has no {what}: adapt vrecompute.workers.dask_hooks.{hook}"


@pytest.fixture(scope="module")
def cluster():
    local = {"dashboard_address": None, "host": "127.0.0.1", "protocol": "tcp://"}
    with LocalCluster(n_workers=0, processes=False, **local) as made:
        yield made


@pytest.mark.parametrize(
    ("owner", "name", "hook"),
    [
        (Client, "_run_on_scheduler", "ask_scheduler"),
        (Client, "_run", "ask_workers"),
        (Client, "_run", "ask_each"),
        (Nanny, "_on_worker_exit_sync", "watch_worker"),
        (Nanny, "log_event", "watch_worker"),
        (SpecCluster, "_correct_state", "BatchedSpecs"),
        (SpecCluster, "_update_worker_status", "BatchedSpecs"),
        (Worker, "batched_send", "pause"),
        (WorkerState, "all_running_tasks", "is_busy"),
        (WorkerState, "all_running_tasks", "running_tasks"),
        (Scheduler, "retire_workers", "retired"),
        (Scheduler, "start_http_server", "SilentScheduler"),
        (Worker, "start_http_server", "SilentWorker"),
    ],
)
def test_what_is_not_promised_is_there(owner, name, hook):
    assert hasattr(owner, name), lacks(f"{owner.__name__}.{name}", hook)


@pytest.mark.parametrize(
    ("function", "names", "hook"),
    [
        (Client.sync, {"callback_timeout"}, "ask_scheduler"),
        (Nanny._on_worker_exit_sync, {"exitcode"}, "watch_worker"),
        (Nanny.log_event, {"topic", "msg"}, "watch_worker"),
        (Scheduler.retire_workers, {"workers", "close_workers", "remove", "stimulus_id"}, "retired"),
        (Scheduler.remove_worker, {"address", "expected", "stimulus_id"}, "unregister"),
        (Worker.close, {"nanny", "reason"}, "unregister"),
        (SpecCluster._update_worker_status, {"op", "msg"}, "BatchedSpecs"),
    ],
)
def test_it_takes_what_we_give_it(function, names, hook):
    there = set(inspect.signature(function).parameters)
    assert names <= there, lacks(f"{sorted(names - there)} of {function.__qualname__}", hook)


def test_a_nanny_says_by_that_event_that_it_ends_its_worker_for_memory():
    source = inspect.getsource(NannyMemoryManager)
    for word in (f'"{dask_hooks._ENDED}"', '"pid"', '"rss"'):
        assert word in source or word.strip('"') + "=" in source, lacks(
            f"{word} in a kill for memory", "ended_for_memory"
        )
    assert dask_hooks.ended_for_memory(dask_hooks._ENDED, {"pid": 7, "rss": 9}) == (7, 9)
    assert dask_hooks.ended_for_memory("other", {}) is None


def test_a_nanny_calls_both_hooks_and_its_limit_is_known():
    async def death():
        seen, died = [], asyncio.Event()

        def ended(code):
            seen.append(code)
            died.set()

        async with Scheduler(host="127.0.0.1", dashboard=False, dashboard_address=":0") as scheduler:
            nanny = Nanny(scheduler.address, nthreads=1, memory_limit=1 << 30, host="127.0.0.1")
            heard = {"look": lambda: seen.append("look"), "every_ms": 50, "event": lambda *a: seen.append(a)}
            log = dask_hooks.watch_worker(nanny, **heard, end=ended)
            async with nanny:
                limit = dask_hooks.memory_limit(nanny)
                log("unheard", 1)
                nanny.log_event("heard", 2)
                await nanny.kill()
                await asyncio.wait_for(died.wait(), 60)
        return limit, seen

    limit, seen = asyncio.run(death())
    assert limit == 1 << 30, lacks("Nanny.memory_manager.memory_limit", "memory_limit")
    assert ("heard", 2) in seen, lacks("log_event that can be set", "watch_worker")
    assert ("unheard", 1) not in seen
    assert "look" in seen, lacks("Nanny.periodic_callbacks", "watch_worker")
    assert any(isinstance(code, int) for code in seen), lacks("call of _on_worker_exit_sync", "watch_worker")


def test_a_scheduler_is_asked_and_told(cluster):
    with Client(cluster, set_as_default=False) as client, Client(cluster, set_as_default=False) as other:
        before = dask_hooks.ask_scheduler(client, dask_hooks.allowed_failures, timeout_s=30)
        assert dask_hooks.ask_scheduler(client, dask_hooks.allow_failures, before + 4, timeout_s=30) is None
        assert cluster.scheduler.allowed_failures == before + 4, lacks("Scheduler.allowed_failures", "allow_failures")
        assert client.run_on_scheduler(dask_hooks.other_clients, client.id) == 1, lacks(
            "Scheduler.clients by id, with 'fire-and-forget' of Dask's own", "other_clients"
        )
        assert other.status == "running"
        assert dask_hooks.ask_cores(client).result(30) == {}, lacks("Client.scheduler.ncores", "ask_cores")


def test_a_scheduler_that_is_silent_is_not_waited_for(cluster):
    with Client(cluster, set_as_default=False) as client, pytest.raises(TimeoutError):
        dask_hooks.ask_scheduler(client, _sleep, timeout_s=0.2)


def test_a_scheduler_tells_who_it_is_before_there_is_a_client(cluster):
    told = asyncio.run(dask_hooks.identity(cluster.scheduler_address, Security(), 30))
    assert told["address"] == cluster.scheduler_address, lacks("answer to 'identity'", "identity")


def test_a_client_of_a_loop_is_known_outside_of_it(cluster):
    async def made():
        async with Client(cluster.scheduler_address, asynchronous=True, set_as_default=False) as client:
            return client, await asyncio.to_thread(dask_hooks.is_asynchronous, client)

    assert asyncio.run(made())[1], lacks("Client._asynchronous", "is_asynchronous")
    with Client(cluster, set_as_default=False) as client:
        assert not dask_hooks.is_asynchronous(client)
        assert dask_hooks.ask_each(client, os.getpid, timeout_s=30) == {}


async def _sleep(dask_scheduler=None):
    await asyncio.sleep(2)


def test_a_client_without_a_scheduler_knows_of_no_worker(cluster):
    with Client(cluster, set_as_default=False) as dask:
        assert dask_hooks.workers_of(dask) == dask.scheduler_info(n_workers=-1)["workers"]
        dask._scheduler_identity, dask.sync = {}, lambda *_, **__: None  # as while it connects anew
        assert not dask_hooks.workers_of(dask)


def test_a_client_that_is_taken_for_closed_is_closed_no_more(cluster):
    client = Client(cluster, set_as_default=False)
    client.close()
    client.status = "running"
    dask_hooks.take_for_closed(client)
    assert client.status == "closed", lacks("Client.status that can be set", "take_for_closed")


def test_a_worker_pauses_is_busy_and_goes():
    async def life():
        async with (
            Scheduler(host="127.0.0.1", dashboard=False, dashboard_address=":0") as scheduler,
            Worker(scheduler.address, nthreads=1, host="127.0.0.1", dashboard=False) as worker,
            Client(scheduler.address, asynchronous=True, set_as_default=False) as client,
        ):
            idle = dask_hooks.is_busy(worker)
            task = client.submit(_nap)
            counts = {}
            while not dask_hooks.is_busy(worker) and not task.done():
                await asyncio.sleep(0.01)
            busy = dask_hooks.is_busy(worker)
            while not task.done() and not counts.get("executing"):
                counts = (await worker.get_metrics())["task_counts"]
                await asyncio.sleep(0.01)
            await task
            dask_hooks.pause(worker, "pinned")
            for _ in range(500):
                if paused := next(iter(scheduler.workers.values())).status.name == "paused":
                    break
                await asyncio.sleep(0.01)
            told = next(iter((await client.scheduler.identity(n_workers=-1))["workers"].values()))
            holding = await dask_hooks.retired(worker, "pinned")
            task.release()
            while scheduler.tasks:
                await asyncio.sleep(0.01)
            went = await dask_hooks.retired(worker, "pinned")
            await dask_hooks.unregister(worker, "pinned")
            return idle, busy, (paused, counts, told), (holding, went), dict(scheduler.workers)

    idle, busy, paused, went, left = asyncio.run(life())
    assert (idle, busy) == (False, True), lacks("Worker.state of tasks", "is_busy")
    paused, counts, told = paused
    assert paused, lacks("message 'worker-status-change'", "pause")
    assert counts.get("executing") == 1, lacks("'executing' in 'task_counts' of a worker's metrics", "ask_states")
    assert told["status"] == "paused", lacks("'status' of a worker in Scheduler.identity", "ask_states")
    assert {"memory_limit", "metrics"} <= set(told), lacks("memory of a worker in Scheduler.identity", "ask_states")
    assert (went, left) == ((False, True), {}), lacks("retirement of a worker by its own word", "retired")


def _nap():
    import time

    time.sleep(0.3)


def test_a_cluster_of_specs_names_its_workers_once_and_replaces_none():
    class Counted(dask_hooks.BatchedSpecs):
        def __init__(self, **options):
            self.names = set()
            super().__init__(**options)

        def came(self, names):
            self.names |= names

    served = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": ":0"}
    with Counted(scheduler={"cls": Scheduler, "options": served}, silence_logs=logging.CRITICAL) as cluster:
        names = [cluster.new_name(), cluster.new_name()]
        assert len(set(names)) == 2, lacks("SpecCluster._i and ._name", "BatchedSpecs")
        worker = {"cls": Worker, "options": {"nthreads": 1, "host": "127.0.0.1", "dashboard": False}}
        cluster.worker_spec |= dict.fromkeys(names, worker)
        cluster.sync(cluster.correct)
        assert set(cluster.workers) == set(names)
        assert cluster.names == set(names), lacks("'add' with 'workers' for _update_worker_status", "BatchedSpecs")
        gone = next(iter(cluster.scheduler_info["workers"]))
        cluster._update_worker_status("remove", gone)
        cluster._update_worker_status("remove", gone)  # the scheduler says it again when the worker really ends
        assert gone not in cluster.scheduler_info["workers"]
        assert len(cluster.worker_spec) == 2
        cluster.without_scheduler()
        assert cluster.shutdown_scheduler is False


def test_a_killed_worker_is_known_with_its_last_place():
    state = SimpleNamespace(address="tcp://a:1", name="n", pid=1)
    error = KilledWorker("task", state, 3)
    assert error.last_worker is state, lacks("KilledWorker.last_worker", "")


@pytest.mark.parametrize("key", sorted(SETTINGS))
def test_dask_knows_every_setting_that_we_make(key):
    known = yaml.safe_load((Path(distributed.__file__).parent / "distributed.yaml").read_text())
    *path, last = key.split(".")
    for part in path:
        known = known[part]
    assert last in known, (
        f"distributed {distributed.__version__} has no setting {key}: see vrecompute.batch.dask_settings"
    )


def test_nothing_else_reaches_for_what_is_private_to_dask():
    reached = []
    for file in (file for folder in _PACKAGES for file in folder.rglob("*.py") if file.name != "dask_hooks.py"):
        text = file.read_text()
        if "distributed" not in text and "dask" not in text:
            continue
        tree = ast.parse(text)
        own = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
        used = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("_")]
        own |= {node.attr for node in used if isinstance(node.ctx, ast.Store)}
        own |= {
            node.target.id for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) and hasattr(node.target, "id")
        }
        dasks = {name for kind in (Client, Nanny, Worker, Scheduler, SpecCluster) for name in dir(kind)}
        reached += [f"{file.name}:{n.lineno} {n.attr}" for n in used if n.attr in dasks - own and n.attr[:2] != "__"]
    assert not reached
