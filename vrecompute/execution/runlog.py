"""What happened in a run, as one immutable object an event; the state of a run is derived from them."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vrecompute.errors import AbsentObject, StoreError, VrecomputeError
from vrecompute.execution.head import Head, read_head, tell
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.outcome import Outcome
from vrecompute.stores.base import Store
from vrecompute.stores.directory import DirStore
from vrecompute.stores.objects import read_document, sealed, write_document

__all__ = [
    "ENDED",
    "OUT_OF_TIME",
    "REFUSALS",
    "Ended",
    "Over",
    "RunLog",
    "Seen",
    "began",
    "cancel_requested",
    "complete_since",
    "create_next",
    "delete_run",
    "head_state",
    "latest_event",
    "never_over",
    "outcomes",
    "read_event",
    "request_cancel",
    "run_state",
    "speaks",
    "withdraw_cancel",
]

#: Whether an attempt of a job, by its native id, is over.
Over = Callable[[str, int], bool]
#: A Runner's last word where its job ended before the run.
OUT_OF_TIME = "out-of-time"
#: Its last word otherwise. How it ended is in its outcome; without one, no client needs to wait for it.
ENDED = "ended"
#: The last word of a client whose run got no workers -> the state that the run is in.
REFUSALS = {
    "refused": "refused",
    "over-budget": "over budget",
    "cancelled": "cancelled",
    "unavailable": "interrupted",
}
_LAST_WORDS = frozenset({OUT_OF_TIME, ENDED, *REFUSALS})
_FOR_THE_HEAD = _LAST_WORDS | {"started", "progress"}
# A writer that has said nothing for this long is taken for dead.
_SILENCE_S = 180.0
_BEAT_S = 5.0
_TICK_S = 1.0


class RunLog:
    """One Runner's own log. It beats often at first and rarely in long runs, so that logs stay small."""

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self.store = store
        self.manifest = manifest
        self.prefix = manifest.prefix
        self.writer = f"{int(time.time()):x}-{socket.gethostname()[:24]}-{os.getpid()}-{secrets.token_hex(2)}"
        self._lock = threading.Lock()
        self._number = 0
        self._status: dict[str, str] = {}
        self._started = self._told = time.monotonic()

    def event(self, kind: str, **facts: Any) -> None:
        """Record one event."""
        # whose silence need not be waited for where the batch system knows that the job is over
        job: dict[str, Any] = {}
        if "VRECOMPUTE_JOB" in os.environ:
            job = {"job": os.environ["VRECOMPUTE_JOB"], "attempt": int(os.environ.get("VRECOMPUTE_ATTEMPT") or 0)}
        body = {"event": kind, "time": time.time(), "writer": self.writer, **_process(), **job, **facts}
        with self._lock:  # the Runner and the thread that beats both speak
            name = f"{self.prefix}events/{self.writer}/{{:08}}.json"
            self._number = create_next(self.store, name, self._number, "event", body)
            if kind in _FOR_THE_HEAD:
                self._tell(body)

    def beat(self, **facts: Any) -> None:
        """Record progress, if enough time has passed since this Runner's last entry in the run's head."""
        now = time.monotonic()
        if now - self._told >= min(max(_BEAT_S, 0.02 * (now - self._started)), _SILENCE_S / 3):
            self.event("progress", **facts)

    @contextlib.contextmanager
    def speaking(self, facts: Callable[[], Mapping[str, Any]]) -> Iterator[None]:
        """Progress goes into the log from a separate thread: a long `finish` is no silence. Then, that it ended."""
        over = threading.Event()

        def speak() -> None:
            while not over.wait(_TICK_S):
                with contextlib.suppress(StoreError):
                    self.beat(**facts())

        thread = threading.Thread(target=speak, name=f"vrecompute-log-{self.prefix}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        with contextlib.suppress(StoreError):
            self.event(ENDED, **facts())

    def outcome(self, data: Mapping[str, Any]) -> None:
        """Record how this Runner ended. The first that ended complete does so under a name that any client knows."""
        names = [_complete(self.manifest.run)] if data["status"] == "complete" else []
        # The order of cuts in a cutflow is part of it.
        for name in [*names, f"{self.prefix}outcomes/{self.writer}.json"]:
            if write_document(self.store, name, "outcome", data, ordered=True):
                break
        with self._lock:
            why = "" if names else Outcome.from_data(dict(data), self.manifest.run).why
            self._status = {"status": data["status"], "why": why}
            self._tell({"event": ENDED, "time": time.time(), **_process()})

    def _tell(self, event: Mapping[str, Any]) -> None:
        with contextlib.suppress(VrecomputeError):  # it is a hint
            tell(self.store, self.manifest, writer=self.writer, event={**event, **self._status})
        self._told = time.monotonic()


def create_next(store: Store, name: str, number: int, kind: str, body: Mapping[str, Any]) -> int:
    """Write the first document of `name.format(number)`, `number + 1`, ... that is not there; the number after it."""
    while not write_document(store, name.format(number), kind, body):
        # A store behind a connection may have created it although its answer was lost.
        if store.get(name.format(number)) == sealed(name.format(number), kind, body):
            break
        number += 1
    return number + 1


class Ended(NamedTuple):
    """How one Runner of a run ended, and when."""

    outcome: Outcome
    writer: str
    ended: float


class Seen(NamedTuple):
    """What one listing of a run has shown: all its names, and how its Runners ended."""

    names: Sequence[str]
    ended: list[Ended]
    damaged: dict[str, StoreError]


def outcomes(store: Store, run: str, names: Sequence[str] | None = None) -> tuple[list[Ended], dict[str, StoreError]]:
    """How each Runner of a run ended, the best first (complete, then partial, then the latest).

    And, by writer, why it cannot be known of others. That one ended is certain; the run can be taken up again, and
    its parts prove themselves. `names` are those of a listing of the run, if there was one.
    """

    def ended(body: dict[str, Any]) -> Ended:
        return Ended(Outcome.from_data(body, run), str(body["writer"]), float(body["ended"]))

    found: list[Ended] = []
    damaged: dict[str, StoreError] = {}
    for name in store.names(f"runs/{run}/outcomes") if names is None else _below(names, f"runs/{run}/outcomes/"):
        try:
            found.append(read_document(store, name, "outcome", ended))
        except StoreError as error:
            damaged[name.split("/")[3].removesuffix(".json")] = error
    rank = {"complete": 0, "test": 0, "partial": 1}
    return sorted(found, key=lambda e: (rank.get(e.outcome.summary.status, 2), -e.ended)), damaged


def read_event(store: Store, name: str) -> dict[str, Any]:
    """What a Runner said; DamagedObject where it is not what was written."""

    def event(body: dict[str, Any]) -> dict[str, Any]:
        said = {"event": str(body["event"]), "time": float(body["time"]), "writer": str(body["writer"])}
        return {**body, **said, "host": str(body["host"]), "pid": int(body["pid"])}

    return read_document(store, name, "event", event)


def _below(names: Sequence[str], prefix: str) -> list[str]:
    return [name for name in names if name.startswith(prefix)]


def never_over(job: str, attempt: int) -> bool:
    """What is assumed where no batch system is asked."""
    del job, attempt
    return False


def run_state(store: Store, run: str, over: Over = never_over, seen: Seen | None = None) -> str:
    """`complete`, `partial`, `failed`, `cancelled`, `running`, `refused`, `over budget`, or `interrupted`.

    That is, no Runner has spoken for some minutes.

    `over` tells of a native id and its attempt whether that has ended, with any Runner in it: a job may wait in the
    queue again. `seen` is asked for no more. Without it, a run that is complete or running costs two requests, however
    long its log is.
    """
    if seen is None and (quick := _quick_state(store, run, over)):
        return quick
    ended, damaged = outcomes(store, run) if seen is None else (seen.ended, seen.damaged)
    if ended and ended[0].outcome.summary.status == "complete":
        return "complete"  # a Runner still at it adds nothing
    writers = {e.writer for e in ended} | set(damaged)
    latest: dict[str, str] = {}
    prefix = f"runs/{run}/events"
    for name in store.names(prefix) if seen is None else _below(seen.names, f"{prefix}/"):
        writer = name.split("/")[3]
        latest[writer] = max(name, latest.get(writer, ""))
    gone, said = False, []
    for writer, name in latest.items():
        if writer in writers:
            continue
        try:
            event = read_event(store, name)
        except StoreError:
            continue
        said.append(event)
        if (at_work := _at_work(event, over)) is True:
            return "running"
        gone = gone or at_work is None
    if gone:
        ended, _ = outcomes(store, run)  # one that ended since the first look, and is gone, has said how
    return ended[0].outcome.summary.status if ended else _without_outcome(said)


def _without_outcome(said: Iterable[Mapping[str, Any]]) -> str:
    last: Mapping[str, Any] = max(said, key=lambda event: event["time"], default={"event": ""})
    return REFUSALS.get(last["event"], "interrupted")


def latest_event(store: Store, run: str) -> dict[str, Any] | None:
    """What the Runner that began last said last, of however many that the run had; None where that is not known."""
    head = read_head(store, run)
    if head is not None and head.said:
        return dict(head.latest or {})
    names = list(store.names(f"runs/{run}/events"))
    try:
        # a writer's name begins with its time in hexadecimal
        latest = max(names, key=lambda n: (int(n.split("/")[3].partition("-")[0], 16), n), default="")
        return read_event(store, latest) if latest else None
    except (StoreError, ValueError):
        return None


def began(event: Mapping[str, Any]) -> float | None:
    """When the Runner of an event began, in seconds since 1970: its name begins with that in hexadecimal."""
    return float(int(str(event["writer"]).partition("-")[0], 16)) if "writer" in event else None


def speaks(event: Mapping[str, Any], over: Over = never_over) -> bool:
    """Whether the Runner of an event is at work still, as far as the store, this machine and `over` tell."""
    return _at_work(event, over) is True


def _quick_state(store: Store, run: str, over: Over) -> str:
    """`complete` or `running`; empty where only the run's log tells for certain."""
    try:
        if complete_since(store, run) is not None:
            return "complete"
    except StoreError:
        return ""
    head = read_head(store, run)
    return "running" if head is not None and head_state(head, over) == "running" else ""


def complete_since(store: Store, run: str) -> float | None:
    """When a Runner of a run ended complete, by one request, if one did. DamagedObject where it cannot be read how."""

    def complete(body: dict[str, Any]) -> float:
        if (status := Outcome.from_data(body, run).summary.status) != "complete":
            raise ValueError(f"it ended {status!r}")
        return float(body["ended"])

    try:
        return read_document(store, _complete(run), "outcome", complete)
    except AbsentObject:
        return None


def head_state(head: Head, over: Over = never_over) -> str:
    """The state of a run as its head tells it; where that is `complete`, it has to be looked at."""
    ended = [str(event["status"]) for event in head.said.values() if "status" in event]
    if any(_at_work(event, over) for event in head.said.values() if "status" not in event):
        return "running"
    best = next((status for status in ("complete", "test", "partial") if status in ended), "")
    return best or (ended[-1] if ended else _without_outcome(head.said.values()))


def _at_work(event: Mapping[str, Any], over: Over) -> bool | None:
    """Whether the Runner of an event is at work; None where its process or job is known to be gone."""
    if _gone(event):
        return None
    if event["event"] in _LAST_WORDS or time.time() - event["time"] >= _SILENCE_S:
        return False
    # of a version that told no attempt only the end of the job itself counts
    return None if over(str(event.get("job", "")), int(event.get("attempt", sys.maxsize))) else True


def _complete(run: str) -> str:
    return f"runs/{run}/outcomes/complete.json"


def _process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _gone(event: Mapping[str, Any]) -> bool:
    """Whether it is of a process of this machine that is no more, so that its silence needs no waiting for."""
    return event["host"] == socket.gethostname() and not _alive(event["pid"])


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another client's, and alive
    return True


def delete_run(store: Store, run: str) -> None:
    """Remove a run's own objects, the manifest last: a deletion that was cut short can be repeated."""
    for name in sorted(store.names(f"runs/{run}"), key=lambda n: n.endswith("/manifest.json")):
        store.delete(name)
    if isinstance(store, DirStore) and (path := store.local_path(f"runs/{run}")) is not None:  # which is no object's
        shutil.rmtree(path, ignore_errors=True)


def request_cancel(store: Store, run: str) -> None:
    """Ask the Runner of this run to stop."""
    store.create(f"runs/{run}/cancel", b"cancelled by its user\n")


def withdraw_cancel(store: Store, run: str) -> None:
    """A client that resumes a run wants it finished after all."""
    store.delete(f"runs/{run}/cancel")


def cancel_requested(store: Store, run: str) -> bool:
    """Whether a client asked for an end."""
    return store.exists(f"runs/{run}/cancel")
