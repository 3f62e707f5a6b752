"""ROOT RDataFrame with Vary: one event loop, compiled with -O3. Needs ROOT and numpy, nothing else."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import task
from benchmarks.task import Outcome

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the wheel calls itself an alpha
    import ROOT


def version() -> str:
    """Of what is measured."""
    return f"ROOT {ROOT.gROOT.GetVersion()}"


@lru_cache(maxsize=1)
def _compiled() -> Any:
    folder = tempfile.mkdtemp(prefix="rdataframe-")
    ROOT.gSystem.SetFlagsOpt("-O3 -DNDEBUG")
    source = str(Path(__file__).with_suffix(".cpp"))
    if not ROOT.gSystem.CompileMacro(source, "kOs", "benchmark_rdataframe", folder):
        raise RuntimeError("the compiled selection could not be built (is there a C++ compiler?)")
    return ROOT.RunTask


def run(files: Sequence[str], chunk_events: int, threads: int = 1, style: str = "usual") -> Outcome:
    """The task over all events of `files`; RDataFrame chooses its own chunks (clusters)."""
    found = _compiled()(task.TREE, list(files), _spec("ee"), _spec("mumu"), threads, style == "tuned")
    outcome = Outcome.empty()
    for channel, of in zip(("ee", "mumu"), found, strict=True):
        shape = outcome.spectra[channel].shape
        outcome.spectra[channel] = np.array(of.sums).reshape(shape)
        outcome.cutflow[channel] = [int(n) for n in of.cutflow]
    return outcome


def _spec(channel: str) -> Any:
    _compiled()
    spec = ROOT.Spec()
    collection = task.COLLECTION[channel]
    spec.trigger, spec.collection = task.TRIGGER[channel], collection
    spec.id, spec.isolation = (f"{collection}_{m}" for m in task.MEMBERS[channel][4:])
    spec.id_min = task.CUT_BASED_MEDIUM if channel == "ee" else 1
    spec.eta_max, spec.pt_min, spec.isolation_max = task.ETA_MAX[channel], task.PT_MIN_GEV, task.ISOLATION_MAX
    spec.crack_low, spec.crack_high = task.CRACK_ETA if channel == "ee" else (0.0, 0.0)
    spec.mass_low, spec.mass_high = task.MASS_RANGE_GEV
    spec.edges = task.EDGES_GEV.tolist()
    spec.stream = task.STREAM[channel]
    shifted = task.VARIATIONS[channel][1:]
    spec.tags = [v.name for v in shifted]
    spec.shifts = [v.shift for v in shifted]
    spec.smears = [v.kind == "resolution" for v in shifted]
    return spec
