"""`LocalBackend`: this machine. A scheduler and workers are separate processes on loopback; see `cluster`."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import dask
from distributed import Client as DaskClient
from distributed.system import MEMORY_LIMIT

from vrecompute.batch.contract import Cluster
from vrecompute.batch.dask_settings import PROCESS_VARIABLES
from vrecompute.batch.temporary import scratch_folder
from vrecompute.batch.tls import fresh_keys, security_of
from vrecompute.errors import ClusterLost, Unavailable, UsageError
from vrecompute.signals import unheard
from vrecompute.sites.model import Site
from vrecompute.wording import bytes_text
from vrecompute.workers.dask_hooks import take_for_closed
from vrecompute.workers.dask_logs import dask_logs_kept_back
from vrecompute_backends.local.cluster import SECRETS
from vrecompute_backends.local.jobs import LocalJobs, secrets_of_variables, without_secrets
from vrecompute_backends.local.rules import local_rules

__all__ = ["LocalBackend", "LocalDask"]

_LOG = logging.getLogger(__name__)
# Of this machine's memory, what workers may use together; the rest is for the client and the system.
_MEMORY_SHARE = 0.8
# No Python process that reads events is smaller.
_LEAST_BYTES = 64 << 20
# The other side imports what this side can, wherever it was found; until it knows that, nothing of the working
# directory (-P, which its children inherit), where another user may have put a `json.py`.
_BOOT = (
    "import json, sys; given = json.loads(sys.stdin.readline()); sys.path[:] = given.pop('path'); "
    "from vrecompute_backends.local.cluster import main; main(given, int(sys.argv[1]))"
)
# How long a start may take on a machine that is busy with other things, and an end.
_START_S, _END_S = 300.0, 25.0
_OPEN: weakref.WeakSet[LocalDask] = weakref.WeakSet()


class LocalBackend(LocalJobs):
    """Worker processes of the site's shape on this machine; jobs are background processes that outlive the client."""

    site_rules = staticmethod(local_rules)

    def __init__(self, site: Site) -> None:
        super().__init__(site)

    def open_cluster(self, workers: int) -> LocalDask:
        """`workers` processes of `site.workers.threads` threads each, and one that holds the scheduler."""
        shape = {"nthreads": self.site.workers.threads, "memory_limit": self._memory(workers)}
        return LocalDask(workers, shape, dashboard=self.dashboard, secret_files=self.secret_files)

    def check_cluster(self, workers: int) -> None:
        """UsageError for more workers than this machine's memory could hold."""
        most = MEMORY_LIMIT // _LEAST_BYTES
        if workers > most:
            raise UsageError(
                f"{workers} workers were asked for, and this machine's {bytes_text(MEMORY_LIMIT)} of memory "
                f"hold at most {most}; ask for fewer"
            )

    def describe(self, workers: int) -> str:
        """No script; UsageError as `check_cluster`."""
        self.check_cluster(workers)
        return ""

    def _memory(self, workers: int) -> int:
        if self.site.workers.memory is not None:
            return self.site.workers.memory // max(1, self.site.workers.processes)
        return int(MEMORY_LIMIT * _MEMORY_SHARE / max(1, workers))


class LocalDask(Cluster):
    """The process of `local_cluster` and a client of it. All listen on loopback, to those who have this cluster's keys.

    Raises Unavailable where no worker starts, ClusterLost where that was by a kill.
    """

    patience_s = 120.0

    def __init__(
        self,
        workers: int,
        shape: dict[str, Any],
        *,
        dashboard: bool = False,
        secret_files: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        self._owner = os.getpid()
        self._listening = threading.Lock()
        self._unread = b""
        self._heard: dict[str, Any] = {}
        self.keys = fresh_keys()
        given = {
            "path": sys.path,
            "client": os.getpid(),
            "keys": self.keys,
            "workers": workers,
            "dashboard": dashboard,
            "secrets": _texts(secret_files),
            "shape": {**shape, "local_directory": str(scratch_folder())},
        }
        self._answers, theirs = os.pipe()
        try:
            with unheard():
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _BOOT, str(theirs)],
                    stdin=subprocess.PIPE,
                    pass_fds=(theirs,),
                    # The user's Dask settings may be for another cluster, and a cluster of Dask's own in this process
                    # has left its variables here.
                    env={n: value for n, value in without_secrets(secret_files).items() if not n.startswith("DASK_")}
                    | dict(PROCESS_VARIABLES),
                    process_group=0,  # an interrupt is for the client's
                    text=True,
                )
        except OSError as error:
            os.close(self._answers)
            raise Unavailable(
                f"the process of the Dask scheduler could not be started: {error.strerror or error}"
            ) from error
        finally:
            os.close(theirs)
        self._client: Any = None
        self._open = True
        # The run reports what matters of a lost scheduler or worker.
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(dask_logs_kept_back())
        _OPEN.add(self)
        try:
            self._tell(given)
            self._client = _client(self._hear("address"), self.keys)
            if self._hear("ready") == 0:
                raise Unavailable(f"no Dask worker starts on this machine: {self._heard.get('trouble')}")
        except BaseException:
            self.close()
            raise
        if dashboard:
            _LOG.warning("every user of this machine can read the Dask dashboard at %s", self._client.dashboard_link)

    @property
    def client(self) -> DaskClient:
        """The plain `distributed.Client`, connected."""
        return self._client

    def scale(self, workers: int) -> None:
        """Want that many worker processes."""
        self._tell({"workers": workers})

    def bring(self, secret_files: Mapping[str, bytes]) -> bool:
        """All workers have them: what is in files of this machine, they read there."""
        self._tell({"secrets": _texts(secret_files)})
        return True

    def lost(self) -> str:
        """How the process of the scheduler ended; empty while it is there."""
        code = self._process.poll()
        how = f"exit code {code}" if code is None or code >= 0 else f"signal {-code}"
        return "" if code is None else f"the process that held the Dask scheduler was ended by {how}"

    def waiting(self) -> str:
        """Why workers do not start, empty where they do."""
        self._listen(0.0)
        return str(self._heard.get("trouble", ""))

    def close(self) -> None:
        """End the workers and the scheduler. In a fork of the process that opened it, it stays open."""
        if not self._open or os.getpid() != self._owner:
            return
        self._open = False
        try:
            if self._client is not None:
                self._client.close(timeout=5)
        except Exception:
            take_for_closed(self._client)
        finally:
            with contextlib.suppress(OSError):  # the end of its stdin is its end
                if self._process.stdin is not None:
                    self._process.stdin.close()
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            os.close(self._answers)
            self._quiet.close()

    def _tell(self, words: dict[str, Any]) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # what became of it is for `lost` to say
                self._process.stdin.write(json.dumps(words) + "\n")
                self._process.stdin.flush()

    def _hear(self, word: str) -> Any:
        """The answer that has this word; Unavailable where it does not come."""
        deadline = time.monotonic() + _START_S
        while word not in self._heard:
            if not self._listen(1.0) and self._process.wait(_END_S) is not None:
                raise ClusterLost(f"no Dask cluster started on this machine: {self.lost()}")
            if time.monotonic() > deadline:
                raise Unavailable(f"no Dask cluster started on this machine within {_START_S:.0f} s")
        return self._heard[word]

    def _listen(self, wait_s: float) -> bool:
        """Take in what was said by now; False when nothing more will be."""
        with self._listening:
            if not self._open:
                return False
            ready = select.poll()  # not select(2), which knows no file descriptor above 1023
            ready.register(self._answers, select.POLLIN)
            while ready.poll(1000 * wait_s):
                data = os.read(self._answers, 1 << 16)
                if not data:
                    return False
                *lines, self._unread = (self._unread + data).split(b"\n")
                for line in lines:
                    self._heard |= json.loads(line)
                wait_s = 0.0
            return True


def _texts(secret_files: Mapping[str, bytes]) -> dict[str, str]:
    """What only variables of this process hold, for a line of JSON; nothing in a job, whose secret files all see."""
    brought = {} if os.environ.get(SECRETS) else secrets_of_variables(secret_files)
    return {name: content.decode("latin-1") for name, content in brought.items()}


def _client(address: str, keys: str) -> DaskClient:
    """A client made by Dask's own settings: the user's may ask for other keys, or for what does not exist here."""
    plain: dict[str, Any] = {}
    dask.config.refresh(config=plain, paths=[], env={})
    plain["distributed"]["dashboard"] = dask.config.get("distributed.dashboard")  # how a link is written
    with dask.config.set(distributed=plain["distributed"]):
        return DaskClient(address, security=security_of(keys), set_as_default=False, timeout=_START_S)


@atexit.register
def _close_all() -> None:
    for cluster in list(_OPEN):
        cluster.close()
