"""`PeerProcess`: one peer in its own interpreter, with every thread pool of its libraries set to one thread."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
# CPU seconds count every thread of a process, so a library that starts more than these hides nothing by it.
SINGLE = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "ARROW_NUM_THREADS",
    ),
    "1",
)


class Absent(Exception):
    """A peer that cannot take part, and why."""


class PeerProcess:
    """Started on construction; raises Absent where the peer cannot be imported, or fails in a run."""

    def __init__(self, module: str, python: str) -> None:
        environment = {**os.environ, **SINGLE}
        paths = [str(REPOSITORY / p) for p in ("", "backends", "analyses")]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        try:
            self._process = subprocess.Popen(
                [python, "-m", "benchmarks.worker", module],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if os.environ.get("VRECOMPUTE_BENCHMARK_VERBOSE") else subprocess.DEVNULL,
                text=True,
            )
        except OSError as error:
            raise Absent(f"{python} cannot be started: {error.strerror}") from error
        about = self._read()
        if "absent" in about:
            self.close()
            raise Absent(about["absent"])
        self.version: str = about["version"]

    def run(
        self, files: Sequence[str], *, chunk_events: int, threads: int, style: str, save: Path | None
    ) -> dict[str, float]:
        """CPU and wall seconds of one run; its outcome is written to `save`."""
        command: dict[str, Any] = {
            "files": list(files),
            "chunk_events": chunk_events,
            "threads": threads,
            "style": style,
            "save": str(save) if save else None,
        }
        assert self._process.stdin is not None
        try:
            print(json.dumps(command), file=self._process.stdin, flush=True)
        except BrokenPipeError as error:
            raise Absent(f"its process ended with code {self._process.wait()}") from error
        answer = self._read()
        if "failed" in answer:
            raise Absent(answer["failed"])
        return answer

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Absent(f"its process ended with code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer
