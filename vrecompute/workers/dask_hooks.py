"""What Dask does not promise and we rely on: private attributes, names of its events, what its objects happen to hold.

Nothing else in vrecompute reaches for them. `tests/workers/test_dask_hooks.py` pins each, so that a release of
distributed that changes one is known by it; the releases that hold all of them are the bounds in pyproject.toml.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from distributed import Client as DaskClient
from distributed import Scheduler, Security, Worker
from distributed.comm import connect
from distributed.deploy.spec import SpecCluster
from tornado.ioloop import PeriodicCallback

__all__ = [
    "BatchedSpecs",
    "SilentScheduler",
    "SilentWorker",
    "allow_failures",
    "allowed_failures",
    "ask_cores",
    "ask_each",
    "ask_scheduler",
    "ask_states",
    "ask_workers",
    "ended_for_memory",
    "identity",
    "is_asynchronous",
    "is_busy",
    "memory_limit",
    "other_clients",
    "pause",
    "retired",
    "running_tasks",
    "take_for_closed",
    "unregister",
    "watch_worker",
    "workers_of",
]

# Dask's own event of a nanny that ends its worker for memory.
_ENDED = "worker-restart-memory"


# ---- of a client


def ask_scheduler(dask: DaskClient, function: Callable[..., Any], *arguments: Any, timeout_s: float) -> Any:
    """As `run_on_scheduler`, which waits for ever; TimeoutError."""
    return dask.sync(dask._run_on_scheduler, function, *arguments, callback_timeout=timeout_s)


def ask_cores(dask: DaskClient) -> concurrent.futures.Future[dict[str, int]]:
    """Threads of each worker, once the scheduler has answered: nothing waits for that here."""
    return asyncio.run_coroutine_threadsafe(dask.scheduler.ncores(), dask.loop.asyncio_loop)


def ask_states(dask: DaskClient) -> concurrent.futures.Future[Mapping[str, Any]]:
    """As `ask_cores`; what the scheduler says of itself, and of each worker by address in `workers`; OSError."""
    if dask.scheduler is None or dask.status != "running":
        raise OSError("the client is closed")
    return asyncio.run_coroutine_threadsafe(dask.scheduler.identity(n_workers=-1), dask.loop.asyncio_loop)


def workers_of(dask: DaskClient) -> Mapping[str, Mapping[str, Any]]:
    """What the scheduler last said of each worker, by address; empty where it was lost or is connected to anew."""
    workers: Mapping[str, Mapping[str, Any]] = dask.scheduler_info(n_workers=-1).get("workers", {})
    return workers


def ask_workers(dask: DaskClient, function: Callable[..., Any], *arguments: Any, timeout_s: float) -> dict[str, Any]:
    """As `Client.run`, by address; None of a worker that has not answered in time, raised, or went."""

    async def of_one(address: str) -> Any:
        asked = dask._run(function, *arguments, workers=[address], on_error="ignore")
        try:
            return (await asyncio.wait_for(asked, timeout_s)).get(address)
        except TimeoutError:
            return None

    async def of_all() -> dict[str, Any]:
        there = list((await dask.scheduler.ncores()).keys())
        return dict(zip(there, await asyncio.gather(*map(of_one, there)), strict=True))

    answers: dict[str, Any] = dask.sync(of_all, callback_timeout=2 * timeout_s)
    return answers


def ask_each(dask: DaskClient, function: Callable[..., Any], *arguments: Any, timeout_s: float) -> dict[str, Any]:
    """As `ask_workers`; of a worker that raised the exception, of one that has not answered in time a TimeoutError.

    TimeoutError where the scheduler itself does not answer.
    """

    async def of_one(address: str) -> Any:
        asked = dask._run(function, *arguments, workers=[address], on_error="return")
        try:
            return (await asyncio.wait_for(asked, timeout_s)).get(address)
        except TimeoutError as error:
            return error

    async def of_all() -> dict[str, Any]:
        there = list((await asyncio.wait_for(dask.scheduler.ncores(), timeout_s)).keys())
        return dict(zip(there, await asyncio.gather(*map(of_one, there)), strict=True))

    answers: dict[str, Any] = dask.sync(of_all, callback_timeout=3 * timeout_s)
    return answers


def is_asynchronous(dask: DaskClient) -> bool:
    """Whether it was made for an event loop; the public attribute tells only whether this thread is in that loop."""
    return bool(getattr(dask, "_asynchronous", False))


async def identity(address: str, security: Security, timeout_s: float) -> Mapping[str, Any]:
    """What a scheduler says of itself, by a connection for this alone; OSError, also where it says nothing in time."""
    comm = await asyncio.wait_for(connect(address, timeout_s, **security.get_connection_args("client")), timeout_s)
    try:
        await asyncio.wait_for(comm.write({"op": "identity", "reply": True}), timeout_s)
        answer: Mapping[str, Any] = await asyncio.wait_for(comm.read(), timeout_s)
    finally:
        comm.abort()
    return answer


def take_for_closed(dask: DaskClient) -> None:
    """A client that did not close would try once more when it is collected, for two minutes."""
    dask.status = "closed"


# ---- of a scheduler; called by `run_on_scheduler`


def allowed_failures(dask_scheduler: Any = None) -> int:
    """How many deaths of its workers a task survives."""
    return int(dask_scheduler.allowed_failures)


def allow_failures(allowed: int, dask_scheduler: Any = None) -> None:
    """Dask gives a task up after more deaths of its workers than this, and says so."""
    dask_scheduler.allowed_failures = allowed


def other_clients(mine: str, dask_scheduler: Any = None) -> int:
    """How many clients are connected besides that one and Dask's own."""
    return len(set(dask_scheduler.clients) - {mine, "fire-and-forget"})


# ---- of a worker; called in its loop


def running_tasks(run: str, dask_worker: Any = None) -> list[str]:
    """Keys of the run's tasks that a worker goes on with, also of those that no client waits for any more."""
    return [task.key for task in dask_worker.state.all_running_tasks if run in str(task.key)]


def pause(worker: Any, stimulus: str) -> None:
    """The scheduler sends it nothing more; the worker itself goes on with what it has."""
    worker.batched_send({"op": "worker-status-change", "status": "paused", "stimulus_id": stimulus})


def is_busy(worker: Any) -> bool:
    """Whether any task runs or waits there."""
    return bool(worker.state.all_running_tasks or worker.state.ready or worker.state.waiting)


async def retired(worker: Any, stimulus: str) -> bool:
    """Whether others took what only this worker holds, so that the scheduler let it go."""
    told = {"close_workers": False, "remove": True, "stimulus_id": stimulus}
    return bool(await worker.scheduler.retire_workers(workers=[worker.address], **told))


async def unregister(worker: Any, stimulus: str) -> None:
    """Go, expected: otherwise its end would count as a death for whatever was about to be sent there."""
    await worker.scheduler.unregister(address=worker.address, expected=True, stimulus_id=stimulus)


# ---- of a nanny


def watch_worker(
    nanny: Any,
    *,
    look: Callable[[], None],
    every_ms: int,
    event: Callable[[Any, Any], None],
    end: Callable[[int], None],
) -> Callable[[Any, Any], None]:
    """Have a nanny call `look` so often, `event` before it logs one, and `end` with the exit code of a dead worker.

    What it does then follows; gives what logs an event with the scheduler, unheard.
    """
    log_event, on_exit = nanny.log_event, nanny._on_worker_exit_sync

    def log_heard(topic: Any, message: Any) -> None:
        event(topic, message)
        log_event(topic, message)

    def exit_heard(exit_code: int) -> None:
        end(exit_code)
        on_exit(exit_code)

    nanny.log_event = log_heard
    nanny._on_worker_exit_sync = exit_heard
    nanny.periodic_callbacks["vrecompute-watch"] = PeriodicCallback(look, every_ms)
    return log_event  # type: ignore[no-any-return]


def ended_for_memory(topic: Any, message: Any) -> tuple[int, int] | None:
    """Process id and bytes of a worker that its nanny ends for memory; None for any other event."""
    return (int(message["pid"]), int(message["rss"])) if topic == _ENDED else None


def memory_limit(nanny: Any) -> int:
    """Bytes that its worker may have; 0 for no limit."""
    return int(nanny.memory_manager.memory_limit or 0)


# ---- of a cluster


class BatchedSpecs(SpecCluster):  # type: ignore[misc]  # distributed is untyped
    """Dask's cluster of a scheduler and workers as specified, which replaces none of them by itself."""

    @abstractmethod
    def came(self, names: set[str]) -> None:
        """Workers of these names have registered."""

    def _update_worker_status(self, op: str, msg: Any) -> None:
        if op == "add":
            self.came({str(facts["name"]) for facts in msg["workers"].values()})
        elif msg not in self.scheduler_info["workers"]:
            return  # Dask's own raises for a worker that has gone already, or that was never told of
        super(SpecCluster, self)._update_worker_status(op, msg)  # SpecCluster's own would replace the one that went

    def new_name(self) -> str:
        """One that no worker of this cluster has had."""
        name = f"{self._name}-{self._i}"
        self._i += 1
        return name

    async def correct(self) -> None:
        """Start and close workers as `worker_spec` now says."""
        await self._correct_state()

    def without_scheduler(self) -> None:
        """Its scheduler does not answer: close its process, and let `close` not call it."""
        self.shutdown_scheduler = False
        self.sync(self.scheduler.close)


# ---- of a scheduler and a worker of one process


class _ServesNothing:
    def start_http_server(self, *arguments: Any, **named: Any) -> None:
        """No pages, and no port for them."""


class SilentScheduler(_ServesNothing, Scheduler):  # type: ignore[misc]  # distributed is untyped
    """A scheduler that serves no pages."""


class SilentWorker(_ServesNothing, Worker):  # type: ignore[misc]  # distributed is untyped
    """A worker that serves no pages."""
