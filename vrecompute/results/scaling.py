"""`Scale`: what multiplies a sample's histograms to the luminosity, and histograms that are multiplied so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import boost_histogram as bh
import numpy as np

__all__ = ["Scale", "scaled_histogram"]

_MEANS = (bh.storage.Mean, bh.storage.WeightedMean)


@dataclass(frozen=True)
class Scale:
    """The factor of one sample, cross-section x luminosity / sum of weights, and 1 of data; None `because` of that.

    `of_events`: whether it is that of numbers of events too, as the sample has no weights.
    """

    factor: float | None
    because: str = ""
    of_events: bool = False


def scaled_histogram(histogram: bh.Histogram[Any], factor: float) -> bh.Histogram[Any]:
    """The histogram of events that weigh `factor` times as much, with their statistical errors.

    Storages that count get Weight storage, so that the errors stay those of the counts; a mean stays what it is and
    gets other weights.
    """
    if factor == 1.0:
        return histogram.copy()
    storage: Any = histogram.storage_type
    made: bh.Histogram[Any]
    view: Any
    if storage is bh.storage.Weight:
        made = histogram.copy()
        view = made.view(flow=True)
        view["value"] *= factor
        view["variance"] *= factor**2
        return made
    if storage in _MEANS:
        return _with_other_weights(histogram, factor)
    variances = histogram.variances(flow=True)
    if variances is None:  # filled with weights, and their squares were not kept
        made = bh.Histogram(*histogram.axes, storage=bh.storage.Double())
        made.view(flow=True)[...] = histogram.values(flow=True) * factor
        return made
    made = bh.Histogram(*histogram.axes, storage=bh.storage.Weight())
    view = made.view(flow=True)
    view["value"] = histogram.values(flow=True) * factor
    view["variance"] = variances * factor**2
    return made


def _with_other_weights(histogram: bh.Histogram[Any], factor: float) -> bh.Histogram[Any]:
    made: bh.Histogram[Any] = bh.Histogram(*histogram.axes, storage=bh.storage.WeightedMean())
    old: Any = np.asarray(histogram.view(flow=True))
    view: Any = made.view(flow=True)
    weighted = "sum_of_weights" in (old.dtype.names or ())
    counts = old["sum_of_weights"] if weighted else old["count"]
    squares = old["sum_of_weights_squared"] if weighted else old["count"]
    deltas = old[next(name for name in old.dtype.names or () if "delta" in name)]
    view["value"] = old["value"]
    view["sum_of_weights"] = counts * factor
    view["sum_of_weights_squared"] = squares * factor**2
    view["_sum_of_weighted_deltas_squared"] = deltas * factor
    return made
