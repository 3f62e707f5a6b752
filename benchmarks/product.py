"""`python -m benchmarks.product`: what the whole product costs over the bare loop, on the same chunks.

The bare loop is the same reader, kernel and chunks in as many processes, each with half of the chunks, without Dask,
Store, parts or report. Rounds are interleaved; start-up, `finish` and the report are stated apart.

On a busy machine judge by `cpu_ratio`: CPU seconds of the whole worker processes over those of the bare loop.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks import task
from benchmarks.machine import machine
from benchmarks.sample import sample_files
from vrecompute import Client, reader
from vrecompute.datasets.catalogue import resolve
from vrecompute.datasets.columns import Columns
from vrecompute.execution.chunk_bounds import DEFAULT_CHUNK_BYTES
from vrecompute.execution.plan import Plan
from vrecompute.execution.preflight import PreflightContext, preflight
from vrecompute.results.result import Result
from vrecompute_analyses.dilepton.process import Dilepton

TARGETS = {"ratio": 1.1, "cpu_ratio": 1.1}
PARAMETERS = {
    "opposite_sign": "both",
    "mass_window_gev": ",".join(map(str, task.MASS_RANGE_GEV)),
    "systematics": "on",
}


_KINDS = ("wall", "cpu")


def main(arguments: Iterable[str] | None = None) -> int:
    """Measure and report; 0 where both ways gave the same numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.product", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="in the file")
    parser.add_argument("--repeat", type=int, default=240, help="how often the file is listed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(None if arguments is None else list(arguments))
    files = sample_files(options.directory, options.events, options.seed, "ttree") * options.repeat
    report = measure(files, options.workers, options.rounds)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report["figures"], indent=2))
    return 0 if report["identical"] else 1


def measure(files: list[str], workers: int, rounds: int) -> dict[str, Any]:
    """Wall and CPU seconds of both ways, round by round, and their ratios."""
    rounds_of: dict[str, list[float]] = {f"{way}_{kind}_s": [] for way in ("bare", "product") for kind in _KINDS}
    client_cpu: list[float] = []
    stages: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, Client(workers=workers, store=folder) as client:
        plan = _plan(files, folder)
        _product(client, files[:workers])  # imports and compiled loops of the workers
        _bare(plan, workers, rehearse=True)
        identical = True
        for _ in range(rounds):
            wall, cpu, bare = _bare(plan, workers)
            rounds_of["bare_wall_s"].append(wall)
            rounds_of["bare_cpu_s"].append(cpu)
            before, own = _cpu_of_workers(client), time.process_time()
            times, product = _product(client, files)
            rounds_of["product_wall_s"].append(times["work"] + times["merge"])
            rounds_of["product_cpu_s"].append(_cpu_of_workers(client) - before)
            client_cpu.append(time.process_time() - own)
            for stage, spent in times.items():
                stages.setdefault(stage, []).append(spent)
            identical = identical and bare == product.cutflow
    figures = {name: statistics.median(spent) for name, spent in rounds_of.items()}
    for name, kind in {"ratio": "wall", "cpu_ratio": "cpu"}.items():
        pairs = zip(rounds_of[f"product_{kind}_s"], rounds_of[f"bare_{kind}_s"], strict=True)
        ratios = [product / bare for product, bare in pairs]
        figures |= {name: statistics.median(ratios), f"{name}_smallest": min(ratios), f"{name}_largest": max(ratios)}
    figures["client_cpu_s"] = statistics.median(client_cpu)
    return {
        "schema": 1,
        "identical": identical,
        "events": plan.events,
        "machine": machine(),
        "targets": TARGETS,
        "figures": figures | {f"{stage}_s": statistics.median(spent) for stage, spent in stages.items()},
        "rounds": rounds_of,
    }


def _cpu_of_workers(client: Client) -> float:
    """CPU seconds of all worker processes since they started, with all their threads."""
    return sum(client.dask.run(time.process_time).values())


def _product(client: Client, files: list[str]) -> tuple[dict[str, float], Result]:
    run = client.run("dilepton", files, params=PARAMETERS, reuse=False, allow_duplicates=True)
    result = run.result().total
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run.save(folder)
    return {**run.report().time_s, "report_and_figures": time.perf_counter() - started}, result


def _plan(files: list[str], store: str) -> Plan:
    """The very chunks of the product's plan."""
    dataset = resolve(files, allow_duplicates=True)
    samples = {s.name: s for s in dataset.samples}
    views = {s.name: s.process_view() for s in dataset.samples}
    order = PreflightContext(Dilepton(**PARAMETERS), samples, views, "bare", DEFAULT_CHUNK_BYTES, store)
    found = [s for s in preflight(order, dataset.sources) if not hasattr(s, "reason")]
    return Plan.of("bare", dataset.samples, found, DEFAULT_CHUNK_BYTES)  # type: ignore[arg-type]  # no failures left


def _bare(plan: Plan, workers: int, *, rehearse: bool = False) -> tuple[float, float, dict[str, dict[str, float]]]:
    """Wall and CPU seconds of `workers` processes that share the chunks, once all are ready; and the cutflow."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for number in range(workers):
        ours, theirs = context.Pipe()
        process = context.Process(target=_loop, args=(theirs, plan, number, workers))
        process.start()
        pipes.append(ours)
        processes.append(process)
    for pipe in pipes:
        pipe.recv()
    started = time.perf_counter()
    for pipe in pipes:
        pipe.send(not rehearse)
    results = [pipe.recv() for pipe in pipes]
    seconds = time.perf_counter() - started
    for process in processes:
        process.join()
    total = Result()
    for _, cutflow in results:
        total = total + Result(cutflow=cutflow)
    return seconds, sum(cpu for cpu, _ in results), total.cutflow


def _loop(pipe: Connection, plan: Plan, number: int, workers: int) -> None:
    analysis = Dilepton(**PARAMETERS)
    tables = {s.sidecar: reader.tabulate(s.path, s.tree, s.columns) for s in plan.sources[:1]}

    def process(chunk: int) -> Result:
        source = plan.sources[int(plan.table[chunk, 0])]
        start, stop = int(plan.table[chunk, 1]), int(plan.table[chunk, 2])
        table = next(iter(tables.values()))
        columns = reader.read(source.path, source.tree, source.columns, start, stop, table=table)
        sample = plan.samples[0]
        return analysis.process(Columns(columns, sample, start, stop, tuple(analysis.variations(sample))))

    process(0)
    pipe.send(True)
    total = Result()
    work = pipe.recv()
    began = time.process_time()
    if work:
        for chunk in range(number, plan.chunks, workers):
            total = total + process(chunk)
    pipe.send((time.process_time() - began, total.cutflow))


if __name__ == "__main__":
    raise SystemExit(main())
