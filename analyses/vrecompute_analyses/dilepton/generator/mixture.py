"""Which processes an event sample holds, and the events of any range of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute_analyses.dilepton.generator import detector, physics
from vrecompute_analyses.dilepton.generator.events import Collection, EventBatch, truncate_mantissa
from vrecompute_analyses.dilepton.generator.filler import FILLER, fill
from vrecompute_analyses.dilepton.generator.physics import SignalSpec

__all__ = ["BLOCK_EVENTS", "MIXTURES", "PROCESSES", "EventSource", "Mixture"]

# Events are drawn in blocks of this many, each from its own seed: the content of an event depends on the
# seed and its number alone, never on how many files or clusters the sample is cut into.
BLOCK_EVENTS = 10_000
Floats = NDArray[np.float64]
Decays = tuple[Floats, Floats, Floats]
LUMINOSITY_BLOCK_EVENTS = 1_000
PROCESSES = ("multijet", "drell_yan", "drell_yan_high_mass", "zprime")
MULTIJET, DRELL_YAN, HIGH_MASS, ZPRIME = range(4)


@dataclass(frozen=True)
class Mixture:
    """Shares of the processes among all events (multijet is the rest), and the response they meet."""

    drell_yan: float
    high_mass: float
    response: detector.Response
    # Whether true pairs outside the acceptance are drawn again, as in samples made for one analysis.
    generator_filter: bool = False
    # Relative spread of the generator weights around 1, and the share of negative ones.
    weight_spread: float = 0.0
    negative_weights: float = 0.0
    filler: bool = False


MIXTURES = {
    # The high-mass share is far above nature's, with weight 1: 400 000 events then fit a background and show a Z'.
    "search": Mixture(drell_yan=0.55, high_mass=0.35, response=detector.Response()),
    # A dilepton skim: generator filter, dilepton triggers (35 % ee, 35 % mumu), 1.35 electrons and muons per event.
    # These rates move every ratio between peers: how many events fail early is how much each can leave out.
    "benchmark": Mixture(
        drell_yan=0.96,
        high_mass=0.03,
        response=detector.Response(
            fakes_per_event=0.46,
            trigger_efficiency=0.88,
            trigger_leptons=2,
            trigger_pt_gev=10.0,
            trigger_accidental=0.0,
        ),
        generator_filter=True,
        weight_spread=0.1,
        negative_weights=0.05,
        filler=True,
    ),
}


class EventSource:
    """The events of one seed: `events(start, stop)` gives any range, always the same."""

    def __init__(self, seed: int, mixture: Mixture, signal: SignalSpec | None) -> None:
        self.seed = seed
        self.mixture = mixture
        self.signal = signal
        self._last: tuple[int, EventBatch] | None = None

    def events(self, start: int, stop: int) -> EventBatch:
        """Events [start, stop), numbered from 0."""
        parts = []
        for index in range(start // BLOCK_EVENTS, -(-stop // BLOCK_EVENTS)):
            offset = index * BLOCK_EVENTS
            block = self._block(index)
            parts.append(block.sliced(max(start - offset, 0), min(stop - offset, BLOCK_EVENTS)))
        return EventBatch.joined(parts)

    def _block(self, index: int) -> EventBatch:
        # Small clusters ask for the same block many times in a row.
        if self._last is None or self._last[0] != index:
            # The same child that SeedSequence(seed).spawn(index + 1)[index] gives.
            child = np.random.SeedSequence(self.seed, spawn_key=(index,))
            rng = np.random.Generator(np.random.PCG64(child))
            self._last = (index, _generate_block(index, self.mixture, self.signal, rng))
        return self._last[1]


def _generate_block(index: int, mixture: Mixture, signal: SignalSpec | None, rng: np.random.Generator) -> EventBatch:
    n = BLOCK_EVENTS
    process = _choose_process(n, mixture, signal, rng)
    uniform = rng.random(n)
    mass_gev = np.full(n, physics.Z_MASS_GEV)
    tables = {DRELL_YAN: physics.drell_yan(), HIGH_MASS: physics.high_mass()}
    if signal is not None:
        tables[ZPRIME] = physics.resonance(signal)
    for code, table in tables.items():
        chosen = process == code
        mass_gev[chosen] = table.sample(uniform[chosen])
    has_pair = process != MULTIJET
    is_electron = rng.random(n) < 0.5
    pt, eta, phi = physics.decay(mass_gev, rng)
    if mixture.generator_filter:
        pt, eta, phi = _filtered(mass_gev, pt, eta, phi, rng)

    response = mixture.response
    electrons = detector.electrons(has_pair & is_electron, pt, eta, phi, response, rng)
    muons = detector.muons(has_pair & ~is_electron, pt, eta, phi, response, rng)
    number = index * n + np.arange(n)
    scalars: dict[str, NDArray[Any]] = {
        "run": np.ones(n, dtype=np.uint32),
        "luminosityBlock": (number // LUMINOSITY_BLOCK_EVENTS + 1).astype(np.uint32),
        "event": (number + 1).astype(np.uint64),
        "genWeight": _weights(n, mixture, rng),
        "genProcess": process,
        "genDileptonMass": truncate_mantissa(np.where(has_pair, mass_gev, 0.0), 12),
        "genDileptonPdgId": np.where(has_pair, np.where(is_electron, 11, 13), 0).astype(np.int32),
        **detector.missing_momentum(n, rng),
        "PV_npvs": rng.poisson(30.0, n).astype(np.int32),
        "HLT_Ele32_WPTight_Gsf": electrons.fired,
        "HLT_IsoMu24": muons.fired,
    }
    collections = {"Electron": electrons.collection, "Muon": muons.collection, "Jet": detector.jets(n, rng)}
    if mixture.filler:
        scalars |= fill(FILLER[""], n, rng)
        for name, c in collections.items():
            collections[name] = Collection(c.counts, {**c.members, **fill(FILLER[name], int(c.counts.sum()), rng)})
    return EventBatch(scalars, collections)


def _filtered(mass_gev: Floats, pt: Floats, eta: Floats, phi: Floats, rng: np.random.Generator) -> Decays:
    """Decays with both leptons within |eta| < 2.5 and above 15 GeV; the last few stay outside after 20 draws."""
    for _ in range(20):
        outside = np.flatnonzero(np.any((np.abs(eta) > 2.5) | (pt < 15.0), axis=1))
        if not outside.size:
            break
        pt[outside], eta[outside], phi[outside] = physics.decay(mass_gev[outside], rng)
    return pt, eta, phi


def _choose_process(n: int, mixture: Mixture, signal: SignalSpec | None, rng: np.random.Generator) -> NDArray[np.int32]:
    zprime = signal.fraction if signal is not None else 0.0
    edges = np.cumsum([zprime, mixture.drell_yan, mixture.high_mass]) / max(
        1.0, zprime + mixture.drell_yan + mixture.high_mass
    )
    code = np.array([ZPRIME, DRELL_YAN, HIGH_MASS, MULTIJET], dtype=np.int32)
    return code[np.searchsorted(edges, rng.random(n), side="right")]


def _weights(n: int, mixture: Mixture, rng: np.random.Generator) -> NDArray[np.float32]:
    if mixture.weight_spread == 0.0:
        return np.ones(n, dtype=np.float32)
    size = 1.0 + mixture.weight_spread * rng.standard_normal(n)
    sign = np.where(rng.random(n) < mixture.negative_weights, -1.0, 1.0)
    return truncate_mantissa(sign * size, 10)
