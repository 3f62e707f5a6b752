"""What a probe runs on the site: `meet` where the scheduler would live, `job` in a job; both print JSON.

    meet:  listens, prints its address, waits for the job to call, and calls back to where the job listens
    job:   calls the address it is given, is called back, tries a worker, and tells what is seen there

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
import select
import socket
import ssl
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil

from vrecompute.batch.tls import TLS_FILE, security_of
from vrecompute.batch.worker_command import WorkerShape, halves
from vrecompute.batch.worker_trial import try_worker
from vrecompute.config.spelling import read_ports
from vrecompute.digest import numerics
from vrecompute.errors import VrecomputeError
from vrecompute.sites.model import PortRange
from vrecompute.stores.address import open_store
from vrecompute.stores.base import Store

__all__ = ["THEIRS", "facts_here", "main"]

_CALL_S = 10.0
# How late a node may see what was written elsewhere.
_LAG_S = 5.0
#: What the name of the client's object ends with, after that of the job's.
THEIRS = "-client"


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
    parser.add_argument("--object", default=secrets.token_hex(8), help="the name of what is put into the store")
    parser.add_argument("--processes", type=int, default=1, help="worker processes that need ports on a node")
    parser.add_argument("--scheduler-ports", type=read_ports)
    parser.add_argument("--worker-ports", type=read_ports)
    parser.add_argument("--try-worker", action="store_true", help="start a worker as runs do, and have it compute")
    parser.add_argument("--memory-bytes", type=int, help="of a worker process")
    parser.add_argument("--threads", type=int, default=1, help="of a worker process")
    parser.add_argument("--gpus", type=int, default=0, help="of a node")
    parser.add_argument("--holds-scheduler", action="store_true", help="the scheduler of a live run would be in a job")
    given = parser.parse_args(arguments)
    if given.part == "meet" and not (wanted := sys.stdin.readline()):
        return 1  # whoever started this has gone
    facts = _meet(json.loads(wanted)) if given.part == "meet" else _job(given)
    print(f"\n{json.dumps(facts)}", flush=True)  # what a site's setup printed last may lack the end of its line
    return 0


def _meet(wanted: dict[str, Any]) -> dict[str, Any]:
    ports = None if wanted["ports"] is None else PortRange(*wanted["ports"])
    host = _host(wanted["interface"])
    port = next(iter(_free(host, ports, 1)), None)
    with socket.create_server((host, port or 0)) as listener:
        print(json.dumps({**facts_here(), "address": _address(listener), "taken": port is None}), flush=True)
        if listener not in select.select([listener, sys.stdin], [], [], wanted["wait_s"])[0]:
            return {}  # whoever started this waits no more: the end of stdin
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
    worker, nanny = (None, None) if given.worker_ports is None else halves(given.worker_ports)
    host = _host(given.interface)
    port = next(iter(_free(host, given.scheduler_ports, 1)), None)
    workers, nannies = (_free(host, ports, given.processes) for ports in (worker, nanny))
    free = {"scheduler": port is not None, "workers": min(len(workers), len(nannies))}
    call = "" if given.call else None
    port = (port if given.holds_scheduler else workers[0] if workers else None) or 0
    with socket.create_server((host, port)) as listener:
        if given.call:
            call = _call(given.call, {"time": time.time(), "address": _address(listener)}, tls)
            listener.settimeout(_CALL_S)
            with contextlib.suppress(OSError), _secured(listener.accept()[0], tls, server=True) as back:
                back.recv(1 << 12)
    told = {**facts_here(), "call": call, "free": free, "store": _try_store(given.store, given.object)}
    return {**told, "worker": _try_worker(given, host, free["workers"])} if given.try_worker else told


def _try_worker(given: argparse.Namespace, host: str, free: int) -> dict[str, Any]:
    """What one worker of a run says; without an interface or ports that are missing: other findings name them."""
    shape = WorkerShape(
        threads=given.threads,
        memory_bytes=given.memory_bytes,
        interface=given.interface if host else None,
        ports=given.worker_ports if free else None,
        gpus=given.gpus,
    )
    pem = Path(os.environ.get("VRECOMPUTE_SECRETS", os.devnull)) / TLS_FILE
    return try_worker(shape, pem if pem.is_file() else None)


def _free(host: str, ports: PortRange | None, enough: int) -> list[int]:
    """Ports of the range that can be bound at once, up to `enough`; zeros where none are named."""
    if ports is None:
        return [0] * enough
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        for port in range(ports.first, ports.last + 1):
            if len(found) == enough:
                break
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_server((host, port)))
                found.append(port)
    return found


def _host(interface: str) -> str:
    """The address of the interface; every one where there is no such."""
    return _interfaces().get(interface, "")


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


def _try_store(url: str, own: str) -> dict[str, Any]:
    """Put an object, get it back and compare; the other side looks for it under the same name.

    Not before the other side's is seen: what is put into another store, as on this node alone, would stay there.
    """
    if not url:  # the site says that jobs do not reach it
        return {"error": ""}
    name, data = f"probe/{own}", secrets.token_bytes(1 << 16)
    try:
        store = open_store(url)
        if not _is_there(store, f"{name}{THEIRS}"):
            host = socket.gethostname()
            return {
                "error": f"{store.url} differs between compute nodes and the client: what the client has put there "
                f"is not on {host}"
            }
        store.create(name, data)
        store.get(name, sha256=sha256(data).hexdigest())
    except (VrecomputeError, OSError) as error:
        return {"error": str(error)}
    return {"error": "", "name": name, "sha256": sha256(data).hexdigest(), "path": f"{store.url}/{name}"}


def _is_there(store: Store, name: str) -> bool:
    """Whether the store has it; a file system may show it late."""
    deadline = time.monotonic() + _LAG_S
    while not (there := store.exists(name)) and time.monotonic() < deadline:
        time.sleep(1)
    return there


def _interfaces() -> dict[str, str]:
    found = {}
    for name, addresses in psutil.net_if_addrs().items():
        for one in addresses:
            if one.family is socket.AF_INET:
                found[name] = one.address
    return found


if __name__ == "__main__":
    sys.exit(main())
