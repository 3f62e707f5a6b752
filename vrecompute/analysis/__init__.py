"""What a physicist writes: `Analysis`, its parameters, and functions mapped over events."""

from vrecompute.analysis.base import Analysis, Grid, Opening, Parameter, SourceView, load_function
from vrecompute.analysis.parameter import interval

__all__ = ["Analysis", "Grid", "Opening", "Parameter", "SourceView", "interval", "load_function"]
