"""The event loop of the dilepton analysis against the same written by hand in C++, on the benchmark mixture.

`python -m benchmarks.limits kernel`. Both get the same arrays in memory, run in one thread, take turns, and
must agree in every count exactly and in every sum to 1e-12; what is compared is CPU time.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute.kernels.loop.binning import make_axis
from vrecompute.kernels.loop.chunk import Collection
from vrecompute_analyses.dilepton.generator.mixture import MIXTURES, EventSource
from vrecompute_analyses.dilepton.process import Dilepton
from vrecompute_analyses.dilepton.selection import loop

HISTOGRAMS = ("mass_ee", "z_ee", "spectrum_ee", "mass_mumu", "z_mumu", "spectrum_mumu")
# Rows as the C++ has them.
EE = ("nominal", "electron_scale_up", "electron_scale_down", "momentum_up", "momentum_down",
      "electron_resolution_up", "electron_resolution_down")  # fmt: skip
MUMU = (*EE, "muon_scale_up", "muon_scale_down", "muon_resolution_up", "muon_resolution_down")
MASS_LOW_GEV, MASS_HIGH_GEV = 225.0, 13_000.0


class CAxis(ctypes.Structure):
    _fields_ = [
        ("edges", ctypes.c_void_p), ("guess", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("n", "cells", "shift", "first")),
    ]  # fmt: skip


class CLeptons(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("offsets", "pt", "eta", "phi", "charge", "passes")]


def arrays(events: int, seed: int) -> tuple[dict[str, Collection], dict[str, NDArray[Any]]]:
    """Leptons and event columns of the benchmark mixture, as the analysis hands them to its loop."""
    batch = EventSource(seed, MIXTURES["benchmark"], None).events(0, events)
    passes = {
        "Electron": lambda m: (m["cutBased"] >= 3) & (m["pfRelIso03_all"] <= 0.15),
        "Muon": lambda m: m["mediumId"] & (m["pfRelIso04_all"] <= 0.15),
    }
    collections = {}
    for name, passing in passes.items():
        found = batch.collections[name]
        columns = {n: np.ascontiguousarray(found.members[n], np.float32) for n in ("pt", "eta", "phi")}
        columns["charge"] = found.members["charge"].astype(np.int8)
        columns["passes"] = passing(found.members).view(np.uint8)
        offsets = np.concatenate([[0], np.cumsum(found.counts)]).astype(np.int64)
        collections[name.lower()] = Collection(offsets, columns)
    event = {
        "weight": batch.scalars["genWeight"].astype(np.float64),
        "fired_ee": np.ascontiguousarray(batch.scalars["HLT_Ele32_WPTight_Gsf"], np.bool_).view(np.uint8),
        "fired_mumu": np.ascontiguousarray(batch.scalars["HLT_IsoMu24"], np.bool_).view(np.uint8),
    }
    return collections, event


def compiled(folder: Path) -> Any:
    """The C++ function, built by g++ -O3 for this processor."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise SystemExit("g++ is not installed, so there is nothing to compare with: install g++")
    library = folder / "dilepton.so"
    source = Path(__file__).with_name("dilepton.cpp")
    command = [compiler, "-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library)).dilepton


class ByHand:
    """The C++ loop over the given arrays."""

    def __init__(self, function: Any, collections: dict[str, Collection], event: dict[str, NDArray[Any]]) -> None:
        self.function = function
        self.collections, self.event = collections, event
        self.axes = [make_axis(loop.axes[name].edges) for name in HISTOGRAMS[:3]]
        self.leptons = [
            CLeptons(
                x.offsets.ctypes.data, *(x.columns[n].ctypes.data for n in ("pt", "eta", "phi", "charge", "passes"))
            )
            for x in (collections["electron"], collections["muon"])
        ]

    def run(self, variations: int) -> tuple[dict[str, NDArray[np.float64]], list[int]]:
        """Sums of every histogram, shape (rows, bins + 2, 2), and the counts of every cut."""
        axes = (CAxis * 3)(
            *(
                CAxis(a.padded.ctypes.data, a.guess.ctypes.data, a.edges.size, a.guess.size, a.shift, a.first)
                for a in self.axes
            )
        )
        sums = {}
        for k, name in enumerate(HISTOGRAMS):
            rows = 1 if variations == 1 else len(EE) if name.endswith("_ee") else len(MUMU)
            sums[name] = np.zeros((rows, self.axes[k % 3].edges.size + 1, 2))
        cuts = np.zeros(11, np.int64)
        pointers = (ctypes.c_void_p * 6)(*(s.ctypes.data for s in sums.values()))
        columns = (ctypes.c_void_p(self.event[n].ctypes.data) for n in ("weight", "fired_ee", "fired_mumu"))
        self.function(
            ctypes.c_int64(len(self.event["weight"])),
            ctypes.byref(self.leptons[0]), ctypes.byref(self.leptons[1]), *columns, axes,
            ctypes.c_double(MASS_LOW_GEV), ctypes.c_double(MASS_HIGH_GEV), ctypes.c_int(variations),
            pointers, ctypes.c_void_p(cuts.ctypes.data),
        )  # fmt: skip
        return sums, cuts.tolist()


def disagreements(ours: Any, theirs: tuple[dict[str, NDArray[np.float64]], list[int]]) -> list[str]:
    """Sentences on what differs."""
    sums, cuts = theirs
    said = []
    mine = [n for channel in ("ee", "mumu") for n in ours.cutflow[channel].values()]
    if mine != cuts:
        said.append(f"cutflow {mine}, not {cuts}")
    for name, expected in sums.items():
        made = ours.histograms[name]
        order = [made.variations.index(v) for v in (EE if name.endswith("_ee") else MUMU)[: len(expected)]]
        found = np.stack([made.sums[order], made.squares[order]], axis=-1)
        off = np.abs(found - expected) > 1e-12 * np.maximum(expected[..., 1:], 1.0)
        if off.any():
            said.append(f"{name}: {off.sum()} of {off.size} numbers differ")
    return said


def main(arguments: Sequence[str]) -> int:
    """Print and optionally write the figures; 1 where the two disagree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits kernel", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    collections, event = arrays(given.events, given.seed)
    parameters = Dilepton().numbers()
    factors = np.random.default_rng(given.seed).normal(1.0, 0.1, (given.events, 100)).astype(np.float32)

    def ours(variations: Sequence[str], **more: Any) -> Any:
        return loop.run(
            given.events, collections=collections, event=event, parameters=parameters, variations=variations, **more
        )

    began = time.process_time()
    ours(("nominal",))
    first_s = time.process_time() - began
    with tempfile.TemporaryDirectory() as folder:
        hand = ByHand(compiled(Path(folder)), collections, event)
        said = disagreements(ours(loop.variations), hand.run(7)) + disagreements(ours(("nominal",)), hand.run(1))
        contestants: dict[str, Callable[[], Any]] = {
            "nominal + 10 variations": lambda: ours(loop.variations),
            "nominal + 10 variations, g++": lambda: hand.run(7),
            "nominal": lambda: ours(("nominal",)),
            "nominal, g++": lambda: hand.run(1),
            "nominal + 100 weights": lambda: ours(("nominal",), weights={"pdf": factors}),
        }
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(given.rounds):
            for name, function in contestants.items():
                began = time.process_time()
                function()
                seconds[name].append(time.process_time() - began)
    rate = {name: given.events / statistics.median(s) / 1e6 for name, s in seconds.items()}
    ratio = {
        name: statistics.median(a / b for a, b in zip(seconds[name], seconds[f"{name}, g++"], strict=True))
        for name in ("nominal + 10 variations", "nominal")
    }
    passes = statistics.median(
        (b - a) / a / factors.shape[1]
        for a, b in zip(seconds["nominal"], seconds["nominal + 100 weights"], strict=True)
    )
    report = {
        "identical": not said, "events": given.events, "mev_per_s": rate, "time_over_gpp": ratio,
        "weight_variation_in_passes": passes, "first_call_cpu_s": first_s,
    }  # fmt: skip
    for name, value in rate.items():
        print(f"{name:32} {value:8.2f} Mev/s per core")
    for name, value in ratio.items():
        print(f"{name:32} {value:8.2f} x the time of g++ -O3 (target 1.3)")
    print(f"one weight variation costs {passes:.3f} of a nominal pass; first call took {first_s:.1f} CPU s")
    for sentence in said:
        print(sentence, file=sys.stderr)
    if given.json:
        given.json.write_text(json.dumps(report, indent=1))
    return 1 if said else 0
