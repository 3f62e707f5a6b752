"""One peer in a process of its own: reads commands as JSON lines, answers with the CPU and wall seconds of each run.

Imports, compilation and warm-up thus happen once and are never timed. Runs under ROOT's interpreter too, so it
imports nothing but the standard library before the peer.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def main(peer: str) -> None:
    """Serve `peer` until standard input closes."""
    # Whatever a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        module = importlib.import_module(f"benchmarks.peers.{peer}")
        about = {"version": module.version()}
    except Exception as error:
        about = {"absent": f"{type(error).__name__}: {error}"}
    print(json.dumps(about), file=answers, flush=True)
    if "absent" in about:
        return
    for line in sys.stdin:
        print(json.dumps(_answer(module, json.loads(line))), file=answers, flush=True)


def _answer(module: Any, command: dict[str, Any]) -> dict[str, Any]:
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        outcome = module.run(command["files"], command["chunk_events"], command["threads"], command["style"])
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}
    spent = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    if isinstance(outcome, float):  # the peer timed itself, because it had to prepare what it measures
        spent["cpu_s"] = outcome
    elif command.get("save"):
        outcome.save(Path(command["save"]))
    return spent


if __name__ == "__main__":
    main(sys.argv[1])
