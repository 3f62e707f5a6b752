"""What a probe runs on the site: `meet` where the scheduler would live, `job` in a job; both print JSON.

    meet:  listens, prints its address, waits for the job to call, and calls back to where the job listens
    job:   calls the address it is given, is called back, and tells what a job here sees

Routes are tried in both directions, since a scheduler connects to its workers too: on ports that the site names, and
with the keys of a run where it asks for TLS. `meet` reads from its stdin what it needs to know, as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import secrets
import socket
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil

from vrecompute.batch.tls import TLS_FILE, security_of
from vrecompute.config.spelling import read_ports
from vrecompute.digest import numerics
from vrecompute.errors import StoreError
from vrecompute.sites.model import PortRange
from vrecompute.stores.address import open_store

__all__ = ["facts_here", "main"]

_CALL_S = 10.0


def facts_here() -> dict[str, Any]:
    """Versions and IPv4 interfaces of this machine."""
    return {
        "host": socket.gethostname(),
        "versions": {"python": platform.python_version(), **numerics(("dask", "distributed", "vrecompute"))},
        "interfaces": _interfaces(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Play one of the two parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["meet", "job"])
    parser.add_argument("--interface", default="")
    parser.add_argument("--call", default="", help="where the other part listens; not called if empty")
    parser.add_argument("--store", default="")
    parser.add_argument("--processes", type=int, default=1, help="worker processes that need ports on a node")
    parser.add_argument("--scheduler-ports", type=read_ports)
    parser.add_argument("--worker-ports", type=read_ports)
    parser.add_argument("--holds-scheduler", action="store_true", help="the scheduler of a live run would be in a job")
    given = parser.parse_args(arguments)
    facts = _meet(json.loads(sys.stdin.readline())) if given.part == "meet" else _job(given)
    print(json.dumps(facts), flush=True)
    return 0


def _meet(wanted: dict[str, Any]) -> dict[str, Any]:
    ports = None if wanted["ports"] is None else PortRange(*wanted["ports"])
    with _listening(wanted["interface"], ports) as (listener, taken):
        print(json.dumps({**facts_here(), "address": _address(listener), "taken": taken}), flush=True)
        listener.settimeout(wanted["wait_s"])
        said, skew, error = {}, 0.0, ""
        with listener.accept()[0] as plain:
            try:
                with _secured(plain, wanted["tls"], server=True) as call:
                    said = json.loads(call.makefile().readline())
                    skew = time.time() - said["time"]
                    call.sendall(b"heard\n")
            except (OSError, ValueError) as failed:
                error = _named(failed)
        if not said:
            return {"called": False, "error": error}
        back = _call(said["address"], {"time": time.time()}, wanted["tls"])
        return {"called": True, "error": back, "skew_s": skew}


def _job(given: argparse.Namespace) -> dict[str, Any]:
    pem = Path(os.environ.get("VRECOMPUTE_SECRETS", os.devnull)) / TLS_FILE
    tls = pem.read_text() if pem.is_file() else None
    worker, nanny = _halves(given.worker_ports)
    free = {
        "scheduler": _free(given.interface, given.scheduler_ports, 1),
        "worker": _free(given.interface, worker, given.processes),
        "nanny": _free(given.interface, nanny, given.processes),
    }
    call = "" if given.call else None
    with _listening(given.interface, given.scheduler_ports if given.holds_scheduler else worker) as (listener, _):
        if given.call:
            call = _call(given.call, {"time": time.time(), "address": _address(listener)}, tls)
            listener.settimeout(_CALL_S)
            with contextlib.suppress(OSError), _secured(listener.accept()[0], tls, server=True) as back:
                back.recv(1 << 12)
    return {**facts_here(), "call": call, "free": free, "store": _try_store(given.store)}


def _halves(ports: PortRange | None) -> tuple[PortRange | None, PortRange | None]:
    """Those of a node's workers, and those of the processes that watch them."""
    if ports is None:
        return None, None
    middle = (ports.first + ports.last) // 2
    return PortRange(ports.first, middle), PortRange(min(middle + 1, ports.last), ports.last)


def _free(interface: str, ports: PortRange | None, enough: int) -> int:
    """How many ports of the range can be bound here, up to `enough`; all of them where none are named."""
    if ports is None:
        return enough
    count = 0
    with contextlib.ExitStack() as stack:
        for port in range(ports.first, ports.last + 1):
            if count == enough:
                break
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_server((_interfaces().get(interface, ""), port)))
                count += 1
    return count


@contextlib.contextmanager
def _listening(interface: str, ports: PortRange | None) -> Iterator[tuple[socket.socket, bool]]:
    """A socket that listens on the interface, on all where there is no such; and whether all ports were taken.

    It then has another port, so that the rest can be tried.
    """
    host, listener = _interfaces().get(interface, ""), None
    for port in range(ports.first, ports.last + 1) if ports else ():
        with contextlib.suppress(OSError):
            listener = socket.create_server((host, port))
            break
    taken = ports is not None and listener is None
    with listener or socket.create_server((host, 0)) as there:
        yield there, taken


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    if host == "0.0.0.0":
        host = socket.gethostbyname(socket.gethostname())
    return f"{host}:{port}"


def _secured(plain: socket.socket, tls: str | None, *, server: bool) -> socket.socket:
    """The connection as Dask makes it, with the keys of a run; as it is where there are none."""
    if tls is None:
        return plain
    security = security_of(tls)
    found = security.get_listen_args("scheduler") if server else security.get_connection_args("worker")
    context: ssl.SSLContext = found["ssl_context"]
    plain.settimeout(_CALL_S)
    return context.wrap_socket(plain, server_side=server)


def _call(address: str, message: dict[str, Any], tls: str | None) -> str:
    """What is wrong with the way to the address, empty if nothing."""
    host, _, port = address.rpartition(":")
    try:
        plain = socket.create_connection((host, int(port)), timeout=_CALL_S)
        with plain, _secured(plain, tls, server=False) as call:
            call.sendall(json.dumps(message).encode() + b"\n")
            with contextlib.suppress(TimeoutError):
                call.recv(16)
    except OSError as error:
        return f"{address}: {_named(error)}"
    return ""


def _named(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    return str(getattr(error, "strerror", None) or error)


def _try_store(url: str) -> dict[str, Any]:
    """Put an object, get it back and compare; the other side looks for it under the same name."""
    if not url:  # the site says that jobs do not reach it
        return {"error": ""}
    name, data = f"probe/{secrets.token_hex(8)}", secrets.token_bytes(1 << 16)
    try:
        store = open_store(os.path.expandvars(url))
        store.create(name, data)
        store.get(name, sha256=sha256(data).hexdigest())
    except (StoreError, OSError) as error:
        return {"error": str(error)}
    return {"error": "", "name": name, "sha256": sha256(data).hexdigest(), "path": f"{store.url}/{name}"}


def _interfaces() -> dict[str, str]:
    found = {}
    for name, addresses in psutil.net_if_addrs().items():
        for one in addresses:
            if one.family is socket.AF_INET:
                found[name] = one.address
    return found


if __name__ == "__main__":
    sys.exit(main())
