"""`GivenDask`: a Dask cluster that its user made, however that was, and keeps; runs leave it as they found it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

from distributed import Client as DaskClient
from distributed import Security
from distributed.comm.addressing import get_address_host_port

from vrecompute.batch.contract import Cluster
from vrecompute.batch.store_reach import unreached
from vrecompute.errors import Unavailable, UsageError, VrecomputeError
from vrecompute.stores.base import Store
from vrecompute.workers.dask_hooks import (
    allow_failures,
    allowed_failures,
    ask_each,
    ask_scheduler,
    ask_states,
    ask_workers,
    identity,
    is_asynchronous,
    workers_of,
)
from vrecompute.workers.paused_workers import PAUSED_ADVICE, all_paused

__all__ = ["GivenDask", "check_given"]

_LOG = logging.getLogger(__name__)

# How long a scheduler may take to answer for the first time, and a worker to say which vrecompute it has.
_CONNECT_S, _VERSION_S = 30.0, 20.0
# How long a worker may take to say what it has done to libraries; one that is silent refuses the run itself.
_ANSWER_S = 5.0
_CLOSED = "the distributed.Client given as Client(dask=...) was closed"
_WANTED = "give a Dask cluster, a distributed.Client or the address of a scheduler, such as tcp://10.0.0.1:8786"


class GivenDask(Cluster):
    """A cluster (`LocalCluster`, `SLURMCluster`, ...), a `distributed.Client`, or the address of a scheduler.

    Its workers come, stay and go as its owner has it. It knows nothing of jobs: no walltime, no cause of a death.
    Raises UsageError for what is no cluster or has another vrecompute, Unavailable where no scheduler answers.
    """

    def __init__(self, given: Any) -> None:
        self._is_ours = not isinstance(given, DaskClient)
        self._client = _connected(given) if self._is_ours else given
        try:
            self._check()
            self._allowed_failures = self._ask(allowed_failures)
        except BaseException:
            self._disconnect()
            raise

    @property
    def client(self) -> DaskClient:
        """The client that was given, or one of our own."""
        return self._client

    def scale(self, workers: int) -> None:
        """Its owner says how many workers it has."""

    def lost(self) -> str:
        """Whether its owner has closed the client that was given, or the scheduler went and did not come again."""
        gone = "the scheduler of the given Dask cluster is gone" if self._is_ours else _CLOSED
        return gone if self._client.status == "closed" else ""

    def refusal(self) -> VrecomputeError | None:
        """That the client that was given is closed, or all workers are paused: there are no others to go on with."""
        if not self._is_ours and self._client.status == "closed":
            return Unavailable(
                f"{_CLOSED}, and the run cannot go on without it. Finished chunks are kept and reused: give an open "
                "one, and run again"
            )
        try:
            paused = all_paused(ask_states(self._client).result(_ANSWER_S).get("workers", {}))
        except (OSError, RuntimeError, concurrent.futures.CancelledError):  # its scheduler does not answer
            return None
        return Unavailable(f"{paused}; {PAUSED_ADVICE}. Finished chunks are kept and reused") if paused else None

    def reaches(self, store: Store, known: str) -> bool:
        """Whether all workers that are there reach the store; not while there is none. `known` is an object of it.

        A warning says which do not, and why.
        """
        there = len(workers_of(self._client))
        try:
            wrong = unreached(self._client, store, known) if there else {}
        except OSError:  # its scheduler went since it was last heard: the Runner says so
            return False
        if wrong:
            worker, why = next(iter(wrong.items()))
            _LOG.warning(
                "%d of %d workers of the given Dask cluster do not reach the store %s, so parts come back through "
                "Dask, and this process writes them; to spare that, name a store that they reach. Worker %s: %s",
                len(wrong), there, store.url, worker, why,
            )  # fmt: skip
        return bool(there) and not wrong

    def check_effects(self, effects: str, done_here: Callable[[], Sequence[str]]) -> None:
        """UsageError where a worker has changed libraries for another run than one of these `effects`.

        `done_here` gives, on a worker, the effects that it has done.

        Workers of ours would be begun anew. These are not: what their owner has on them would be lost.
        """
        try:
            answers = ask_workers(self._client, done_here, timeout_s=_ANSWER_S)
        except OSError:  # its scheduler went since it was last heard: the Runner says so
            return
        others = {worker for worker, done in answers.items() if done and effects not in done}
        if others:
            worker = min(others)
            raise UsageError(
                f"worker {worker} of the given Dask cluster has changed libraries or its environment as the modules of "
                "an earlier run did when they were imported, and this run's do otherwise. A cluster that was given is "
                f"not restarted, since you may have data on it: {self._instead(worker)}"
            )

    def _instead(self, worker: str) -> str:
        if workers_of(self._client).get(worker, {}).get("nanny"):
            return "restart its workers with restart() of your own distributed.Client, or give a new cluster"
        return "give a new cluster, whose workers are new processes, or use Client() without dask="

    def close(self) -> None:
        """Leave it as it was found; it goes on."""
        with contextlib.suppress(Exception):  # it may be gone by now
            self._ask(allow_failures, self._allowed_failures)
        self._disconnect()

    def _disconnect(self) -> None:
        if self._is_ours:
            self._client.close(timeout=5)

    def _check(self) -> None:
        """UsageError where it cannot be used, or the vrecompute of a worker that is there by now is another one."""
        check_given(self._client)
        here = _version()
        try:
            versions = ask_each(self._client, _version, timeout_s=_VERSION_S)
        except OSError as error:
            raise Unavailable(_silent(self._client.scheduler.address, error)) from error
        silent = sorted(worker for worker, version in versions.items() if isinstance(version, TimeoutError))
        if silent:
            said = (
                f"worker {', '.join(silent)} of the given Dask cluster has not answered for {_VERSION_S:.0f} s: it may "
                "be stopped, or hold its event loop; end it, or wait until Dask does"
            )
            if len(silent) == len(versions):
                raise Unavailable(f"{said}. No other worker is there")
            _LOG.warning("%s. The run goes on with the other workers", said)
        for worker, version in versions.items():
            if isinstance(version, TimeoutError):
                continue
            if isinstance(version, BaseException):
                raise UsageError(
                    f"worker {worker} of the given Dask cluster cannot run vrecompute ({version}); {_install()}"
                )
            if version != here:
                raise UsageError(f"worker {worker} of the given Dask cluster has vrecompute {version}; {_install()}")

    def _ask(self, function: Any, *arguments: Any) -> Any:
        try:
            return ask_scheduler(self._client, function, *arguments, timeout_s=_CONNECT_S)
        except TimeoutError as error:
            raise Unavailable(_silent(self._client.scheduler.address, error)) from error
        except Exception as error:  # in Dask's wrapping
            raise UsageError(
                f"the scheduler of the given Dask cluster cannot run vrecompute ({error}); {_install()}"
            ) from error


def _install() -> str:
    return f"install vrecompute {_version()}, which the client has, in the environment of its workers"


def check_given(given: Any) -> None:
    """UsageError for what is no open cluster as far as it tells without being asked: nothing is connected to."""
    if isinstance(given, DaskClient):
        if is_asynchronous(given):
            raise UsageError("Client(dask=...): the distributed.Client is asynchronous; give one made without it")
        if given.status != "running":
            raise UsageError(f"Client(dask=...): the distributed.Client is {given.status}; give an open one")
        return
    address, _ = _address(given)
    if not address.startswith("inproc://"):
        try:
            get_address_host_port(address)
        except ValueError as error:
            raise UsageError(f"Client(dask={given!r}): {error}; {_WANTED}") from error


def _address(given: Any) -> tuple[str, Security]:
    """Where the scheduler is, and the keys for it."""
    address = given if isinstance(given, str) else getattr(given, "scheduler_address", None)
    if not isinstance(address, str) or not address:
        raise UsageError(f"Client(dask={given!r}): {_WANTED}")
    if status := _closed(given):
        raise UsageError(f"Client(dask=...): the {type(given).__name__} is {status}; give an open one")
    security = getattr(given, "security", None) or Security()
    if address.startswith("tls://") and security.get_connection_args("client").get("ssl_context") is None:
        raise UsageError(
            f"Client(dask={given!r}): a scheduler at tls:// asks for certificates, and none are known here; give a "
            "distributed.Client(ADDRESS, security=distributed.Security(...)), or set distributed.comm.tls of Dask"
        )
    return address, security


def _connected(given: Any) -> DaskClient:
    """A client of our own, which does not become the one that other code uses by default."""
    address, security = _address(given)
    try:
        # A Dask client that does not come about may wait for minutes, and would say so again when it is collected.
        if not address.startswith("inproc://"):
            # one that refuses is known at once; Dask would try again until the time is up
            socket.create_connection(get_address_host_port(address), _CONNECT_S).close()
            with concurrent.futures.ThreadPoolExecutor(1) as thread:  # a notebook has a loop in this one
                thread.submit(asyncio.run, identity(address, security, _CONNECT_S)).result()
        return DaskClient(given, set_as_default=False, timeout=_CONNECT_S)
    except ValueError as error:
        own = ", and one at inproc:// is reached from its own process alone" if address.startswith("inproc://") else ""
        raise UsageError(f"Client(dask={given!r}): {error}{own}; {_WANTED}") from error
    except OSError as error:
        raise Unavailable(_silent(address, error)) from error
    except RuntimeError as error:  # it was closed since it was looked at
        if not (status := _closed(given)):
            raise
        raise UsageError(f"Client(dask=...): the {type(given).__name__} is {status}; give an open one") from error


def _closed(given: Any) -> str:
    """How a cluster is that ends or has ended; empty of any other."""
    status = str(getattr(getattr(given, "status", None), "name", ""))
    return status if status in {"closing", "closed"} else ""


def _silent(address: str, error: OSError) -> str:
    told = str(error) or "it accepts connections and says nothing"
    return f"no Dask scheduler answered at {address} ({told}); check that it runs, and that this machine reaches it"


def _version() -> str:
    return metadata.version("vrecompute")
