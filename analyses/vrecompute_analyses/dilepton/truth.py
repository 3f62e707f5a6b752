"""What was found against what was generated: the Z mass and the injected Z'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Comparison", "Finding", "compare"]

Z_TOLERANCE_GEV = 0.3
LEAST_LOCAL_SIGMA = 5.0
BINS_OFF = 1


@dataclass(frozen=True)
class Finding:
    """One thing that was generated, and whether it was found; `text` says it in numbers."""

    what: str
    passed: bool
    text: str


@dataclass(frozen=True)
class Comparison:
    """All findings, and whether every one of them passed."""

    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether there are findings and all passed."""
        return bool(self.findings) and all(f.passed for f in self.findings)


def compare(products: Mapping[str, Any], truth: Mapping[str, Any]) -> Comparison:
    """The products of `finish` against the truth.json of a generated sample.

    The Z is looked for in each channel; the Z' in the channel that sees it best, since the resolution of
    muons at high mass makes theirs the weaker one.
    """
    channels = products["channels"]
    findings = [_z(name, channel["z_peak"], truth["z"]["mass_gev"]) for name, channel in channels.items()]
    if truth["zprime"] is not None:
        seen = [_zprime(name, channel, truth["zprime"]["mass_gev"]) for name, channel in channels.items()]
        findings.append(max(seen, key=lambda f: (f[1].passed, f[0]))[1])
    return Comparison(tuple(findings))


def _z(channel: str, peak: Mapping[str, Any], true_gev: float) -> Finding:
    what = f"Z in {channel}"
    if "mass_gev" not in peak:
        return Finding(what, False, f"{what}: not fitted, {peak['skipped']}")
    mass, error = peak["mass_gev"], peak["mass_uncertainty_gev"]
    passed = bool(peak["valid"]) and abs(mass - true_gev) < Z_TOLERANCE_GEV
    return Finding(what, passed, f"{what}: {mass:.3f} ± {error:.3f} GeV, generated at {true_gev:.3f} GeV")


def _zprime(channel: str, product: Mapping[str, Any], true_gev: float) -> tuple[float, Finding]:
    """(local significance, finding) of the largest excess of a channel."""
    what = f"Z' in {channel}"
    maximum = product.get("bump_scan", {}).get("maximum")
    if maximum is None:
        reason = product.get("bump_scan", product["spectrum"])["skipped"]
        return 0.0, Finding(what, False, f"{what}: no scan, {reason}")
    edges = np.asarray(product["spectrum"]["edges_gev"])
    true_bin, found_bin = np.searchsorted(edges, [true_gev, maximum["mass_gev"]], side="right")
    sigma = maximum["local_significance"]
    passed = abs(int(true_bin) - int(found_bin)) <= BINS_OFF and sigma >= LEAST_LOCAL_SIGMA
    found = f"{maximum['mass_gev']:.0f} GeV with {sigma:.1f} sigma local significance"
    text = f"{what}: {found}, injected at {true_gev:.0f} GeV"
    return float(sigma), Finding(what, passed, text)
