"""Small event files for tests, written by uproot: what is in them is a function of a seed."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import uproot

__all__ = ["SUM_ANALYSIS", "write_events"]

# An analysis as a user would write it in a file. Its sums depend on their order in the last bits.
SUM_ANALYSIS = """
import time

import boost_histogram as bh
import numpy as np

from vrecompute import Analysis, Array, Parameter, Result


class Sums(Analysis):
    name = "sums"
    parameters = (
        Parameter("pt_min_gev", 10.0, "cut"),
        Parameter("sleep_s", 0.0, "time each chunk takes"),
        Parameter("label", "x", "of the figure", type=str, stage="finish"),
    )

    def columns(self, source):
        return ["Muon_pt", "weight", "run"]

    def process(self, events):
        time.sleep(self["sleep_s"])
        pt = events.flat("Muon_pt")
        pt = pt[pt > self["pt_min_gev"]].astype(float)
        histogram = bh.Histogram(bh.axis.Regular(20, 0, 200), storage=bh.storage.Weight())
        histogram.fill(pt, weight=np.exp(pt / 37.0))
        return Result(
            histograms={"pt": histogram},
            cutflow={"mu": {"all": float(len(events)), "pt": float(len(pt))}},
            counters={"weights": float(np.sum(events.flat("weight"), dtype=np.float64))},
            arrays={"sum": Array(np.array([np.sum(np.sin(pt))]))},
        )
"""


def write_events(path: Path, events: int = 1000, seed: int = 0, *, clusters: int = 10, tree: str = "Events") -> Path:
    """A TTree of `events` events in `clusters` clusters: run, weight, and jagged Muon_pt with nMuon."""
    random = np.random.default_rng(seed)
    with uproot.recreate(path) as file:
        types = {
            "run": "int32",
            "weight": "float64",
            "Muon": ak.types.from_datashape("var * {pt: float32}", highlevel=False),
        }
        file.mktree(tree, types)
        for piece in np.array_split(np.arange(events), clusters):
            counts = random.poisson(1.5, len(piece))
            pt = random.gamma(2.0, 20.0, counts.sum()).astype(np.float32)
            file[tree].extend(
                {
                    "run": np.full(len(piece), 7, dtype=np.int32),
                    "weight": random.normal(1.0, 0.3, len(piece)),
                    "Muon": ak.zip({"pt": ak.unflatten(pt, counts)}),
                }
            )
    return path
