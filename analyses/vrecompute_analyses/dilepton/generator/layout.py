"""How events are called in a file: NanoAOD names in GeV, or ATLAS ntuple names in MeV."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vrecompute_analyses.dilepton.generator.events import Collection, EventBatch, truncate_mantissa

__all__ = ["LAYOUTS", "Layout", "LayoutName"]

LayoutName = Literal["nanoaod", "benchmark", "atlas"]


@dataclass(frozen=True)
class Layout:
    """Names, unit and mixture of one file layout.

    Where `names` is empty every column keeps its NanoAOD name; otherwise only the columns in it are written.
    `bytes_per_event` is what zstd leaves of an event, to turn a cluster size in bytes into events.
    """

    tree: str
    unit: Literal["GeV", "MeV"]
    weight: str
    mixture: str
    bytes_per_event: int
    names: Mapping[str, str] = field(default_factory=dict)

    def arranged(self, batch: EventBatch) -> EventBatch:
        """The batch under this layout's names and in its unit."""
        if not self.names:
            return batch
        scalars = {self.names[n]: self._in_unit(n, v) for n, v in batch.scalars.items() if n in self.names}
        collections = {}
        for name, collection in batch.collections.items():
            kept = {
                self.names[f"{name}_{m}"]: self._in_unit(m, v)
                for m, v in collection.members.items()
                if f"{name}_{m}" in self.names
            }
            collections[self.names[name]] = Collection(collection.counts, kept)
        return EventBatch(scalars, collections)

    def _in_unit(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        if self.unit == "GeV" or name not in _MOMENTA:
            return values
        return truncate_mantissa(np.float32(1_000.0) * values, 12)


_MOMENTA = frozenset({"pt", "mass", "MET_pt", "genDileptonMass"})

_ATLAS_NAMES = {
    "run": "runNumber",
    "luminosityBlock": "lumiBlock",
    "event": "eventNumber",
    "genWeight": "weight_mc",
    "genProcess": "truth_process",
    "genDileptonMass": "truth_dilepton_m",
    "genDileptonPdgId": "truth_dilepton_pdgId",
    "MET_pt": "met_met",
    "MET_phi": "met_phi",
    "PV_npvs": "npv",
    "HLT_Ele32_WPTight_Gsf": "HLT_e26_lhtight_nod0_ivarloose",
    "HLT_IsoMu24": "HLT_mu26_ivarmedium",
    "Electron": "el",
    "Electron_cutBased": "quality",
    "Electron_pfRelIso03_all": "relIso",
    "Muon": "mu",
    "Muon_looseId": "isLoose",
    "Muon_mediumId": "isMedium",
    "Muon_tightId": "isTight",
    "Muon_pfRelIso04_all": "relIso",
    "Jet": "jet",
    "Jet_btagDeepFlavB": "btag",
    **{f"{name}_{m}": m for name in ("Electron", "Muon", "Jet") for m in ("pt", "eta", "phi")},
    **{f"{name}_mass": "m" for name in ("Electron", "Muon", "Jet")},
    "Electron_charge": "charge",
    "Muon_charge": "charge",
}

LAYOUTS: Mapping[LayoutName, Layout] = MappingProxyType(
    {
        "nanoaod": Layout("Events", "GeV", "genWeight", "search", bytes_per_event=132),
        "benchmark": Layout("Events", "GeV", "genWeight", "benchmark", bytes_per_event=454),
        "atlas": Layout("nominal", "MeV", "weight_mc", "search", 114, MappingProxyType(_ATLAS_NAMES)),
    }
)
