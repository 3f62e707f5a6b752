"""`WorkerExit`: how a worker process died and what memory it had, as reported by its nanny.

    dask worker --preload-nanny vrecompute.workers.worker_exit       (so do the nannies of this machine)

    nanny: looks at its worker's memory, five times a second
           its own kill for memory        -> the very figure that it killed for
           any other death                -> exit code, the figure of its last look, and whether the kernel
                                             killed in their control group, with the group's peak and limit
           the scheduler keeps it as an event of the topic TOPIC
    Runner: worker_exit(...) reads it back

A nanny that dies with its worker, as when Slurm kills a whole job, reports nothing; then the batch system does.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import psutil

from vrecompute.wording import bytes_text
from vrecompute.workers.cgroup import own_group
from vrecompute.workers.dask_hooks import ended_for_memory, memory_limit, watch_worker, workers_of

if TYPE_CHECKING:
    from distributed import Client as DaskClient


__all__ = ["TOPIC", "WorkerExit", "dask_setup", "worker_exit", "worker_exits"]

TOPIC = "vrecompute-worker-exit"
_LOOK_MS = 200
# Five seconds of them: on a busy node it takes that long to end a process that has much memory to give back.
_LOOKS = 25
# How long to wait for a report of how a worker died: a batch system is polled twice a minute, and its
# accounting takes as long again.
_PATIENCE_S = 60.0
_AGAIN_S = 0.2


@dataclass(frozen=True)
class WorkerExit:
    """One death of a worker process; sizes in bytes, 0 where unknown, as `pid` is for one that died at once.

    `exit_code` is negative for a signal. `by` is what killed it for memory: "nanny", "kernel" or "" where
    unknown. `peak_bytes` of `limit_bytes` is the worker's own memory; `group_peak_bytes` of `group_limit_bytes`
    that of its control group, its job as a rule, where the kernel killed. `job` is `$VRECOMPUTE_JOB`.
    """

    worker: str
    pid: int
    node: str
    job: str
    exit_code: int
    by: str = ""
    peak_bytes: int = 0
    limit_bytes: int = 0
    group_peak_bytes: int = 0
    group_limit_bytes: int = 0

    @property
    def for_memory(self) -> bool:
        """Whether it was killed for memory."""
        return bool(self.by)

    @property
    def explains(self) -> bool:
        """Whether this is the full cause: a bare SIGKILL may have come from a batch system that ends its job."""
        return self.for_memory or self.exit_code != -signal.SIGKILL

    def __str__(self) -> str:
        """What happened, with job, node, peak and limit, as part of a sentence.

        >>> str(WorkerExit("tcp://10.0.0.1:7", 4711, "c1", "12", -15, "nanny", 970_000_000, 1_000_000_000))
        'the worker in job 12 on c1 was ended by its Dask nanny at 970.0 MB of its 1.0 GB'
        """
        where = f"the worker in job {self.job} on {self.node}" if self.job else f"the worker on {self.node}"
        last = f"{bytes_text(self.peak_bytes)} of its {bytes_text(self.limit_bytes)}" if self.limit_bytes else ""
        if self.by == "nanny":
            return f"{where} was ended by its Dask nanny at {last}"
        seen = f"it was last seen at {last}" if last and self.peak_bytes else "its memory is not known"
        if self.by == "kernel" and self.group_limit_bytes:
            whose = "the job's" if self.job else "its control group's"
            peak = f" (peak {bytes_text(self.group_peak_bytes)})" if self.group_peak_bytes else ""
            limit = bytes_text(self.group_limit_bytes)
            return f"{where} was killed by the kernel at {whose} memory limit of {limit}{peak}; {seen}"
        if self.by == "kernel":
            return f"{where} was killed by the kernel because the node ran out of memory; {seen}"
        return f"{where} {_end_text(self.exit_code)}; {seen}"


def dask_setup(nanny: Any) -> None:
    """Have a nanny report its worker's death; called by Dask before the worker is started."""
    _ExitReporter(nanny)


class _ExitReporter:
    """Samples the memory of a nanny's worker, and reports its death."""

    def __init__(self, nanny: Any) -> None:
        self.nanny = nanny
        self.group = own_group()
        # Counts of the kernel's kills at the last looks: it counts a kill before the death is noticed.
        self.kills: deque[int] = deque(maxlen=_LOOKS)
        self.peak_bytes = 0
        self.pid: int | None = None
        self.ended_at = 0
        self._log_event = watch_worker(nanny, look=self.look, every_ms=_LOOK_MS, event=self.heard, end=self.ended)

    def look(self) -> None:
        """Remember what the worker has; a process never gives its peak back once it is gone."""
        pid = self.nanny.pid
        if pid is None:
            return
        if pid != self.pid:
            self.pid, self.peak_bytes = pid, 0
        if self.group is not None:
            self.kills.append(self.group.kills())
        try:
            self.peak_bytes = max(self.peak_bytes, psutil.Process(pid).memory_info().rss)
        except psutil.Error:
            return

    def heard(self, topic: Any, message: Any) -> None:
        """Of the nanny's events, the one that says that it kills for memory."""
        if (killed := ended_for_memory(topic, message)) is not None:
            self.pid, self.ended_at = killed

    def ended(self, exit_code: int) -> None:
        """Report a death."""
        if self.nanny.status.name == "running":  # else it was asked to end
            self._log_event(TOPIC, asdict(self._word(exit_code)))
        # its successor may die before the first look at it
        self.pid, self.ended_at, self.peak_bytes = None, 0, 0
        if self.group is not None:  # a kill explains one death
            self.kills.clear()
            self.kills.append(self.group.kills())

    def _word(self, exit_code: int) -> WorkerExit:
        by, group = "nanny" if self.ended_at else "", (0, 0)
        killed = exit_code == -signal.SIGKILL and not by
        if killed and self.group is not None and self.kills and self.group.kills() > self.kills[0]:
            by, group = "kernel", self.group.peak_and_limit()
        return WorkerExit(
            worker=self.nanny.worker_address,
            pid=self.pid or 0,
            node=socket.gethostname(),
            job=os.environ.get("VRECOMPUTE_JOB", ""),
            exit_code=exit_code,
            by=by,
            peak_bytes=self.ended_at or self.peak_bytes,
            limit_bytes=memory_limit(self.nanny),
            group_peak_bytes=group[0],
            group_limit_bytes=group[1],
        )


def worker_exits(dask: DaskClient) -> dict[tuple[str, int], WorkerExit]:
    """Every WorkerExit that nannies reported, by address and process id: addresses are used again."""
    words = [WorkerExit(**event) for _, event in dask.get_events(TOPIC)]
    return {(word.worker, word.pid): word for word in words}


def worker_exit(
    dask: DaskClient,
    worker: Any,
    deaths: Callable[[], Mapping[str, object]],
    give_up: Callable[[], bool] = lambda: False,
    patience_s: float = _PATIENCE_S,
) -> WorkerExit | None:
    """What its nanny said of a dead `worker` (a WorkerState); waits until that, or `deaths` of its job, explains it.

    A live nanny reports at once. None where no report came within `patience_s` seconds, or before `give_up`.
    """
    deadline = time.monotonic() + patience_s
    while True:
        words = worker_exits(dask)
        word = words.get((worker.address, worker.pid)) or words.get((worker.address, 0))
        if word is not None and (word.explains or _lives_on(dask, worker)):
            return word
        if str(worker.name) in deaths() or give_up() or time.monotonic() > deadline:
            return word
        time.sleep(_AGAIN_S)


def _lives_on(dask: DaskClient, worker: Any) -> bool:
    """Whether its nanny has started another worker: then it was that process alone, and no job has ended."""
    # the dead one is no longer among the scheduler's workers
    return any(w["nanny"] == worker.nanny for w in workers_of(dask).values())


def _end_text(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended itself with exit code {exit_code}"
    try:
        name = f", {signal.Signals(-exit_code).name}"
    except ValueError:
        name = ""
    return f"was killed by signal {-exit_code}{name}"
