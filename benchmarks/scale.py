"""`python -m benchmarks.scale`: what a plan of 100 000 chunks costs the scheduler and the client.

A real Dask scheduler and real workers, each a process of its own; chunks that only sleep, so that the cores are free
for what is measured: scheduler CPU per chunk, time until the first task is back, and how much memory grows.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from benchmarks.sleeping import Sleeping
from vrecompute.analysis import Grid
from vrecompute.analysis.loading import Origin
from vrecompute.datasets.dataset import Dataset, Sample
from vrecompute.digest import numerics
from vrecompute.execution.manifest import Manifest, Settings, new_run_id
from vrecompute.execution.plan import Plan
from vrecompute.execution.preflight import plan_grid
from vrecompute.execution.progress import Progress
from vrecompute.execution.runner import Runner
from vrecompute.results.file import read_results
from vrecompute.stores.directory import DirStore
from vrecompute.stores.objects import read_content

TARGETS = {"scheduler_us_per_chunk": 60.0, "plan_s": 1.0, "scheduler_growth_mb": 50.0}
_SAMPLE = Sample("items")


def main(arguments: Iterable[str] | None = None) -> int:
    """Measure and report; 0 where every chunk was seen."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--chunk-s", type=float, default=0.02, help="what a chunk sleeps")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=40, help="per worker")
    parser.add_argument("--task-s", type=float, default=15.0, help="length of a task")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(None if arguments is None else list(arguments))
    report = measure(options.chunks, options.chunk_s, options.workers, options.threads, options.task_s)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    for name, value in report["figures"].items():
        target = f"  target {TARGETS[name]:g}" if name in TARGETS else ""
        print(f"{name:28} {value:10.3f}{target}")
    return 0 if report["complete"] else 1


def measure(chunks: int, chunk_s: float, workers: int, threads: int, task_s: float) -> dict[str, Any]:
    """Figures of one run through the Runner, on a cluster that is started for it."""
    from distributed import Client as DaskClient
    from distributed.deploy.subprocess import SubprocessCluster

    # Workers import the analysis by name, from here.
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    plan_s = _plan_seconds(chunks)
    with (
        tempfile.TemporaryDirectory() as folder,
        SubprocessCluster(
            host="127.0.0.1", dashboard_address=":0", n_workers=workers, threads_per_worker=threads
        ) as cluster,
        DaskClient(cluster) as dask,
    ):
        dask.wait_for_workers(workers)
        manifest = _manifest(chunks, chunk_s, task_s)
        store = DirStore(folder)
        manifest.write(store)
        first_s: list[float] = []
        started = time.monotonic()

        def on_progress(progress: Progress) -> None:
            if progress.chunks_done and not first_s:
                first_s.append(time.monotonic() - started)

        before, client_before = dask.run_on_scheduler(_usage), _usage()
        outcome = Runner(dask, store, manifest, Sleeping(seconds=chunk_s), on_progress).execute()
        wall_s = time.monotonic() - started
        after, client_after = dask.run_on_scheduler(_usage), _usage()
        results = read_results(read_content(store, outcome.result)) if outcome.result else {}
    seen = sum(float(np.sum(r.histograms["item"].view().value)) for r in results.values())
    busy_s = chunks * chunk_s / (workers * threads)
    return {
        "schema": 1,
        "complete": seen == chunks,
        "failures": [f"{f.kind}: {f.reason}" for f in outcome.failures],
        "chunks": chunks,
        "machine": machine(),
        "targets": TARGETS,
        "figures": {
            "scheduler_us_per_chunk": 1e6 * (after["cpu_s"] - before["cpu_s"]) / chunks,
            "client_us_per_chunk": 1e6 * (client_after["cpu_s"] - client_before["cpu_s"]) / chunks,
            "plan_s": plan_s,
            "first_result_s": first_s[0] if first_s else float("nan"),
            "wall_s": wall_s,
            "efficiency": busy_s / wall_s,
            "scheduler_growth_mb": (after["rss_bytes"] - before["rss_bytes"]) / 1e6,
            "client_growth_mb": (client_after["rss_bytes"] - client_before["rss_bytes"]) / 1e6,
            "client_mb": client_after["rss_bytes"] / 1e6,
        },
    }


def _plan_seconds(chunks: int) -> float:
    """Time to build the plan of this many chunks, its table included."""
    grid, view = _grid(chunks), _SAMPLE.process_view()
    start = time.perf_counter()
    plan = Plan.of("work", [_SAMPLE], [plan_grid(grid, _SAMPLE, view)], 1)
    assert len(plan.table) == chunks
    return time.perf_counter() - start


def _grid(chunks: int) -> Grid:
    return Grid("items", chunks, 1, {})


def _manifest(chunks: int, chunk_s: float, task_s: float) -> Manifest:
    return Manifest(
        run=new_run_id("sleeping"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        analysis=Sleeping.name,
        analysis_version=Sleeping.version,
        origin=Origin("live", Sleeping.name),
        code="",
        parameters={"seconds": chunk_s},
        dataset=Dataset((_SAMPLE,), ()),
        resources={},
        numerics=numerics(()),
        settings=Settings(task_s=task_s),
        grids=(_grid(chunks),),
        code_parts=Sleeping(seconds=chunk_s).code().parts,
    )


def _usage() -> dict[str, float]:
    import os
    import time

    import psutil

    return {"cpu_s": time.process_time(), "rss_bytes": float(psutil.Process(os.getpid()).memory_info().rss)}


if __name__ == "__main__":
    # Under its own name, so that workers find what is pickled by reference.
    from benchmarks.scale import main as run

    sys.exit(run())
