"""What runs in the allocation of a detached job: a Dask scheduler, workers on every node, and the command.

    first node:  batch.scheduler <- pipe - this program - DASK_SCHEDULER_ADDRESS -> the command
    every node:  the driver's launcher -> dask worker -> processes that come back when they die

Nothing of it needs a route out of the cluster. Keys are made here and seen by these nodes alone. When
the workers' step ends before the command does, as when its memory ran out, it is started again; the
command learns that none ever connected, and ends.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from vrecompute.batch.barren_steps import BARREN, BarrenSteps
from vrecompute.batch.kept_workers import kept_workers
from vrecompute.batch.scheduler import scheduler_beside
from vrecompute.batch.temporary import on_nodes
from vrecompute.batch.tls import TLS_FILE, fresh_keys, tls_environment
from vrecompute.batch.worker_command import SETTINGS, WorkerShape, worker_command
from vrecompute.config.spelling import read_ports
from vrecompute.errors import VrecomputeError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command beside a Dask cluster on the nodes of this allocation, and give its exit code."""
    given = _parse(arguments)
    # an end by signal is an end by exit, so that keys are deleted and children are ended
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with contextlib.ExitStack() as stack:
        pem = None if given.no_tls else stack.enter_context(_keys())
        if pem is not None:
            os.environ.update(tls_environment(str(pem)))
        os.environ.update(SETTINGS)
        address = stack.enter_context(scheduler_beside(given.interface, given.scheduler_ports, pem))
        shape = WorkerShape(
            given.processes, given.threads, given.memory_bytes, given.interface, given.ports, given.gpus
        )
        workers = worker_command(shape, address, leave=False)
        told = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vre-workers-"))) / "ended.json"
        step = shlex.split(given.step)
        stack.enter_context(kept_workers(on_nodes(step, workers), BarrenSteps(told), stepped=bool(step)))
        environment = {**os.environ, "DASK_SCHEDULER_ADDRESS": address, BARREN: str(told)}
        return subprocess.run(given.command, env=environment, check=False).returncode


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory-bytes", type=int)
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--interface")
    parser.add_argument("--ports", type=read_ports)
    parser.add_argument("--scheduler-ports", type=read_ports)
    parser.add_argument("--step", default="", help="what starts a command once on each node")
    parser.add_argument("--no-tls", action="store_true")
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _keys() -> Iterator[Path]:
    """A certificate and its key, in a folder that all nodes see and only this user can enter.

    Those that the job was given, where it was: a client outside knows them.
    """
    given = Path(os.environ.get("VRECOMPUTE_SECRETS", os.devnull)) / TLS_FILE
    if given.is_file():
        yield given
        return
    folder = Path.cwd() / f"secrets-tls-{os.environ['VRECOMPUTE_JOB']}"
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt whose node was lost
    folder.mkdir(mode=0o700)
    try:
        pem = folder / TLS_FILE
        pem.touch(mode=0o600)
        pem.write_text(fresh_keys())
        yield pem
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VrecomputeError as failed:
        print(failed, file=sys.stderr)
        sys.exit(failed.exit_code)
