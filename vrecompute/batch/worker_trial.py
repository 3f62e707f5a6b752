"""`try_worker`: a worker of a run tried in a probe's job, started as runs start it, beside a scheduler in the same job.

Its command, ports, keys, nanny and memory limit are those of runs, and what the site sets is set in the job already.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distributed import Client as DaskClient

from vrecompute.batch.post_mortem import last_lines
from vrecompute.batch.scheduler import scheduler_beside
from vrecompute.batch.tls import security_of
from vrecompute.batch.worker_command import SETTINGS, WorkerShape, worker_command
from vrecompute.workers.dask_hooks import workers_of

__all__ = ["numbers", "try_worker"]

#: How long a worker may take to connect, and then to import, compile and answer: a file system may be slow.
_CONNECT_S, _ANSWER_S = 75.0, 75.0
_LOOK_S = 0.2
_END_S = 10.0
#: Of a traceback, what says what failed; the lines around it say where in Dask.
_FAULT = re.compile(r"(?:[A-Za-z_][\w.]*(?:Error|Exception)|Killed|MemoryError)\b.*")
#: What a nanny says of a worker that ended: another would end in the same way.
_ENDED = "Restarting worker"
_MOST_ENDS = 2


def numbers() -> dict[str, Any]:
    """What decides the numbers of a run in this process: its `numerics`, and digests of `code`, as runs compare them.

    By name: drivers and their common layer know no analysis.
    """
    found: dict[str, Any] = importlib.import_module("vrecompute.analysis.numbers_here").numbers_here()
    return found


def try_worker(shape: WorkerShape, pem: Path | None) -> dict[str, Any]:
    """`numbers` of a worker of this shape, and `error` empty; or why there are none, with the end of its log.

    `pem` is the key of the cluster, None where it has none.
    """
    with tempfile.TemporaryFile() as log:
        try:
            with scheduler_beside(shape.interface, None, pem) as address, _worker(shape, address, log) as worker:
                return {"error": "", "numbers": _asked(address, pem, worker, log)}
        except _NoWorkerError as error:
            return {"error": f"{error}. Its log ends: {_fault(_text(log))}"}
        except Exception as error:  # what the task or the scheduler raised; the rest of the probe is told all the same
            return {"error": f"{type(error).__name__}: {error}"}


class _NoWorkerError(RuntimeError):
    """There is no worker, or it does not answer: its log may tell why."""


@contextlib.contextmanager
def _worker(shape: WorkerShape, address: str, log: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The process that holds nanny and worker, and leads a process group."""
    command = worker_command(shape, address, leave=True)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, **SETTINGS},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _asked(address: str, pem: Path | None, worker: subprocess.Popen[bytes], log: Any) -> dict[str, Any]:
    """What a task on the worker found. _NoWorkerError, or what the task raised, where there is no answer."""
    with DaskClient(address, security=security_of(pem), set_as_default=False, timeout=_CONNECT_S) as dask:
        until = time.monotonic() + _CONNECT_S
        while not workers_of(dask):
            _still_there(worker, log)
            if time.monotonic() > until:
                raise _NoWorkerError(f"a worker has not connected to its scheduler within {_CONNECT_S:.0f} s")
            time.sleep(_LOOK_S)
        task = dask.submit(numbers, pure=False, retries=0)
        until = time.monotonic() + _ANSWER_S
        while not task.done():
            _still_there(worker, log)
            if time.monotonic() > until:
                raise _NoWorkerError(f"a worker has not ended its first task within {_ANSWER_S:.0f} s")
            time.sleep(_LOOK_S)
        found: dict[str, Any] = task.result(timeout=_ANSWER_S)
        return found


def _still_there(worker: subprocess.Popen[bytes], log: Any) -> None:
    if (code := worker.poll()) is not None:
        raise _NoWorkerError(f"a worker ended with exit code {code}")
    if (ends := _text(log).count(_ENDED)) >= _MOST_ENDS:
        raise _NoWorkerError(f"a worker ended {ends} times before it computed anything")


def _text(log: Any) -> str:
    """All that is in the file, which the worker writes at its end: its position is not moved."""
    return os.pread(log.fileno(), os.fstat(log.fileno()).st_size, 0).decode(errors="replace")


def _fault(told: str) -> str:
    """The errors that a log names first and last: a cause, and what became of it. How it ends where it names none."""
    lines = [*dict.fromkeys(line.strip() for line in told.splitlines() if _FAULT.match(line.strip()))]
    return " | ".join([*lines[:2], *lines[2:][-1:]]) or last_lines(told.splitlines())
