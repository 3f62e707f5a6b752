"""What runs in the allocation of a detached job: a Dask scheduler, workers on every node, and the command.

    first node:  slurm_scheduler <- pipe - this program - DASK_SCHEDULER_ADDRESS -> the command
    every node:  srun -> dask worker -> processes that come back when they die

Nothing of it needs a route out of the cluster. Keys are made here and seen by these nodes alone. When
the workers' step ends before the command does, as when its memory ran out, it is started again. A command
that ran out of time and came further has its job requeued: the next attempt of the same id goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from vrecompute.batch.scheduler import scheduler_beside
from vrecompute.batch.tls import TLS_FILE, fresh_keys, tls_environment
from vrecompute.batch.worker_command import SETTINGS, WorkerShape, worker_command
from vrecompute.config.spelling import read_ports
from vrecompute.errors import OutOfTime
from vrecompute.workers.walltime import ATTEMPTS, allocation
from vrecompute_backends.slurm.step import step

__all__ = ["main"]

_AGAIN_S = 5.0
_REQUEUE_S = 120.0


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
        shape = WorkerShape(given.processes, given.threads, given.memory_bytes, given.interface, given.ports)
        nodes = int(os.environ.get("SLURM_JOB_NUM_NODES", "1"))
        workers = step(given.launcher, nodes, given.threads * given.processes)
        workers += worker_command(shape, address, leave=False)
        stack.enter_context(_kept_running(workers))
        environment = {**os.environ, "DASK_SCHEDULER_ADDRESS": address}
        code = subprocess.run(given.command, env=environment, check=False).returncode
        if code == OutOfTime.exit_code and _requeued():
            # Slurm ends this attempt now; returning first would look like the end of the job
            time.sleep(_REQUEUE_S)
        return code


def _requeued() -> bool:
    """Ask Slurm to start this very job again; some sites forbid that, others limit it."""
    job_id = os.environ["SLURM_JOB_ID"]
    most = os.environ.get(ATTEMPTS)
    try:
        if most is not None and int(os.environ.get("SLURM_RESTART_COUNT", "0")) + 1 >= int(most):
            raise OSError(f"limits.core_hours of the site pays for {most} attempts")
        done = subprocess.run(["scontrol", "requeue", job_id], capture_output=True, text=True, timeout=30, check=False)
        complaint = done.stderr.strip() or f"exit code {done.returncode}" if done.returncode else ""
    except (OSError, subprocess.SubprocessError) as error:
        complaint = str(error)
    if complaint:
        print(
            f"job {job_id} is out of time and cannot be requeued ({complaint}); finished chunks are kept: "
            "`vrecompute runs attach` finishes the run",
            file=sys.stderr,
            flush=True,
        )
    return not complaint


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory-bytes", type=int)
    parser.add_argument("--interface")
    parser.add_argument("--ports", type=read_ports)
    parser.add_argument("--scheduler-ports", type=read_ports)
    parser.add_argument("--launcher", choices=["direct", "srun"], default="srun")
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
    folder = Path.cwd() / f"secrets-tls-{os.environ['SLURM_JOB_ID']}"
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt whose node was lost
    folder.mkdir(mode=0o700)
    try:
        pem = folder / TLS_FILE
        pem.touch(mode=0o600)
        pem.write_text(fresh_keys())
        yield pem
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _kept_running(command: list[str]) -> Iterator[None]:
    """The command runs, again and again if it ends, for as long as the context is open."""
    over = threading.Event()
    running: list[subprocess.Popen[bytes]] = []

    def keep() -> None:
        while not over.is_set():
            running[:] = [subprocess.Popen(command)]
            code = running[0].wait()
            if code == 0 and (here := allocation()) is not None and not here.fresh:
                return  # they left for want of time, and others would
            if not over.is_set():
                print(f"workers ended with exit code {code}; starting them again", file=sys.stderr, flush=True)
                over.wait(_AGAIN_S)

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        for process in running:
            process.terminate()
        thread.join(20)


if __name__ == "__main__":
    sys.exit(main())
