"""vrecompute: its reader and the Dilepton analysis that ships with it, chunk by chunk as a worker does."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from itertools import pairwise
from operator import add

import boost_histogram as bh
import numpy as np

from benchmarks import task
from benchmarks.task import Outcome
from vrecompute import reader
from vrecompute.analysis import SourceView
from vrecompute.datasets.columns import Columns
from vrecompute.datasets.dataset import Sample
from vrecompute.execution.chunk_bounds import DEFAULT_CHUNK_BYTES, split
from vrecompute.execution.reading import reading_of
from vrecompute.results.result import Result
from vrecompute_analyses.dilepton.process import Dilepton

SAMPLE = Sample("benchmark", unit="GeV", weight=task.WEIGHT)


def version() -> str:
    """Of what is measured."""
    try:
        return f"vrecompute {installed('vrecompute')}"
    except PackageNotFoundError:
        return "vrecompute (working tree)"


def run(files: Sequence[str], chunk_events: int, threads: int = 1, style: str = "usual") -> Outcome:
    """The task over all events of `files`; chunks are those that a plan would cut, whatever `chunk_events` says."""
    analysis = Dilepton(opposite_sign="both", mass_window_gev=task.MASS_RANGE_GEV, systematics="on")
    variations = tuple(analysis.variations(SAMPLE))
    chunks = []
    for path in files:
        facts = reader.inspect(path, task.TREE)
        columns = reading_of(analysis, SourceView(SAMPLE, facts.available, facts.tree)).columns
        data_bytes = facts.bytes_of(columns)
        bounds = split(facts.entries, facts.cluster_starts(columns).tolist(), data_bytes, DEFAULT_CHUNK_BYTES)
        chunks += [(path, columns, start, stop) for start, stop in pairwise(bounds)]

    def process(chunk: tuple[str, tuple[str, ...], int, int]) -> Result:
        path, columns, start, stop = chunk
        values = reader.read(path, task.TREE, columns, start, stop)
        return analysis.process(Columns(values, SAMPLE, start, stop, variations, place=path))

    if threads == 1:
        return _outcome(reduce(add, map(process, chunks)))
    with ThreadPoolExecutor(threads) as pool:
        return _outcome(reduce(add, pool.map(process, chunks)))


def _outcome(result: Result) -> Outcome:
    outcome = Outcome.empty()
    for channel, variations in task.VARIATIONS.items():
        histogram = result.histograms[f"spectrum_{channel}"]
        if not np.allclose(histogram.axes[1].edges, task.EDGES_GEV, rtol=1e-14):
            raise RuntimeError("the analysis fills other bins than the task has")
        for number, variation in enumerate(variations):
            row = histogram[bh.loc(variation.name), :].view()
            outcome.spectra[channel][number] = np.stack([row.value, row.variance], axis=-1)
        outcome.cutflow[channel] = [int(result.cutflow[channel][cut]) for cut in task.CUTS]
    # The triggers of the sample exclude each other, so the veto of mumu beside ee never applies: peers leave it out.
    mumu = result.cutflow["mumu"]
    if mumu["not_ee"] != mumu["two_leptons"]:
        raise RuntimeError("the sample has events with ee and mumu: peers would need the veto too")
    return outcome
