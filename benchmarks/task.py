"""The task every peer solves: ee and mumu selection, mass spectra under lepton-scale variations, cutflow.

Standard library and numpy only: ROOT's interpreter may have nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TREE = "Events"
TRIGGER = {"ee": "HLT_Ele32_WPTight_Gsf", "mumu": "HLT_IsoMu24"}
COLLECTION = {"ee": "Electron", "mumu": "Muon"}
MEMBERS = {
    "ee": ("pt", "eta", "phi", "charge", "cutBased", "pfRelIso03_all"),
    "mumu": ("pt", "eta", "phi", "charge", "mediumId", "pfRelIso04_all"),
}
WEIGHT = "genWeight"
COLUMNS = (
    *(f"Electron_{m}" for m in MEMBERS["ee"]),
    *(f"Muon_{m}" for m in MEMBERS["mumu"]),
    *TRIGGER.values(),
    WEIGHT,
)  # with nElectron and nMuon, the 17 branches that the task needs

PT_MIN_GEV = 30.0
ETA_MAX = {"ee": 2.47, "mumu": 2.5}
CRACK_ETA = (1.37, 1.52)
CUT_BASED_MEDIUM = 3
ISOLATION_MAX = 0.15
MASS_RANGE_GEV = (50.0, 6_000.0)
BINS = 100
EDGES_GEV = np.geomspace(*MASS_RANGE_GEV, BINS + 1)
CUTS = ("events", "trigger", "two_leptons", "opposite_sign", "mass_window")


@dataclass(frozen=True)
class Variation:
    """A lepton-scale variation: factors on pT within and beyond |eta| = `split`."""

    name: str
    electron: tuple[float, float] = (1.0, 1.0)
    muon: tuple[float, float] = (1.0, 1.0)

    def factors(self, channel: str) -> tuple[float, float]:
        """(central, forward) factor on the leptons of a channel."""
        return self.electron if channel == "ee" else self.muon

    def touches(self, channel: str) -> bool:
        """Whether the channel's leptons move at all."""
        return self.factors(channel) != (1.0, 1.0)


ETA_SPLIT = {"ee": 1.37, "mumu": 1.05}
VARIATIONS = (
    Variation("electron_central_up", electron=(1.005, 1.0)),
    Variation("electron_central_down", electron=(0.995, 1.0)),
    Variation("electron_forward_up", electron=(1.0, 1.01)),
    Variation("electron_forward_down", electron=(1.0, 0.99)),
    Variation("muon_central_up", muon=(1.005, 1.0)),
    Variation("muon_central_down", muon=(0.995, 1.0)),
    Variation("muon_forward_up", muon=(1.0, 1.01)),
    Variation("muon_forward_down", muon=(1.0, 0.99)),
    Variation("lepton_up", (1.005, 1.005), (1.005, 1.005)),
    Variation("lepton_down", (0.995, 0.995), (0.995, 0.995)),
)


def variations(channel: str) -> tuple[Variation, ...]:
    """Nominal first, then those that move the channel's leptons: 7 for either channel."""
    return (Variation("nominal"), *(v for v in VARIATIONS if v.touches(channel)))


@dataclass
class Outcome:
    """What a peer found: per channel sums of (w, w^2), shape (variations, bins, 2), and events after each cut."""

    spectra: dict[str, NDArray[np.float64]]
    cutflow: dict[str, list[int]]

    @classmethod
    def empty(cls) -> Outcome:
        """All zeros."""
        return cls(
            {c: np.zeros((len(variations(c)), BINS, 2)) for c in TRIGGER}, {c: [0] * len(CUTS) for c in TRIGGER}
        )

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            {c: s + other.spectra[c] for c, s in self.spectra.items()},
            {c: [a + b for a, b in zip(n, other.cutflow[c], strict=True)] for c, n in self.cutflow.items()},
        )

    def save(self, path: Path) -> None:
        """Write as .npz."""
        np.savez(path, **self.spectra, **{f"cutflow_{c}": np.array(n) for c, n in self.cutflow.items()})

    @classmethod
    def load(cls, path: Path) -> Outcome:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            return cls({c: stored[c] for c in TRIGGER}, {c: stored[f"cutflow_{c}"].tolist() for c in TRIGGER})


def differences(name: str, found: Outcome, reference: Outcome, tolerance: float = 1e-11) -> list[str]:
    """Sentences on everything in which two outcomes differ; empty where they agree.

    Sums are compared relative to the sum of w^2 of their bin, which no cancellation of signs makes small.
    """
    said = []
    for channel, expected in reference.spectra.items():
        if found.cutflow[channel] != reference.cutflow[channel]:
            said.append(f"{name}: {channel} cutflow {found.cutflow[channel]}, not {reference.cutflow[channel]}")
        if found.spectra[channel].shape != expected.shape:
            said.append(f"{name}: {channel} spectra of shape {found.spectra[channel].shape}, not {expected.shape}")
            continue
        off = np.abs(found.spectra[channel] - expected) > tolerance * np.maximum(expected[..., 1:], 1.0)
        if off.any():
            v, b, k = np.argwhere(off)[0]
            said.append(
                f"{name}: {channel} differs in {off.sum()} of {off.size} numbers, first {variations(channel)[v].name} "
                f"bin {b} {('sum w', 'sum w^2')[k]}: {found.spectra[channel][v, b, k]} not {expected[v, b, k]}"
            )
    return said
