"""Which spectrum is analysed, and with what it is compared, when a run has several samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vrecompute.dataset import Sample
from vrecompute.result import Result
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
    results: Mapping[str, Result], samples: Mapping[str, Sample], luminosity_ifb: float, completeness: float
) -> Combination:
    """Decide what is data and what is prediction, and normalise.

    With data among the samples their sum is analysed and the simulation is its prediction. Without,
    simulation is analysed: as it is where one sample stands alone, and otherwise normalised to a luminosity
    where every sample has a cross-section. `luminosity_ifb` is the user's; 0 takes that of the samples.
    """
    data = [name for name in results if samples[name].is_data]
    simulated = [name for name in results if not samples[name].is_data]
    luminosity = luminosity_ifb or _luminosity([samples[name] for name in data or simulated], bool(data))
    factors = {name: _factor(results[name], samples[name], luminosity, completeness) for name in simulated}
    lacking = [name for name, factor in factors.items() if factor is None]
    warnings = []
    if data:
        for name in lacking:
            warnings.append(f"{name}: left out of the prediction, it needs a cross-section and a luminosity")
        predicted = {name: factor for name, factor in factors.items() if factor is not None}
        return Combination(dict.fromkeys(data, 1.0), predicted, "data", luminosity, tuple(warnings))
    if len(simulated) == 1:
        return Combination({simulated[0]: 1.0}, {}, simulated[0], luminosity, ())
    if lacking:
        if len(lacking) < len(simulated) or luminosity:
            warnings.append(f"samples are added unweighted: {', '.join(lacking)} cannot be normalised")
        return Combination(dict.fromkeys(simulated, 1.0), {}, "all samples", luminosity, tuple(warnings))
    normalised = {name: factor for name, factor in factors.items() if factor is not None}
    return Combination(normalised, {}, "simulation", luminosity, ())


def _luminosity(samples: list[Sample], is_data: bool) -> float | None:
    """Data samples are different running periods: theirs add up. Simulation is normalised to one luminosity."""
    known = [s.luminosity_ifb for s in samples if s.luminosity_ifb]
    if not known or len(known) < len(samples):
        return None
    return sum(known) if is_data else known[0]


def _factor(result: Result, sample: Sample, luminosity_ifb: float | None, completeness: float) -> float | None:
    # A declared sum of weights is that of the whole sample, of which a partial run has seen a share.
    declared = sample.sum_of_weights * completeness if sample.sum_of_weights else None
    weights = declared or result.sum_of_weights
    if sample.cross_section_pb is None or not luminosity_ifb or weights <= 0:
        return None
    return sample.cross_section_pb * 1000.0 * luminosity_ifb / weights
