"""Small dilepton results with known content, for the tests of finish and figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import boost_histogram as bh
import numpy as np

from vrecompute.analysis import Analysis
from vrecompute.datasets.dataset import Sample
from vrecompute.results.result import Result
from vrecompute_analyses.dilepton.background import PUBLISHED, model_for
from vrecompute_analyses.dilepton.edges import PUBLISHED_EDGES_GEV
from vrecompute_analyses.dilepton.finish_parameters import FINISH_PARAMETERS
from vrecompute_analyses.dilepton.response import signal_templates

EDGES = np.array(PUBLISHED_EDGES_GEV)


class OnlyFinish(Analysis):
    """An analysis that has nothing but the parameters of finish."""

    name = "only-finish"
    parameters = FINISH_PARAMETERS


@dataclass
class Context:
    """A run's context, as the framework would give it."""

    directory: Path
    samples: dict[str, Sample]
    scales: dict[str, float | None] = field(default_factory=dict)
    complete: bool = True
    completeness: float | None = 1.0
    completeness_text: str = "all events"


def shape(channel: str = "ee") -> np.ndarray:
    """The published background's share of each published bin."""
    expected = model_for(channel, EDGES).expected(PUBLISHED[channel].theta())
    return expected / expected.sum()


def spectrum_counts(rng, events: float, signal_events: float = 0.0, mass_gev: float = 1200.0) -> np.ndarray:
    """A Poisson sample of the published ee background, and of a narrow resonance."""
    signal = signal_templates("ee", np.array([mass_gev]), 0.0, EDGES)[0]
    return rng.poisson(events * shape() + signal_events * signal).astype(float)


def z_masses(rng, events: int, smear: float = 0.014) -> np.ndarray:
    """Masses of a Z peak at 91.1876 GeV on a falling continuum, smeared by a relative Gaussian."""
    mass = np.linspace(40, 200, 20001)
    line = 0.9 * mass**2 / ((mass**2 - 91.1876**2) ** 2 + 91.1876**2 * 2.4952**2) + 0.12 / mass**2
    cumulative = np.cumsum(mass * line * mass**-2.55)
    true = np.interp(rng.random(events), cumulative / cumulative[-1], mass)
    return true * (1 + smear * rng.normal(size=events))


def histogram(edges: np.ndarray, counts: np.ndarray, weight: float = 1.0) -> bh.Histogram:
    """A histogram as `process` makes them, of events that all have one weight."""
    made = bh.Histogram(bh.axis.StrCategory(["nominal"]), bh.axis.Variable(edges), storage=bh.storage.Weight())
    made.view().value[0], made.view().variance[0] = counts * weight, counts * weight**2
    return made


def result(
    rng, events: float = 20_000, signal_events: float = 0.0, z_events: int = 4000, weight: float = 1.0
) -> Result:
    """The ee part of a Result: a spectrum, a Z region and a cutflow."""
    edges = np.linspace(60, 120, 241)
    counts = spectrum_counts(rng, events, signal_events)
    z_counts = np.histogram(z_masses(rng, z_events), edges)[0].astype(float)
    return Result(
        histograms={"mass_ee": histogram(EDGES, counts, weight), "z_ee": histogram(edges, z_counts, weight)},
        cutflow={"ee": {"events": 1e6, "two_leptons": 5e4, "mass_window": float(counts.sum())}},
        events=1_000_000,
    )
