"""Detector response: what is reconstructed of the true leptons, plus fakes, jets, missing momentum and triggers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute_analyses.dilepton.generator.events import Collection, truncate_mantissa

__all__ = ["Leptons", "Response", "electrons", "jets", "missing_momentum", "muons"]

Floats = NDArray[np.float64]
MASS_GEV = {"Electron": 0.000511, "Muon": 0.105658}
PDG_ID = {"Electron": 11, "Muon": 13}
ETA_MAX = {"Electron": 2.5, "Muon": 2.5}
PT_MIN_GEV = 5.0
RECONSTRUCTION_EFFICIENCY = 0.9


@dataclass(frozen=True)
class Response:
    """Rates that differ between layouts: soft fakes per event and flavour, and what fires the trigger.

    The trigger of a flavour fires with `trigger_efficiency` where `trigger_leptons` prompt leptons are above
    `trigger_pt_gev`, and otherwise with `trigger_accidental`.
    """

    fakes_per_event: float = 0.3
    trigger_efficiency: float = 0.95
    trigger_leptons: int = 1
    trigger_pt_gev: float = 25.0
    trigger_accidental: float = 0.002


@dataclass(frozen=True)
class Leptons:
    """Reconstructed leptons of one flavour, per event in falling pT; `fired` is the trigger, shape (events,)."""

    collection: Collection
    fired: NDArray[np.bool_]


def electrons(
    prompt: NDArray[np.bool_], pt: Floats, eta: Floats, phi: Floats, response: Response, rng: np.random.Generator
) -> Leptons:
    """Electrons: sE/E = 10 %/sqrt(E) and 0.7 % in quadrature; `prompt` has shape (events,), the rest (events, 2)."""
    energy = np.maximum(pt * np.cosh(eta), 1e-3)
    relative = np.hypot(0.10 / np.sqrt(energy), 0.007)
    found = _reconstruct("Electron", prompt, pt, eta, phi, relative, response, rng)
    n, real = found.pt.size, found.prompt
    # cutBased: 0 fail, 1 veto, 2 loose, 3 medium, 4 tight
    quality = rng.random(n)
    cut_based = np.where(
        real, np.digitize(quality, [0.01, 0.02, 0.04, 0.12]), np.digitize(quality, [0.45, 0.7, 0.85, 0.95])
    )
    return _collect(
        "Electron",
        found,
        {
            "cutBased": cut_based.astype(np.int32),
            "pfRelIso03_all": _isolation(real, rng),
            "convVeto": rng.random(n) < np.where(real, 0.97, 0.6),
        },
        response,
        rng,
    )


def muons(
    prompt: NDArray[np.bool_], pt: Floats, eta: Floats, phi: Floats, response: Response, rng: np.random.Generator
) -> Leptons:
    """Muons: spT/pT = sqrt(0.02^2 + (0.1 pT/TeV)^2); `prompt` has shape (events,), the rest (events, 2)."""
    relative = np.hypot(0.02, 0.1 * pt / 1_000.0)
    found = _reconstruct("Muon", prompt, pt, eta, phi, relative, response, rng)
    n, real = found.pt.size, found.prompt
    quality = rng.random(n)
    return _collect(
        "Muon",
        found,
        {
            "looseId": quality < np.where(real, 0.99, 0.6),
            "mediumId": quality < np.where(real, 0.96, 0.25),
            "tightId": quality < np.where(real, 0.92, 0.12),
            "pfRelIso04_all": _isolation(real, rng),
        },
        response,
        rng,
    )


def jets(events: int, rng: np.random.Generator) -> Collection:
    """Poisson(5) jets per event, pT 15 GeV + Exp(25 GeV), in falling pT."""
    counts = rng.poisson(5.0, events)
    n = int(counts.sum())
    event = np.repeat(np.arange(events), counts)
    pt = truncate_mantissa(15.0 + rng.exponential(25.0, n), 10)
    order = np.lexsort((-pt, event))
    mass_share = rng.uniform(0.05, 0.2, n)
    members: dict[str, NDArray[Any]] = {
        "pt": pt[order],
        "eta": truncate_mantissa(np.clip(rng.standard_normal(n) * 1.9, -4.7, 4.7), 10),
        "phi": truncate_mantissa(rng.uniform(-np.pi, np.pi, n), 10),
        "mass": truncate_mantissa(pt[order] * mass_share, 10),
        "btagDeepFlavB": truncate_mantissa(rng.beta(0.3, 3.0, n), 10),
        "jetId": np.where(rng.random(n) < 0.97, 6, 0).astype(np.int32),
    }
    return Collection(counts.astype(np.int64), members)


def missing_momentum(events: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Missing transverse momentum, Gamma(1.8, 15 GeV), uniform in phi."""
    return {
        "MET_pt": truncate_mantissa(rng.gamma(1.8, 15.0, events), 10),
        "MET_phi": truncate_mantissa(rng.uniform(-np.pi, np.pi, events), 10),
    }


@dataclass(frozen=True)
class _Found:
    """Reconstructed leptons before sorting; `event` says whose they are."""

    events: int
    event: NDArray[np.int64]
    pt: Floats
    eta: Floats
    phi: Floats
    charge: NDArray[np.int32]
    prompt: NDArray[np.bool_]


def _reconstruct(
    flavour: str,
    prompt: NDArray[np.bool_],
    pt: Floats,
    eta: Floats,
    phi: Floats,
    relative_resolution: Floats,
    response: Response,
    rng: np.random.Generator,
) -> _Found:
    """Smeared leptons that pass efficiency and acceptance, and soft fakes."""
    events = prompt.size
    # A Gaussian in pT has no physical lower end; 5 % of the true value keeps it positive.
    measured = pt * np.maximum(1.0 + relative_resolution * rng.standard_normal((events, 2)), 0.05)
    seen = (rng.random((events, 2)) < RECONSTRUCTION_EFFICIENCY) & prompt[:, None]
    seen &= (np.abs(eta) < ETA_MAX[flavour]) & (measured > PT_MIN_GEV)
    fakes = rng.poisson(response.fakes_per_event, events)
    n_fakes = int(fakes.sum())
    index = np.arange(events)
    charge = np.broadcast_to(np.array([-1, 1], dtype=np.int32), (events, 2))
    return _Found(
        events,
        np.concatenate([np.repeat(index, 2)[seen.ravel()], np.repeat(index, fakes)]),
        np.concatenate([measured[seen], PT_MIN_GEV + rng.exponential(8.0, n_fakes)]),
        np.concatenate([eta[seen], rng.uniform(-ETA_MAX[flavour], ETA_MAX[flavour], n_fakes)]),
        np.concatenate([phi[seen], rng.uniform(-np.pi, np.pi, n_fakes)]),
        np.concatenate([charge[seen], rng.choice(np.array([-1, 1], dtype=np.int32), n_fakes)]),
        np.concatenate([np.ones(int(seen.sum()), dtype=np.bool_), np.zeros(n_fakes, dtype=np.bool_)]),
    )


def _isolation(prompt: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32]:
    return truncate_mantissa(rng.exponential(1.0, prompt.size) * np.where(prompt, 0.03, 0.4), 10)


def _collect(
    flavour: str, found: _Found, extra: dict[str, NDArray[Any]], response: Response, rng: np.random.Generator
) -> Leptons:
    """The collection in falling pT per event, and its trigger."""
    pt = truncate_mantissa(found.pt, 12)
    order = np.lexsort((-pt, found.event))
    members: dict[str, NDArray[Any]] = {
        "pt": pt,
        "eta": truncate_mantissa(found.eta, 12),
        "phi": truncate_mantissa(found.phi, 12),
        "mass": np.full(pt.size, MASS_GEV[flavour], dtype=np.float32),
        "charge": found.charge,
        "pdgId": (-PDG_ID[flavour] * found.charge).astype(np.int32),
        **extra,
        "genPartFlav": found.prompt.astype(np.uint8),
    }
    counts = np.bincount(found.event, minlength=found.events)
    firing = found.prompt & (found.pt > response.trigger_pt_gev)
    eligible = np.bincount(found.event[firing], minlength=found.events) >= response.trigger_leptons
    chance = np.where(eligible, response.trigger_efficiency, response.trigger_accidental)
    return Leptons(
        Collection(counts.astype(np.int64), {n: v[order] for n, v in members.items()}),
        rng.random(found.events) < chance,
    )
