"""What a physicist writes: `Analysis`, its parameters, and functions mapped over events."""

from vrecompute.analysis.base import Analysis, Grid, Opening, Parameter, SourceView, load_function

__all__ = ["Analysis", "Grid", "Opening", "Parameter", "SourceView", "load_function"]
