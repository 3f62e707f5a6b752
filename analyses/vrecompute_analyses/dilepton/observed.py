"""Which spectrum is analysed, and with what it is compared, when a run has several samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vrecompute.datasets.dataset import Sample
from vrecompute.results.result import Result
from vrecompute_analyses.dilepton.spectrum import Spectrum

__all__ = ["Combination", "combine"]


@dataclass(frozen=True)
class Combination:
    """`observed` samples are analysed, each with a factor; `predicted` ones are what data are compared with."""

    observed: Mapping[str, float]
    predicted: Mapping[str, float]
    label: str
    luminosity_ifb: float | None
    warnings: tuple[str, ...]

    def spectrum(self, histogram: str, results: Mapping[str, Result], predicted: bool = False) -> Spectrum | None:
        """The sum of one histogram over the samples, with their factors; None where no sample has it."""
        total: Spectrum | None = None
        for name, factor in (self.predicted if predicted else self.observed).items():
            if histogram in results[name].histograms:
                part = Spectrum.from_histogram(results[name].histograms[histogram]) * factor
                total = part if total is None else total + part
        return total


def combine(
    names: Iterable[str], samples: Mapping[str, Sample], scales: Mapping[str, float | None], luminosity_ifb: float
) -> Combination:
    """Decide which of the named samples is data and which is prediction.

    With data among them their sum is analysed and the simulation, normalised by `scales`, is its prediction.
    Without, simulation is analysed: as it is where one sample stands alone, and otherwise normalised, where every
    sample has a scale. `luminosity_ifb` is the user's; 0 takes that of the samples.
    """
    names = list(names)
    data = [name for name in names if samples[name].is_data]
    simulated = [name for name in names if not samples[name].is_data]
    luminosity = luminosity_ifb or _luminosity([samples[name] for name in data or simulated], bool(data))
    factors = {name: scales.get(name) for name in simulated}
    lacking = [name for name, factor in factors.items() if factor is None]
    known = {name: factor for name, factor in factors.items() if factor is not None}
    if data:
        warnings = tuple(f"{name}: left out of the prediction, it is not normalised" for name in lacking)
        return Combination(dict.fromkeys(data, 1.0), known, "data", luminosity, warnings)
    if len(simulated) == 1:
        return Combination({simulated[0]: 1.0}, {}, simulated[0], luminosity, ())
    if not lacking:
        return Combination(known, {}, "simulation", luminosity, ())
    warning = f"samples are added without normalisation: {', '.join(lacking)} cannot be normalised"
    return Combination(dict.fromkeys(simulated, 1.0), {}, "all samples", luminosity, (warning,))


def _luminosity(samples: list[Sample], is_data: bool) -> float | None:
    """Data samples are different running periods: theirs add up. Simulation is normalised to one luminosity."""
    known = [s.luminosity_ifb for s in samples if s.luminosity_ifb]
    if not known or len(known) < len(samples):
        return None
    return sum(known) if is_data else known[0]
