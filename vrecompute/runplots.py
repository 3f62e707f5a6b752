"""`Figures`: a run's histograms drawn: those that its user asks for, and those of its page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from vrecompute.analysis import Analysis
from vrecompute.errors import StoreError, UsageError
from vrecompute.execution.manifest import Manifest
from vrecompute.plots.options import PlotOptions
from vrecompute.plots.stack import stack_of
from vrecompute.reports.report import RunSummary
from vrecompute.results.result import Result
from vrecompute.results.results import Results
from vrecompute.results.scaling import Scale

if TYPE_CHECKING:
    from vrecompute.plots.drawn import StackPlot

__all__ = ["Figures"]

# A page has at most so many stacks; `run.plot` draws any.
_MOST_STACKS = 12


@dataclass(frozen=True)
class Figures:
    """Draws histograms of one run: `options` and `title` are what its analysis says, as far as its code is here."""

    manifest: Manifest
    summary: RunSummary
    options: PlotOptions = field(default_factory=PlotOptions)
    title: str = ""

    @classmethod
    def of(cls, manifest: Manifest, summary: RunSummary, analysis: Callable[[], Analysis]) -> Figures:
        """With what the analysis says; with defaults where its code cannot be had, or is not trusted."""
        try:
            said = analysis()
        except (UsageError, StoreError):
            return cls(manifest, summary, title=manifest.analysis)
        return cls(manifest, summary, said.plot_options, said.title or said.name)

    def changed(self, given: Mapping[str, Any]) -> Figures:
        """The same with other options; UsageError for one that there is not."""
        return replace(self, options=self.options.changed(given))

    def data(self, histogram: str) -> list[str]:
        """Samples that are drawn as data; one that is declared neither data nor simulation, where data are blinded."""
        blind = self.options.blind_of(histogram) is not False
        return [s.name for s in self.manifest.dataset.samples if s.is_data or (blind and s.is_data is None)]

    def plot(self, results: Mapping[str, Result], histogram: str) -> StackPlot:
        """The figure of one histogram of results, which are normalised already."""
        from vrecompute.plots.drawn import Caption, draw_stack

        stack = stack_of(results, self.data(histogram), histogram, self.options)
        luminosities = {s.luminosity_ifb for s in self.manifest.dataset.samples if s.luminosity_ifb is not None}
        caption = Caption(
            title=self.title,
            luminosity_ifb=next(iter(luminosities)) if len(luminosities) == 1 else None,
            completeness=self.summary.completeness_text,
            complete=self.summary.status == "complete",
        )
        return draw_stack(stack, self.options, caption)

    def of_page(self, results: Mapping[str, Result]) -> dict[str, StackPlot]:
        """The stacks of the run's page by histogram, where there are several samples, and matplotlib is installed.

        Samples that cannot be normalised leave nothing to be stacked: the page says of each why.
        """
        scales = {s.name: s.scale for s in self.summary.samples}
        if len(results) < 2 or any(scales.get(s) is None for s in results):
            return {}
        if any(find_spec(library) is None for library in ("matplotlib", "mplhep", "scipy")):
            return {}
        scaled = Results(results, scales={name: Scale(scales[name]) for name in results}).scaled()
        drawn: dict[str, StackPlot] = {}
        for name in dict.fromkeys(n for result in results.values() for n in result.histograms):
            if len(drawn) == _MOST_STACKS:
                break
            try:
                drawn[name] = self.plot(scaled, name)
            except UsageError:
                continue  # of several axes, or of categories that nobody chose: it is drawn small, or counted
        return drawn

    def shown(self, results: Mapping[str, Result]) -> tuple[dict[str, Result], list[str]]:
        """Results without histograms of data that are blinded, and the names of these."""
        kept, hidden = {}, set()
        for sample, result in results.items():
            out = {n for n in result.histograms if self.options.blind_of(n) is not False and sample in self.data(n)}
            hidden |= out
            kept[sample] = replace(result, histograms={n: h for n, h in result.histograms.items() if n not in out})
        return kept, sorted(hidden)
