"""`python -m benchmarks.coldstart`: CPU seconds until a fresh worker process has its first result.

Fresh processes import what a worker imports, read a few thousand events and run the dilepton analysis; the first
finds an empty cache of compiled loops, the others what it left there.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import machine
from benchmarks.peerprocess import REPOSITORY, SINGLE
from benchmarks.sample import sample_files

TARGETS = {"warm_cpu_s": 2.0}
_WORKER = "import distributed, vrecompute.execution.task; from benchmarks.peers import vrecompute as v; v.run(FILES, 0)"
_IMPORTS = "import distributed, vrecompute.execution.task; from benchmarks.peers import vrecompute"


def main(arguments: Iterable[str] | None = None) -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coldstart", description=__doc__)
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, help="keep the sample here (default: the user's cache folder)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(None if arguments is None else list(arguments))
    report = measure(sample_files(options.directory, options.events, 1, "ttree"), options.rounds)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    for name, value in report["figures"].items():
        target = f"  target {TARGETS[name]:g}" if name in TARGETS else ""
        print(f"{name:16} {value:7.3f}{target}")
    return 0


def measure(files: list[str], rounds: int) -> dict[str, Any]:
    """CPU and wall seconds of a whole process: uncached, cached, and of its imports alone."""
    with tempfile.TemporaryDirectory() as cache:
        work = _WORKER.replace("FILES", repr(files))
        uncached = _process(work, cache)
        warm = [_process(work, cache) for _ in range(rounds)]
        imports = [_process(_IMPORTS, cache) for _ in range(rounds)]
    return {
        "schema": 1,
        "machine": machine(),
        "targets": TARGETS,
        "figures": {
            "uncached_cpu_s": uncached[0],
            "warm_cpu_s": median(cpu for cpu, _ in warm),
            "warm_wall_s": median(wall for _, wall in warm),
            "imports_cpu_s": median(cpu for cpu, _ in imports),
        },
    }


def _process(code: str, cache: str) -> tuple[float, float]:
    """(CPU, wall) seconds of a fresh interpreter that runs `code` with its caches under `cache`."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {**SINGLE, "VRECOMPUTE_CACHE": cache}
    # Byte code is there on a worker that has been used; whether this machine keeps it must not matter.
    environment["PYTHONPYCACHEPREFIX"] = f"{cache}/bytecode"
    environment["PYTHONPATH"] = os.pathsep.join(str(REPOSITORY / p) for p in ("", "backends", "analyses"))
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=REPOSITORY)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


if __name__ == "__main__":
    sys.exit(main())
