"""What a probe runs on the site: `meet` where the scheduler would live, `job` in a job; both print JSON.

    meet:  listens, prints its address, waits for the job to call, and calls back to where the job listens
    job:   calls the address it is given, is called back, and tells what a job here sees

Routes are tried in both directions, since a scheduler connects to its workers too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import secrets
import socket
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import psutil

from vrecompute.digest import numerics
from vrecompute.errors import StoreError
from vrecompute.stores.address import open_store

__all__ = ["facts_here", "main"]

_WAIT_S = 300.0
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
    parser.add_argument("--call", default="")
    parser.add_argument("--store", default="")
    given = parser.parse_args(arguments)
    facts = _meet(given.interface) if given.part == "meet" else _job(given.interface, given.call, given.store)
    print(json.dumps(facts), flush=True)
    return 0


def _meet(interface: str) -> dict[str, Any]:
    with _listening(interface) as listener:
        print(json.dumps({**facts_here(), "address": _address(listener)}), flush=True)
        listener.settimeout(_WAIT_S)
        with listener.accept()[0] as call:
            said = json.loads(call.makefile().readline())
            skew = time.time() - said["time"]
            call.sendall(b"heard\n")
        back = _call(said["address"], {"time": time.time()})
        return {"called": True, "called_back": back["error"] == "", "error": back["error"], "skew_s": skew}


def _job(interface: str, address: str, store: str) -> dict[str, Any]:
    with _listening(interface) as listener:
        call = _call(address, {"time": time.time(), "address": _address(listener)})
        heard = False
        listener.settimeout(_CALL_S)
        with contextlib.suppress(OSError):
            listener.accept()[0].close()
            heard = True
    return {**facts_here(), "call": call["error"], "called_back": heard, "store": _try_store(store)}


@contextlib.contextmanager
def _listening(interface: str) -> Any:
    """A listening socket on the interface, on every one where there is no such."""
    with socket.create_server((_interfaces().get(interface, ""), 0)) as listener:
        yield listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    if host == "0.0.0.0":
        host = socket.gethostbyname(socket.gethostname())
    return f"{host}:{port}"


def _call(address: str, message: dict[str, Any]) -> dict[str, str]:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_CALL_S) as call:
            call.sendall(json.dumps(message).encode() + b"\n")
            with contextlib.suppress(OSError):
                call.recv(16)
    except OSError as error:
        return {"error": f"{address}: {error.strerror or error}"}
    return {"error": ""}


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
