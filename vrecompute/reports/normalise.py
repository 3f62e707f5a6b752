"""Normalisation of simulated samples: cross-section x luminosity / sum of generator weights."""

from __future__ import annotations

from collections.abc import Sequence

from vrecompute.datasets.dataset import Sample
from vrecompute.reports.report import Events, FileSummary, SampleSummary
from vrecompute.results.result import Result

__all__ = ["sample_summary", "scale"]

_PB_PER_FB = 1e-3


def scale(sample: Sample, sum_of_weights: float, files: Sequence[FileSummary]) -> tuple[float | None, str]:
    """The factor that brings a sample's histograms to its luminosity, or None and the reason why there is none.

    Refused while files of the sample are missing: the sum of weights would be that of another sample.
    """
    if sample.is_data:
        return 1.0, ""
    if sample.cross_section_pb is None or sample.luminosity_ifb is None:
        return None, "the dataset gives no cross_section_pb and luminosity_ifb"
    if any(f.expected is None or f.seen != f.expected for f in files):
        return None, "events of the sample are missing, so its sum of weights is not known"
    total = sample.sum_of_weights if sample.sum_of_weights is not None else sum_of_weights
    if total == 0:
        return None, "its sum of generator weights is 0"
    return sample.cross_section_pb * sample.luminosity_ifb / _PB_PER_FB / total, ""


def sample_summary(sample: Sample, result: Result, files: Sequence[FileSummary]) -> SampleSummary:
    """What a report says of one sample."""
    factor, reason = scale(sample, result.sum_of_weights, files)
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
