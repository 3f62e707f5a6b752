"""Real CMS 2011A dimuon events: from the published CSV to a NanoAOD-like TTree `Events`.

The CSV has one line per event with both muons (`pt1, eta1, phi1, Q1, pt2, ...`; momenta in GeV); the
tree has NanoAOD's jagged `Muon_*` branches with two entries per event, in the CSV's order.
"""

from __future__ import annotations

import csv
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

_BRANCHES = {
    "pt": ("pt", np.float32),
    "eta": ("eta", np.float32),
    "phi": ("phi", np.float32),
    "charge": ("Q", np.int32),
}


def convert(source: Path, target: Path) -> None:
    """Write `target` (a ROOT file) from `source` (Zmumu_Run2011A.csv)."""
    with source.open(newline="") as file:
        rows = list(csv.DictReader(file))
    muons = {
        name: ak.from_regular(np.array([[float(r[f"{column}1"]), float(r[f"{column}2"])] for r in rows], dtype=dtype))
        for name, (column, dtype) in _BRANCHES.items()
    }
    with uproot.recreate(target) as file:
        tree = {
            "run": np.array([int(r["Run"]) for r in rows], np.uint32),
            "event": np.array([int(r["Event"]) for r in rows], np.uint64),
            "Muon": ak.zip(muons),
        }
        file.mktree("Events", {"run": np.uint32, "event": np.uint64, "Muon": tree["Muon"].type.content})
        file["Events"].extend(tree)
