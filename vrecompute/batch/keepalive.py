"""What the job of a live cluster's scheduler runs: it announces an address, and stays while a client is connected.

A client that died cannot cancel the job: when no client has been connected for a while, it ends by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from distributed import Client as DaskClient

from vrecompute.batch.barren_steps import NoWorkerComes
from vrecompute.batch.scheduler import scheduler_beside
from vrecompute.batch.tls import TLS_FILE
from vrecompute.config.spelling import read_ports
from vrecompute.errors import Unavailable, VrecomputeError
from vrecompute.records import json_of
from vrecompute.workers.dask_hooks import other_clients

__all__ = ["announced", "announcement", "main"]

_LOOK_S = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Hold a scheduler, the one of this allocation where there is one, until no client is connected any more."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--announce", type=Path, required=True)
    parser.add_argument("--interface")
    parser.add_argument("--ports", type=read_ports)
    parser.add_argument("--no-tls", action="store_true")
    parser.add_argument("--patience-s", type=float, default=120.0, help="how long to stay without a connected client")
    given = parser.parse_args(arguments)
    # an end by signal is an end by exit, so that the scheduler is ended too
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with contextlib.ExitStack() as stack:
        address = os.environ.get("DASK_SCHEDULER_ADDRESS")
        if address is None:
            pem = None if given.no_tls else Path(os.environ["VRECOMPUTE_SECRETS"]) / TLS_FILE
            address = stack.enter_context(scheduler_beside(given.interface, given.ports, pem))
        dask = stack.enter_context(DaskClient(address, set_as_default=False))
        part = given.announce.with_suffix(".part")
        part.write_text(json.dumps({"address": address}))
        part.rename(given.announce)
        print(announcement(given.announce.name, address), flush=True)  # for a site where this folder is not the spool
        _stay(dask, given.patience_s)
        given.announce.unlink(missing_ok=True)
    return 0


def announcement(name: str, address: str) -> str:
    """The line of a log that says where the scheduler listens; one of any other job is another line."""
    return json.dumps({"announces": name, "address": address})


def announced(name: str, log: str) -> bytes | None:
    """What a log announces under a name, as the file of that name has it; None where it does not yet."""
    for line in log.splitlines():
        with contextlib.suppress(ValueError):
            said = json_of(line)
            if isinstance(said, dict) and said.get("announces") == name:
                return json.dumps({"address": str(said["address"])}).encode()
    return None


def _stay(dask: DaskClient, patience_s: float) -> None:
    last_seen, beside = time.monotonic(), NoWorkerComes(dask)
    while time.monotonic() - last_seen < patience_s:
        time.sleep(min(_LOOK_S, patience_s / 2))
        if why := beside.why():
            raise Unavailable(why)
        if dask.run_on_scheduler(other_clients, dask.id):
            last_seen = time.monotonic()
    print(f"no client was connected for {patience_s:.0f} s; the scheduler ends", file=sys.stderr)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VrecomputeError as failed:
        print(failed, file=sys.stderr)
        sys.exit(failed.exit_code)
