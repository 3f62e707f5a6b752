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
    """A shift of lepton momenta: of their scale, or of their resolution (a `shift` of Gaussian smearing)."""

    name: str
    kind: str = "scale"
    shift: float = 0.0


NOMINAL = Variation("nominal")
_BOTH = (Variation("momentum_up", "scale", 0.002), Variation("momentum_down", "scale", -0.002))
# Four of one flavour, two of both flavours together: 7 spectra in either channel.
VARIATIONS = {
    "ee": (
        NOMINAL,
        Variation("electron_scale_up", "scale", 0.005),
        Variation("electron_scale_down", "scale", -0.005),
        Variation("electron_resolution_up", "resolution", 0.01),
        Variation("electron_resolution_down", "resolution", -0.01),
        *_BOTH,
    ),
    "mumu": (
        NOMINAL,
        Variation("muon_scale_up", "scale", 0.005),
        Variation("muon_scale_down", "scale", -0.005),
        Variation("muon_resolution_up", "resolution", 0.02),
        Variation("muon_resolution_down", "resolution", -0.02),
        *_BOTH,
    ),
}
# Smearing draws the same number for the same lepton everywhere: a hash of pT, phi and this.
STREAM = {"ee": 11, "mumu": 13}
_NUMERATOR = (-3.969683028665376e01, 2.209460984245205e02, -2.759285104469687e02, 1.383577518672690e02,
              -3.066479806614716e01, 2.506628277459239e00)  # fmt: skip
_DENOMINATOR = (-5.447609879822406e01, 1.615858368580409e02, -1.556989798598866e02, 6.680131188771972e01,
                -1.328068155288572e01, 1.0)  # fmt: skip
_TAIL_NUMERATOR = (-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e00, -2.549732539343734e00,
                   4.374664141464968e00, 2.938163982698783e00)  # fmt: skip
_TAIL_DENOMINATOR = (7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e00, 3.754408661907416e00, 1.0)


def smearing(pt_gev: NDArray[np.float64], phi: NDArray[np.float64], channel: str) -> NDArray[np.float64]:
    """Standard normal numbers that depend on pT and phi alone: SplitMix64's finaliser and Acklam's quantile."""
    seed = np.uint64(STREAM[channel] * 0x9E3779B97F4A7C15 % 2**64)
    z = _mix(_mix(np.ascontiguousarray(pt_gev, np.float64).view(np.uint64) + seed)
             ^ np.ascontiguousarray(phi, np.float64).view(np.uint64))  # fmt: skip
    u = ((z >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    q = u - 0.5
    r = q * q
    normal = np.polyval(_NUMERATOR, r) * q / np.polyval(_DENOMINATOR, r)
    tails = np.flatnonzero((u < 0.02425) | (u > 1.0 - 0.02425))
    q = np.sqrt(-2.0 * np.log(np.minimum(u[tails], 1.0 - u[tails])))
    normal[tails] = np.polyval(_TAIL_NUMERATOR, q) / np.polyval(_TAIL_DENOMINATOR, q)
    normal[tails[u[tails] > 0.5]] *= -1.0
    return normal


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@dataclass
class Outcome:
    """What a peer found: per channel sums of (w, w^2), shape (variations, bins, 2), and events after each cut."""

    spectra: dict[str, NDArray[np.float64]]
    cutflow: dict[str, list[int]]

    @classmethod
    def empty(cls) -> Outcome:
        """All zeros."""
        return cls({c: np.zeros((len(VARIATIONS[c]), BINS, 2)) for c in TRIGGER}, {c: [0] * len(CUTS) for c in TRIGGER})

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
                f"{name}: {channel} differs in {off.sum()} of {off.size} numbers, first {VARIATIONS[channel][v].name} "
                f"bin {b} {('sum w', 'sum w^2')[k]}: {found.spectra[channel][v, b, k]} not {expected[v, b, k]}"
            )
    return said
