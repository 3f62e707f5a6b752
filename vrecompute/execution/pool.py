"""`TaskPool`: tasks in flight on any Dask cluster; deaths of workers come back as facts, never as lost work."""

from __future__ import annotations

import concurrent.futures
import contextvars
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType, TracebackType
from typing import Any, Literal, Self

import cloudpickle
from distributed import Client as DaskClient
from distributed import Future
from distributed.client import CancelledError
from distributed.scheduler import KilledWorker

from vrecompute.analysis.arithmetic import with_arithmetic
from vrecompute.analysis.importeffects import apply
from vrecompute.analysis.leftbehind import changing, put_back_after
from vrecompute.analysis.processreads import Reads, forget
from vrecompute.analysis.processstate import hold_process
from vrecompute.errors import AnalysisError, ClusterLost, StoreError
from vrecompute.execution.anew import Sent
from vrecompute.execution.byvalue import Packed
from vrecompute.execution.hands import Hands
from vrecompute.execution.signer import Signer
from vrecompute.remote.signed import Signed, with_signed
from vrecompute.stores.handed import handing
from vrecompute.workers import dask_hooks
from vrecompute.workers.packed_call import packed as packed_call
from vrecompute.workers.paused_workers import all_paused

__all__ = ["Finished", "Shared", "TaskPool"]

# A chunk present at this many deaths of workers is run alone (law 11).
_DEATHS = 3
# How old the known number of threads may be: asking is a round trip to the scheduler.
_THREADS_S = 0.5
# How long its answer is waited for; a scheduler that is gone is called for a minute.
_ANSWER_S = 1.0
# The same of whether workers are paused, which is asked only while no task ends.
_STATES_S = 2.0
# How long a scheduler may say nothing at all before it is taken for gone, and a worker before its result is.
_SILENT_S, _RESULT_S = 120.0, 60.0
# How often a task may be given up: by a restart of the cluster, which forgets all tasks.
_MOST_CANCELLED = 10
# How often a result is asked for that is lost again and again.
_ASKED = 3


@dataclass(frozen=True)
class Finished:
    """One task that ended: `value` is what it returned, or the exception it raised."""

    ticket: Any
    how: Literal["done", "raised", "killed", "cancelled"]
    value: Any


class TaskPool:
    """Submits calls `function(shared, *arguments)` and hands back each as it ends.

    `shared` is sent once as a separate task, so that Dask computes it again wherever a worker that held
    it is lost. A ticket that was sent twice ends once, with the first copy to finish that is not `idle`: one
    whose value says that it did nothing. Where workers do not reach the store, `hands` brings its objects to them,
    those named by `common` once, and theirs to it, before a task has ended. `signer` signs addresses for them.
    """

    def __init__(
        self,
        dask: DaskClient,
        label: str,
        idle: Callable[[Any], bool] = lambda value: False,
        hands: Hands | None = None,
        common: Iterable[str] = (),
        signer: Signer | None = None,
    ) -> None:
        self.dask = dask
        self._hands = hands
        self._signer = signer
        self._signed: tuple[Signed | None, Any] = (None, None)
        self.label = label
        self._idle = idle
        self._ended: queue.SimpleQueue[tuple[Any, Future]] = queue.SimpleQueue()
        self._flying: dict[Any, list[Future]] = {}
        self._since: dict[Any, float] = {}
        self._count = 0
        self._cancelled: Counter[Any] = Counter()
        self._threads, self._counted = 0, -_THREADS_S
        self._asked_at = 0.0
        self._count_asked: concurrent.futures.Future[dict[str, int]] | None = None
        self._paused, self._states_at = "", -_STATES_S
        self._states_asked: concurrent.futures.Future[Mapping[str, Any]] | None = None
        self._common = self.share(hands.objects(common)) if hands is not None else None
        # after which the Runner decides
        dask_hooks.ask_scheduler(dask, dask_hooks.allow_failures, _DEATHS - 1, timeout_s=_SILENT_S)

    def share(self, value: Any, packed: Packed | None = None) -> Shared:
        """Something all tasks need, as an argument for `submit`; the `analysis` of a dataclass is what was packed."""
        # By value and opened inside a task: an analysis from a notebook or a user's file has no module to be
        # imported on a worker, and what cannot be opened there comes back as an error.
        if packed is None:
            return self._shared("shared", cloudpickle.loads, cloudpickle.dumps(value))
        bare = cloudpickle.dumps(replace(value, analysis=None))
        return self._shared("shared", *packed_call(_Shared, bare, packed.data))

    def _shared(self, kind: str, *call: Any) -> Shared:
        def send() -> Future:
            self._count += 1
            return self.dask.submit(*call, key=f"{self.label}-{kind}-{self._count}", pure=False)

        return Shared(send)

    def submit(
        self, ticket: Any, function: Callable[..., Any], *arguments: Any, reads: Iterable[str] = (), **named: Any
    ) -> None:
        """Send a call, known by `ticket`; sending a ticket that is in flight makes a second copy of it.

        `reads` are objects of the store that the call reads if it has them.
        """
        self._count += 1
        if self._hands is not None:
            own = self._hands.those_there(reads)
            function, arguments = handing, (function, self._common, own, *arguments)
        if (signed := self._signed_now()) is not None:
            function, arguments = with_signed, (signed, function, *arguments)
        there = (a.future() if isinstance(a, Shared) else a for a in arguments)
        call = packed_call(_called, function, *there, **named)
        key = f"{self.label}-{self._count}"
        future = self.dask.submit(*call, key=key, pure=False, priority=-self._count)
        self._flying.setdefault(ticket, []).append(future)
        self._since.setdefault(ticket, time.monotonic())
        future.add_done_callback(lambda done, ticket=ticket: self._ended.put((ticket, done)))

    def _signed_now(self) -> Shared | None:
        """Addresses that are signed for tasks, on the workers; None where there are none."""
        signed = None if self._signer is None else self._signer.current()
        if signed is not self._signed[0]:
            self._signed = signed, self._shared("signed", *packed_call(_itself, signed))
        return None if signed is None else self._signed[1]

    def __len__(self) -> int:
        return len(self._flying)

    def tickets(self) -> Iterable[Any]:
        """Those in flight."""
        return self._flying.keys()

    def flying(self) -> list[tuple[Any, float, int]]:
        """(ticket, seconds since submitted, copies) of everything in flight."""
        now = time.monotonic()
        return [(t, now - self._since[t], len(f)) for t, f in self._flying.items()]

    def wait(self, timeout_s: float) -> Finished | None:
        """The next task that ends, or None after `timeout_s` seconds without one."""
        try:
            ticket, future = self._ended.get(timeout=timeout_s)
        except queue.Empty:
            return None
        copies = self._flying.get(ticket)
        if copies is None or future not in copies:
            return None
        how, value = _outcome(future)
        if how == "done" and self._hands is not None:
            try:
                value = self._hands.taken(value)
            except StoreError as error:
                how, value = "raised", error
        if len(copies) > 1 and (how != "done" or self._idle(value)):
            copies.remove(future)
            return None
        del self._flying[ticket]
        for other in copies:
            if other is not future:
                other.cancel()
        del self._since[ticket]
        self._note_cancelled(ticket, how)
        return Finished(ticket, how, value)

    def _note_cancelled(self, ticket: Any, how: str) -> None:
        """A task that is given up again and again would be sent for ever."""
        if how != "cancelled":
            self._cancelled.pop(ticket, None)
            return
        self._cancelled[ticket] += 1
        if self._cancelled[ticket] > _MOST_CANCELLED:
            raise ClusterLost(
                f"the Dask cluster gave up the same task {self._cancelled[ticket]} times, as it does when it is "
                "restarted, or when its workers do not give their results; see the log of its scheduler"
            )

    def threads(self) -> int:
        """Worker threads that are there, or were half a second ago; never waits long for a scheduler that is gone.

        Raises OSError where it could not be reached, or has been silent for long.
        """
        if self._count_asked is None and time.monotonic() - self._counted >= _THREADS_S:
            self._asked_at = time.monotonic()
            self._count_asked = dask_hooks.ask_cores(self.dask)
        if self._count_asked is not None and concurrent.futures.wait([self._count_asked], _ANSWER_S).done:
            counted, self._count_asked = self._count_asked.result(), None
            self._threads, self._counted = sum(counted.values()), time.monotonic()
        elif self._count_asked is not None and time.monotonic() - self._asked_at > _SILENT_S:
            raise TimeoutError(f"it has not answered for {_SILENT_S:.0f} s")
        return self._threads

    def paused(self) -> str:
        """That all workers are paused, in words, or were two seconds ago; empty while one takes or computes tasks."""
        if self._states_asked is None and time.monotonic() - self._states_at >= _STATES_S:
            self._states_asked = dask_hooks.ask_states(self.dask)
        if self._states_asked is not None and concurrent.futures.wait([self._states_asked], _ANSWER_S).done:
            told, self._states_asked = self._states_asked.result(), None
            self._paused, self._states_at = all_paused(told.get("workers", {})), time.monotonic()
        return self._paused

    def memory(self) -> dict[str, tuple[int, int]]:
        """(bytes in use, bytes allowed) of each worker as of its last heartbeat, by address."""
        return {
            address: (int(w.get("metrics", {}).get("memory", 0)), int(w.get("memory_limit") or 0))
            for address, w in dask_hooks.workers_of(self.dask).items()
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Where workers were waited for in vain, their scheduler is there: what is left would be of no use."""
        if isinstance(error, ClusterLost) and error.was_waited_for:
            self.cancel()

    def cancel(self) -> None:
        """Give up everything in flight; what a running thread still writes is durable and harmless."""
        for futures in self._flying.values():
            for future in futures:
                future.cancel()
        self._flying.clear()
        self._since.clear()


class Shared:
    """What `TaskPool.share` sent; again where a restart of the cluster has made it forget that."""

    def __init__(self, send: Callable[[], Future]) -> None:
        self._send = send
        self._sent = send()

    def future(self) -> Future:
        """For the next task that needs it."""
        if self._sent.status == "cancelled":
            self._sent = self._send()
        return self._sent


class _Shared:
    """A context with its analysis, whose functions may import modules that only their client had.

    Dask copies it from worker to worker: as it came, for what was made of it here has lost its source.
    """

    def __init__(self, bare: bytes, data: bytes) -> None:
        self._packed = (bare, data)
        context = cloudpickle.loads(bare)
        forget()
        # Making objects, and what importing did, may call functions of the user's.
        reads, folder = getattr(context, "reads", Reads()), getattr(context, "folder", "")
        with reads.watching(getattr(context, "own", ""), folder=folder):
            sent = Sent(data)
            analysis, modules, effects, key, self._arithmetic = sent.opened()
            self._modules = {module.__name__: module for module in modules}
            with _shown(self._modules), changing():
                self._variables = apply(key, effects)
                hold_process(self._arithmetic)
        analysis.effects = effects
        self.context = replace(context, analysis=analysis, **({"sent": sent} if hasattr(context, "sent") else {}))

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """What a function gives where the analysis' modules have been imported."""
        context = contextvars.copy_context()
        for variable, value in self._variables.items():
            context.run(variable.set, value)
        with _shown(self._modules), put_back_after():
            return context.run(with_arithmetic, self._arithmetic, function, *arguments, **named)

    def __reduce__(self) -> tuple[type, tuple[bytes, bytes]]:
        return _Shared, self._packed


# Modules of runs that this process has, and how many calls are under way.
_theirs: dict[str, ModuleType] = {}
_calls = 0
_showing = threading.Lock()


@contextmanager
def _shown(modules: Mapping[str, ModuleType]) -> Iterator[None]:
    """Let functions of a run import its modules, and none of a run before: that may have had others by these names."""
    global _calls
    with _showing:
        for name in [] if _calls else [*_theirs]:
            if sys.modules.get(name) is _theirs.pop(name):
                sys.modules.pop(name, None)
        _theirs.update(modules)
        sys.modules.update(modules)
        _calls += 1
    try:
        yield
    finally:
        with _showing:
            _calls -= 1


def _itself(value: Any) -> Any:
    return value


def _called(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    shared = next((a for a in arguments if isinstance(a, _Shared)), None)
    try:
        if shared is None:
            return function(*arguments, **named)
        return shared.call(function, *(a.context if isinstance(a, _Shared) else a for a in arguments), **named)
    except (SystemExit, KeyboardInterrupt) as error:  # which would end this thread or its worker, with a traceback
        raise AnalysisError(f"code of the analysis raised {type(error).__name__} on a worker") from error


def _outcome(future: Future) -> tuple[Literal["done", "raised", "killed", "cancelled"], Any]:
    error: BaseException | None = None
    # A result may be lost with its worker while it is asked for: then it is computed again, and may end otherwise.
    for _ in range(_ASKED):
        if future.status == "cancelled":
            return "cancelled", CancelledError(future.key)
        error = None if future.status == "finished" else future.exception()
        if error is not None:
            break
        try:
            return "done", future.result(timeout=_RESULT_S)
        except Exception as trouble:
            error = trouble
    if isinstance(error, TimeoutError) and future.status == "finished":
        return "cancelled", error  # its worker does not give it, another will
    return ("killed" if isinstance(error, KilledWorker) else "raised"), error
