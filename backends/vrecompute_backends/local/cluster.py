"""The process that holds the Dask scheduler of this machine's workers, and keeps as many of them as are wanted.

    client ---- stdin ----->  a line of JSON: what to be; then {"workers": n} for another number, {"secrets": {name:
                              content}} for other secret files; its end is the end
    client <--- answers ----  {"address": ...}, {"ready": workers}, {"trouble": why a worker does not start, or ""}

It is apart from the program that uses it. Whatever that program's main module is, nothing imports it again. An
interrupt of that program, as by Jupyter's stop button, does not reach the workers. Its Dask configuration, which may
be for another cluster, is not theirs. When it dies, so do they.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import dask
from distributed import Nanny, Scheduler
from distributed.core import Status

from vrecompute.batch.dask_settings import SETTINGS
from vrecompute.batch.tls import security_of
from vrecompute.workers.daskworker import name_semaphores

__all__ = ["SECRETS", "main"]

#: The variable that names the folder of a job's secret files, and of these workers'.
SECRETS = "VRECOMPUTE_SECRETS"

_HERE = "127.0.0.1"
# Processes that go on when this one ends: they are not collected before, which would be warned of.
_OUTLIVE: list[Any] = []
# How often a worker may fail to start before that is given up for the moment, and for how long.
_TRIES, _AGAIN_S = 3, 30.0
# How long a nanny may be without a process before another takes its place.
_GONE_S = 15.0
_LOOK_S = 0.5
# Where Linux shows semaphores as files.
_SHARED = Path("/dev/shm")
# How long an end may take before everything here is killed.
_END_S = 15.0


def main(given: Mapping[str, Any], answers: int) -> None:
    """Be what `given` says until stdin ends; `answers` is the file descriptor of the pipe to the client."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited by the workers
    secrets = _Secrets(Path(given["shape"]["local_directory"]))
    secrets.keep(given["secrets"])
    name_semaphores(secrets.semaphores)  # all that would delete them may be killed at once
    _track_resources_apart()
    os.set_blocking(answers, False)  # a client that does not listen blocks nothing

    def answer(**words: Any) -> None:
        with contextlib.suppress(OSError):
            os.write(answers, json.dumps(words).encode() + b"\n")

    dask.config.refresh(paths=[], env={})
    served: dict[str, Any] = {} if given["dashboard"] else {"distributed.scheduler.http.routes": []}
    # the scheduler keeps files too
    dask.config.set({**SETTINGS, **served, "temporary-directory": given["shape"]["local_directory"]})
    # What matters of a worker comes back in its tasks' reports; its log at a shutdown would only alarm.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    asyncio.run(_serve(given, answer, secrets))


def _track_resources_apart() -> None:
    """Start the process that unlinks our semaphores when we are gone, in a session that outlives a kill of our group.

    Where this Python's tracker is made otherwise, it starts its own as ever.
    """
    read, write = os.pipe()
    code = f"from multiprocessing.resource_tracker import main; main({read})"
    nowhere = subprocess.DEVNULL  # what it says of a kill helps no user
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        pass_fds=(read,),
        start_new_session=True,
        stdin=nowhere,
        stdout=nowhere,
        stderr=nowhere,
    )
    os.close(read)
    _OUTLIVE.append(process)
    vars(resource_tracker._resource_tracker).update(_fd=write, _pid=process.pid)


class _Secrets:
    """The workers' secret files, which go with this process; those of one that was killed go with the next.

    So do `semaphores`, by the name that they begin with.
    """

    def __init__(self, folder: Path) -> None:
        for left in folder.glob("secrets-*"):
            if (held := _locked(left, fcntl.LOCK_EX)) is not None:  # by no other process
                for semaphore in _SHARED.glob(f"sem.{_semaphores(left)}-*"):
                    with contextlib.suppress(OSError):
                        semaphore.unlink()
                shutil.rmtree(left, ignore_errors=True)
                os.close(held)
        self._held = None
        while self._held is None:  # another process may have taken it for one that was left
            self._folder = Path(tempfile.mkdtemp(prefix="secrets-", dir=folder))
            self._held = _locked(self._folder, fcntl.LOCK_SH)
        os.environ.setdefault(SECRETS, str(self._folder))  # in a job it is the job's
        self.semaphores = _semaphores(self._folder)

    def keep(self, files: Mapping[str, str]) -> None:
        """Have these, beside or in place of others."""
        for name, text in files.items():
            part = self._folder / f".{name}"
            part.touch(mode=0o600)
            part.write_bytes(text.encode("latin-1"))
            part.replace(self._folder / name)

    def forget(self) -> None:
        """Remove all."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _semaphores(secrets: Path) -> str:
    return f"vre-{os.getuid()}-of-{secrets.name}"


def _locked(folder: Path, how: int) -> int | None:
    """A descriptor that holds a lock on a folder; None where that cannot be had."""
    with contextlib.suppress(OSError):
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(held, how | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(held), os.stat(folder)):
                return held
        except OSError:
            pass
        os.close(held)
    return None


async def _serve(given: Mapping[str, Any], answer: Callable[..., None], secrets: _Secrets) -> None:
    over = asyncio.Event()
    security = security_of(given["keys"])
    served = {"dashboard": given["dashboard"], "dashboard_address": f"{_HERE}:0"}
    async with Scheduler(protocol="tls://", host=_HERE, port=0, security=security, **served) as scheduler:
        answer(address=scheduler.address)
        crew = _Crew(scheduler, {**given["shape"], "security": security, "protocol": "tls://"}, answer)
        crew.scale(given["workers"])
        loop = asyncio.get_running_loop()
        threading.Thread(target=_listen, args=(loop, crew, secrets, over), daemon=True).start()
        ready = asyncio.create_task(crew.ready())
        while not over.is_set() and os.getppid() == given["client"]:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(over.wait(), _LOOK_S)
        end = threading.Timer(_END_S, os.killpg, (os.getpgrp(), signal.SIGKILL))
        end.daemon = True
        end.start()
        ready.cancel()
        await crew.close()
    secrets.forget()
    os._exit(0)  # the thread that listens may wait for a pipe that a child of the client holds open


def _listen(loop: asyncio.AbstractEventLoop, crew: _Crew, secrets: _Secrets, over: asyncio.Event) -> None:
    for line in sys.stdin:
        told = json.loads(line)
        with contextlib.suppress(OSError):  # those that need it say what they lack
            secrets.keep(told.get("secrets", {}))
        if "workers" in told:
            loop.call_soon_threadsafe(crew.scale, told["workers"])
    loop.call_soon_threadsafe(over.set)


class _Crew:
    """Workers, each with a nanny in this process that starts it again; a nanny that is lost is replaced too."""

    def __init__(self, scheduler: Any, shape: Mapping[str, Any], answer: Callable[..., None]) -> None:
        self._scheduler = scheduler
        self._shape = shape
        self._answer = answer
        self._wanted = 0
        self._started = 0
        self._keepers: dict[int, asyncio.Task[None]] = {}
        self._tried: dict[int, asyncio.Event] = {}
        self._trouble: dict[int, str] = {}

    def scale(self, workers: int) -> None:
        """Want that many."""
        self._wanted = workers
        for number in range(workers):
            keeper = self._keepers.get(number)
            if keeper is None or keeper.done():
                self._tried[number] = asyncio.Event()
                self._keepers[number] = asyncio.create_task(self._keep(number))

    async def ready(self) -> None:
        """Tell the client once each worker has started, or has failed to more often than by chance."""
        await asyncio.gather(*(tried.wait() for tried in self._tried.values()))
        self._answer(ready=len(self._scheduler.workers))

    async def close(self) -> None:
        """End them."""
        self._wanted = 0
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)

    async def _keep(self, number: int) -> None:
        failures = 0
        while number < self._wanted:
            self._started += 1
            try:
                async with Nanny(
                    self._scheduler.address,
                    name=f"{number}-{self._started}",  # a name is free again only when the scheduler missed its owner
                    host=_HERE,
                    dashboard_address=f"{_HERE}:0",
                    preload=["vrecompute.workers.quick_exit"],
                    preload_nanny=["vrecompute.workers.worker_exit"],
                    silence_logs=logging.CRITICAL,
                    **self._shape,
                ) as nanny:
                    failures = 0
                    self._tell(number, "")
                    await self._until_gone(number, nanny)
            except Exception as error:
                failures += 1
                self._tell(number, f"worker {number} did not start: {str(error) or type(error).__name__}")
            if failures >= _TRIES:
                self._tried[number].set()
                await asyncio.sleep(_AGAIN_S)

    async def _until_gone(self, number: int, nanny: Any) -> None:
        """Return when the worker is not wanted any more, or its nanny does not get another going."""
        self._tried[number].set()
        unseen_s = 0.0
        while number < self._wanted and unseen_s < _GONE_S and nanny.status is Status.running:
            await asyncio.sleep(_LOOK_S)
            unseen_s = 0.0 if nanny.is_alive() else unseen_s + _LOOK_S
        if number >= self._wanted and nanny.worker_address:
            with contextlib.suppress(Exception):
                await self._scheduler.retire_workers(workers=[nanny.worker_address], close_workers=False, remove=True)

    def _tell(self, number: int, trouble: str) -> None:
        if trouble != self._trouble.get(number, ""):
            self._trouble[number] = trouble
            self._answer(trouble="; ".join(filter(None, self._trouble.values())))
