"""`kept_workers`: the workers of an allocation, started again when they end, for as long as its command runs.

What starts them on other nodes, as srun, may kill them outright when it gets SIGTERM. So each node's shell reads
the input of the step: a line says that it is given one, and its end is the end (`temporary.on_nodes`).
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import IO

from vrecompute.batch.barren_steps import BarrenSteps
from vrecompute.workers.walltime import allocation

__all__ = ["kept_workers"]

_AGAIN_S = 5.0
# How long workers may take to end, asked by the end of their input, and then told by a signal.
_LEAVE_S, _END_S = 15.0, 20.0
# How long what they wrote may take to be read once they have ended: a child of theirs may hold the pipe.
_DRAIN_S = 2.0
_KEPT_LINES = 200  # a traceback may be long


@contextlib.contextmanager
def kept_workers(command: Sequence[str], barren: BarrenSteps, *, stepped: bool) -> Iterator[None]:
    """The command runs, again and again if it ends, for as long as the context is open; `barren` takes down each end.

    `stepped`: it was made by `temporary.on_nodes` with a step, and ends with its input.
    """
    over = threading.Event()
    running: list[subprocess.Popen[bytes]] = []

    def keep() -> None:
        while not over.is_set():
            given = subprocess.PIPE if stepped else subprocess.DEVNULL
            process = subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            running[:] = [process]
            said: deque[str] = deque(maxlen=_KEPT_LINES)
            reader = threading.Thread(target=_pass_on, args=(process.stdout, said), daemon=True)
            reader.start()
            _say(process.stdin)
            code = process.wait()
            reader.join(_DRAIN_S)
            if code == 0 and (here := allocation()) is not None and not here.fresh:
                return  # they left for want of time, and others would
            if not over.is_set():
                barren.ended(code, list(said))
                print(f"workers ended with exit code {code}; starting them again", file=sys.stderr, flush=True)
                over.wait(_AGAIN_S)

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        for process in running:
            _end(process)
        thread.join(_END_S)


def _say(stream: IO[bytes] | None) -> None:
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.write(b"begin\n")
            stream.flush()


def _pass_on(stream: IO[bytes] | None, said: deque[str]) -> None:
    """What workers write goes to the job's log at once; its end is kept."""
    for line in stream or ():
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
        said.append(line.decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LEAVE_S)
    process.terminate()
