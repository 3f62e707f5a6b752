"""Columns that no analysis of ours reads: they give a benchmark file the width and weight of a real one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute_analyses.dilepton.generator.events import truncate_mantissa

__all__ = ["FILLER", "fill"]

_ELECTRON = (
    "dr03EcalRecHitSumEt dr03TkSumPt dxy dxyErr dz eInvMinusPInv energyErr hoe ip3d mvaIso mvaNoIso "
    "pfRelIso03_chg r9 sieie sip3d jetIdx:i lostHits:i"
)
_MUON = (
    "dxy dxyErr dz ip3d pfRelIso03_all ptErr segmentComp sip3d softMva tkRelIso jetIdx:i nStations:i nTrackerLayers:i"
)
_JET = (
    "area chEmEF chHEF muEF neEmEF neHEF rawFactor btagDeepFlavCvB btagDeepFlavCvL qgl "
    "nConstituents:i hadronFlavour:i puId:i"
)
# No trigger that a dilepton analysis would ask for: each layout must leave one for electrons and one for muons.
_EVENT = (
    "MET_sumEt MET_significance MET_covXX MET_covXY MET_covYY PuppiMET_pt PuppiMET_phi PV_x PV_y PV_z "
    "Pileup_nTrueInt fixedGridRhoFastjetAll "
    "HLT_PFJet500:b HLT_PFHT1050:b HLT_Photon200:b HLT_PFMET120_PFMHT120_IDTight:b"
)
FILLER = {"Electron": _ELECTRON.split(), "Muon": _MUON.split(), "Jet": _JET.split(), "": _EVENT.split()}


def fill(columns: Sequence[str], size: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """One array of `size` per column: floats of 10 mantissa bits, `:i` small integers, `:b` rare flags."""
    made: dict[str, NDArray[Any]] = {}
    for column in columns:
        name, _, kind = column.partition(":")
        if kind == "i":
            made[name] = rng.poisson(3.0, size).astype(np.int32)
        elif kind == "b":
            made[name] = rng.random(size) < 0.05
        else:
            made[name] = truncate_mantissa(rng.exponential(1.0, size), 10)
    return made
