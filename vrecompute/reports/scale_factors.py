"""Normalisation of simulated samples: cross-section x luminosity / sum of generator weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vrecompute.datasets.dataset import Sample
from vrecompute.reports.report import Events, FileSummary, RunSummary, SampleSummary
from vrecompute.results.result import Result
from vrecompute.results.scaling import Scale

__all__ = ["sample_summary", "scale", "scales_of", "sums_to_zero", "weight_warnings"]

_PB_PER_FB = 1e-3


def scale(
    sample: Sample, result: Result, files: Sequence[FileSummary], *, weighted: bool | None = True
) -> tuple[float | None, str]:
    """The factor that brings a sample's histograms to its luminosity, or None and the reason why there is none.

    `weighted` says whether the analysis reads the sample's weights, None where it does so in some files alone;
    histograms of one that does not hold numbers of events. Refused while files of the sample are missing: the sum
    of weights would be that of another sample.
    """
    if sample.is_data:
        return 1.0, ""
    if sample.cross_section_pb is None or sample.luminosity_ifb is None:
        return None, "the dataset gives no cross_section_pb and luminosity_ifb"
    if any(f.expected is None or f.seen != f.expected for f in files):
        return None, "events of the sample are missing, so its sum of weights is not known"
    if sample.weight is not None and weighted is None:
        return None, f"the analysis reads the weight {sample.weight!r} in some files of the sample and not in others"
    if weighted or sample.weight is None:
        total = sample.sum_of_weights if sample.sum_of_weights is not None else result.sum_of_weights
    elif sample.sum_of_weights is None:
        total = float(result.events)
    else:
        return None, f"the dataset gives its sum_of_weights, and the analysis does not read {sample.weight!r}"
    if total == 0:
        return None, "its sum of generator weights is 0" if result.events else "it holds no events"
    factor = sample.cross_section_pb * sample.luminosity_ifb / _PB_PER_FB / total
    if factor == 0 or not math.isfinite(factor):
        return None, (
            f"cross_section_pb {sample.cross_section_pb:g} times luminosity_ifb {sample.luminosity_ifb:g} over the sum "
            f"of weights {total:g} is too large or too small for a floating-point number; check them in the dataset"
        )
    return factor, ""


def scales_of(summary: RunSummary, samples: Sequence[Sample]) -> dict[str, Scale]:
    """The scale of each sample that a report tells of."""
    plain = {s.name for s in samples if s.is_data or s.weight is None}
    return {
        s.name: Scale(s.scale, s.unscaled_because or "its report names no scale", s.name in plain)
        for s in summary.samples
    }


def weight_warnings(sample: Sample, result: Result, *, weighted: bool | None = True) -> list[str]:
    """What a reader must know of the weights of a sample."""
    if sample.is_data or sample.weight is None or not result.events:
        return []
    name = f"sample {sample.name!r}"
    warnings = []
    if weighted is False:
        warnings.append(
            f"{name}: the analysis does not read the weight {sample.weight!r}; its histograms count events, and are "
            "not normalised by the sum of weights"
        )
    total = sample.sum_of_weights if sample.sum_of_weights is not None else result.sum_of_weights
    if total < 0:
        warnings.append(f"{name}: the sum of the weights {sample.weight!r} is negative ({total:g})")
    return warnings


def sums_to_zero(sample: Sample, result: Result) -> bool:
    """Whether a sample's weights leave nothing to normalise by, though it has events and no other sum is given."""
    weighted = sample.weight is not None and not sample.is_data and sample.sum_of_weights is None
    return weighted and result.events > 0 and result.sum_of_weights == 0


def sample_summary(
    sample: Sample, result: Result, files: Sequence[FileSummary], *, weighted: bool | None = True
) -> SampleSummary:
    """What a report says of one sample."""
    factor, reason = scale(sample, result, files, weighted=weighted)
    return SampleSummary(
        name=sample.name,
        is_data=sample.is_data,
        files=len(files),
        events=Events(sum(f.seen for f in files), sum(f.expected or 0 for f in files)),
        sum_of_weights=result.sum_of_weights,
        cross_section_pb=sample.cross_section_pb,
        luminosity_ifb=sample.luminosity_ifb,
        scale=factor,
        unscaled_because=reason,
    )
