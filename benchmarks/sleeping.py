"""An analysis that only sleeps: what is left is the cost of carrying out a plan."""

from __future__ import annotations

import time
from typing import ClassVar

import boost_histogram as bh

from vrecompute.analysis import Analysis, Parameter
from vrecompute.datasets.columns import Columns
from vrecompute.results.result import Result


class Sleeping(Analysis):
    """Sleeps `seconds` in each chunk and returns a histogram of 100 bins with one entry per item."""

    name: ClassVar[str] = "sleeping"
    parameters: ClassVar[tuple[Parameter, ...]] = (Parameter("seconds", 0.02, "time that a chunk takes"),)

    def process(self, events: Columns) -> Result:
        """One filled histogram."""
        time.sleep(self["seconds"])
        histogram = bh.Histogram(bh.axis.Regular(100, 0.0, 1.0), storage=bh.storage.Weight())
        histogram.fill((events.flat("index") % 100 + 0.5) / 100.0)
        return Result(histograms={"item": histogram})
