"""The compute bridge of a Virtual Research Environment: `Client()` takes an analysis to wherever there are cores."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vrecompute.analysis import Analysis, Grid, Opening, Parameter, SourceView
    from vrecompute.client import Client
    from vrecompute.datasets.columns import Column, Columns, OptionalColumn
    from vrecompute.datasets.dataset import Dataset, Sample, Source
    from vrecompute.plots.options import PlotOptions
    from vrecompute.results.result import Array, Result
    from vrecompute.results.results import Results
    from vrecompute.run import Run
    from vrecompute.sites.model import Site

__all__ = [
    "Analysis",
    "Array",
    "Client",
    "Column",
    "Columns",
    "Dataset",
    "Grid",
    "Opening",
    "OptionalColumn",
    "Parameter",
    "PlotOptions",
    "Result",
    "Results",
    "Run",
    "Sample",
    "Site",
    "Source",
    "SourceView",
]

_HOMES = {
    "analysis": ("Analysis", "Grid", "Opening", "Parameter", "SourceView"),
    "client": ("Client",),
    "datasets.columns": ("Column", "Columns", "OptionalColumn"),
    "datasets.dataset": ("Dataset", "Sample", "Source"),
    "plots.options": ("PlotOptions",),
    "results.result": ("Array", "Result"),
    "results.results": ("Results",),
    "run": ("Run",),
    "sites.model": ("Site",),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used, so that `import vrecompute` stays fast."""
    if name in _MODULES:
        return getattr(import_module(f"vrecompute.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'vrecompute' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
