"""A Dask scheduler away from the client: started over a pipe, and ended with it.

The first line of stdin is JSON: `interface`, `ports` ([first, last] or null) and `tls`, a PEM text with a
certificate and its key, or null. One line of JSON with `address` answers. The end of stdin is the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import dask
from distributed import Scheduler

from vrecompute.batch.tls import security_of
from vrecompute.errors import Unavailable, VrecomputeError
from vrecompute.records import json_of
from vrecompute.sites.access import Access
from vrecompute.sites.model import PortRange

__all__ = ["RangedScheduler", "address_from", "first_facts", "scheduler_beside", "start_failure", "tunnelled"]

_GRACE_S = 30.0
#: How long a site's environment and Python may take to start: its file system may be slow, and its setup may wait.
_START_S = 180.0


def address_from(
    process: subprocess.Popen[bytes], interface: str | None, ports: PortRange | None, pem: str | None
) -> str:
    """Tell a scheduler that was started with pipes what to be; its address, empty where nothing comes of it.

    Unavailable where it says why it cannot start.
    """
    if process.stdin is None or process.stdout is None:
        return ""
    wanted = {"interface": interface, "ports": ports and [ports.first, ports.last], "tls": pem}
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(wanted).encode() + b"\n")
        process.stdin.flush()
    facts = first_facts(process, _START_S)
    if "error" in facts:
        raise Unavailable(f"the Dask scheduler does not start: {facts['error']}")
    return str(facts.get("address", ""))


def first_facts(process: subprocess.Popen[bytes], limit_s: float) -> dict[str, Any]:
    """The first line that is a JSON object: what a site's profile prints comes before it. Empty if none comes.

    A process that has said nothing within the limit is killed.
    """
    timer = threading.Timer(limit_s, process.kill)
    timer.daemon = True
    timer.start()
    try:
        for line in process.stdout or ():
            with contextlib.suppress(ValueError):
                if line.startswith(b"{") and isinstance(found := json_of(line), dict):
                    return found
    finally:
        timer.cancel()
    return {}


@contextlib.contextmanager
def scheduler_beside(interface: str | None, ports: PortRange | None, pem: Path | None) -> Iterator[str]:
    """The address of a scheduler in a separate process on this machine, for as long as the context is open."""
    command = [sys.executable, "-P", "-m", "vrecompute.batch.scheduler"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    stdin: IO[bytes] | None = process.stdin
    try:
        address = address_from(process, interface, ports, pem.read_text() if pem else None)
        if not address:
            where = f"interface {interface or 'any'}, ports {ports or 'any'}"
            raise Unavailable(f"the Dask scheduler did not start on {where}; check the site's `network`")
        yield address
    finally:
        if stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                stdin.close()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()


@contextlib.contextmanager
def tunnelled(access: Access, address: str) -> Iterator[str]:
    """The address by which a scheduler seen from the login node is reached from here."""
    scheme, _, place = address.partition("://")
    host, _, port = place.rpartition(":")
    with access.forward(host, int(port)) as here:
        yield f"{scheme}://{here[0]}:{here[1]}"


def start_failure(error: BaseException) -> BaseException:
    """What kept a Dask scheduler from starting: Dask wraps it into one error, or several."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


class RangedScheduler(Scheduler):  # type: ignore[misc]  # distributed is untyped
    """A Dask scheduler that takes the first port of a range (None: any) that it can listen on.

    A port is free when listening has worked: another user's scheduler may start at the same moment. Unavailable where
    all are taken.
    """

    def __init__(self, *, ports: PortRange | None = None, **options: Any) -> None:
        self._ports = ports
        super().__init__(port=ports.first if ports else 0, **options)

    async def listen(self, port_or_addr: Any = None, **options: Any) -> None:
        """Listen on the first port of the range that no other program has."""
        if self._ports is None:
            await super().listen(port_or_addr, **options)
            return
        address, _, _ = str(port_or_addr).rpartition(":")
        for port in range(self._ports.first, self._ports.last + 1):
            try:
                await super().listen(f"{address}:{port}", **options)
                return
            except OSError as error:
                if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                    raise
        where = f"{self._ports.first}-{self._ports.last} on {socket.gethostname()}"
        raise Unavailable(f"the scheduler could not open a port in {where}; widen network.scheduler_ports")


async def _serve(wanted: dict[str, Any]) -> None:
    dask.config.refresh(paths=[], env=dict(os.environ))  # the user's files may be for another cluster
    ports = PortRange(*wanted["ports"]) if wanted["ports"] else None
    async with RangedScheduler(
        protocol="tcp://" if wanted["tls"] is None else "tls://",
        interface=wanted["interface"],
        ports=ports,
        security=security_of(wanted["tls"]),
        dashboard=False,
        dashboard_address="127.0.0.1:0",
    ) as scheduler:
        print(json.dumps({"address": scheduler.address}), flush=True)
        over = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        closed = asyncio.create_task(scheduler.finished())
        await asyncio.wait([over, closed], return_when=asyncio.FIRST_COMPLETED)


if __name__ == "__main__":
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # its stderr is the user's terminal
    try:
        asyncio.run(_serve(json.loads(sys.stdin.readline())))
    except (VrecomputeError, OSError, ValueError, RuntimeError) as failed:  # ValueError: no such interface
        print(json.dumps({"error": str(start_failure(failed))}), flush=True)
        sys.exit(Unavailable.exit_code)
