"""A Dask scheduler on a login node: started over the pipe of a connection, and ended with it.

The first line of stdin is JSON: `interface`, `ports` ([first, last] or null) and `tls`, a PEM text with a
certificate and its key, or null. One line of JSON with `address` answers. The end of stdin is the end.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from distributed import Scheduler
from distributed.security import Security

__all__ = ["free_port", "security_of"]


def security_of(pem: Path | None) -> Security:
    """The Security of one cluster, whose certificate and key are in one file; without one, none is required."""
    if pem is None:
        return Security()
    roles = {f"tls_{role}_{part}": str(pem) for role in ("client", "scheduler", "worker") for part in ("cert", "key")}
    return Security(require_encryption=True, tls_ca_file=str(pem), **roles)


def free_port(first: int, last: int) -> int:
    """A port of the range that nothing listens on; OSError where all are taken."""
    for port in range(first, last + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError(f"no port of {first}-{last} is free; widen network.scheduler_ports")


async def _serve(wanted: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:  # mode 0700
        pem = None
        if wanted["tls"] is not None:
            pem = Path(folder) / "dask-tls.pem"
            pem.touch(mode=0o600)
            pem.write_text(wanted["tls"])
        async with Scheduler(
            protocol="tcp://" if pem is None else "tls://",
            interface=wanted["interface"],
            port=free_port(*wanted["ports"]) if wanted["ports"] else 0,
            security=security_of(pem),
            dashboard_address="127.0.0.1:0",
        ) as scheduler:
            print(json.dumps({"address": scheduler.address}), flush=True)
            over = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
            closed = asyncio.create_task(scheduler.finished())
            await asyncio.wait([over, closed], return_when=asyncio.FIRST_COMPLETED)


if __name__ == "__main__":
    logging.getLogger("distributed").setLevel(logging.ERROR)  # its stderr is the user's terminal
    asyncio.run(_serve(json.loads(sys.stdin.readline())))
