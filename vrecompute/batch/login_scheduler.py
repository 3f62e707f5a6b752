"""`LoginScheduler`: the Dask scheduler of a live cluster on the login node, reached by a tunnel."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess

from distributed.deploy.spec import ProcessInterface

from vrecompute.batch.prologue import login_shell
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.scheduler import address_from, tunnelled
from vrecompute.batch.worker_command import SETTINGS
from vrecompute.errors import Unavailable

__all__ = ["LoginScheduler"]


class LoginScheduler(ProcessInterface):  # type: ignore[misc]  # distributed is untyped
    """Started over a pipe. `address` is for workers, `external_address` for this side of the tunnel."""

    def __init__(self, backend: QueueBackend, pem: str | None) -> None:
        super().__init__()
        self.backend, self.pem = backend, pem
        self._open = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it and open the tunnel."""
        await asyncio.to_thread(self._start)
        await super().start()

    async def close(self) -> None:
        """End both."""
        await asyncio.to_thread(self._open.close)
        await super().close()

    def lost(self) -> str:
        """Why it is gone, empty while it is there."""
        if self._process is None or self._process.poll() is None:
            return ""
        return f"{self.backend.access}: the Dask scheduler on the login node has ended, or the connection to it is lost"

    def _start(self) -> None:
        site, access = self.backend.site, self.backend.access
        python = f"{self.backend.image_words(site.environment.image)}python -P -m vrecompute.batch.scheduler"
        self._process = process = access.start(login_shell(site, SETTINGS, python))
        self._open.callback(process.wait)
        if process.stdin is not None:
            self._open.callback(process.stdin.close)
        try:
            self.address = address_from(process, site.network.interface, site.network.scheduler_ports, self.pem)
        except Unavailable as error:
            raise Unavailable(f"site {site.name!r}, {access}: {error}") from error
        if not self.address:
            raise Unavailable(
                f"{access}: the Dask scheduler did not start; check `environment` and `network` of site {site.name!r}"
            )
        self.external_address = self._open.enter_context(tunnelled(access, self.address))
