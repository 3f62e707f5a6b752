"""`Analysis`: what a physicist writes: declared columns, parameters, `process`; `finish` and `figures` elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar

from vrecompute.analysis.code import Code
from vrecompute.analysis.codedigest import code_of
from vrecompute.analysis.family import imported, scope_of
from vrecompute.analysis.parameter import Parameter
from vrecompute.datasets.columns import Columns, OptionalColumn
from vrecompute.datasets.dataset import Sample
from vrecompute.datasets.facts import checked_facts
from vrecompute.errors import ParameterError, UsageError
from vrecompute.nearest import hint, nearest
from vrecompute.plots.options import PlotOptions
from vrecompute.results.result import Result

__all__ = ["Analysis", "Grid", "Opening", "Parameter", "SourceView", "load_function"]


@dataclass(frozen=True)
class SourceView:
    """What `Analysis.columns` may look at: the sample, and the columns a source really has (name -> type)."""

    sample: Sample
    available: Mapping[str, str]
    tree: str = ""
    path: str = ""


@dataclass(frozen=True)
class Grid:
    """A source with no file behind it: `size` items (sky pixels, mass points), numbered from 0.

    `description` is data-only and part of the identity of every chunk: two grids with different
    descriptions are never taken for the same work. `cost_per_item` is relative and only used to
    cut the grid into chunks of similar size; `chunk_items` fixes the cut.
    """

    name: str
    size: int
    chunk_items: int
    description: Mapping[str, Any]


@dataclass(frozen=True)
class Opening:
    """What an analysis makes of a directory it opens itself: tables as resources, and its grid."""

    resources: Mapping[str, Path]
    grids: Sequence[Grid]


class Analysis:
    """Base class of analyses: subclass it, declare, and write `process`.

    `process` must be pure: the same columns and parameters give the same Result bytes, wherever it
    runs. It is called in worker threads, one chunk a thread. `finish(results, analysis, context)` and
    `figures(products, results, context)` are functions beside the class, or of modules that `finish_function` and
    `figures_function` name ("package.module:function"): an edited fit or plot recomputes no chunk.
    """

    name: ClassVar[str] = ""
    version: ClassVar[str] = "1"
    title: ClassVar[str] = ""
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    # Distributions whose versions may change the numbers, besides numpy, numba, awkward and uproot.
    dependencies: ClassVar[tuple[str, ...]] = ()
    finish_function: ClassVar[str | None] = None
    figures_function: ClassVar[str | None] = None
    # How `run.plot` and the page of a run draw its histograms: signals, labels, what of the data is blinded.
    plot_options: ClassVar[PlotOptions] = PlotOptions()
    # Of the declared columns, those of momenta, energies and masses: `process` gets them in GeV, also of a sample with
    # `unit: MeV`. `reads_unit` is True where `process` looks at `events.sample.unit` itself.
    momenta: ClassVar[tuple[str, ...]] = ()
    reads_unit: ClassVar[bool] = False
    # What `process` or `variations` reads of a sample or source besides `is_data`, `unit`, `weight` and `metadata`: of
    # "name", "cross_section_pb", "luminosity_ifb", "sum_of_weights" (of `events.sample`) and "source" (`events.source`,
    # the address). Where one of them changes, chunks are computed anew; without a word here it cannot be read.
    reads_facts: ClassVar[tuple[str, ...]] = ()
    # Columns of run and luminosity section, for samples with a list of certified ones: the first pair that is there.
    sections: ClassVar[tuple[tuple[str, str], ...]] = (
        ("run", "luminosityBlock"),
        ("EventInfoAuxDyn.runNumber", "EventInfoAuxDyn.lumiBlock"),
        ("EventInfoAuxDyn:runNumber", "EventInfoAuxDyn:lumiBlock"),
        ("runNumber", "lumiBlock"),
        ("Run", "LumiSection"),
    )
    # True where a dataset is a directory that the analysis reads itself (`open_directory`).
    opens_directory: ClassVar[bool] = False
    # On a worker: what its modules did to libraries when they were imported.
    effects: tuple[FunctionType, ...] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.reads_facts = checked_facts(cls.__qualname__, cls.reads_facts)
        if not isinstance(cls.plot_options, PlotOptions):
            raise UsageError(f"{cls.__qualname__}.plot_options is {cls.plot_options!r}; write PlotOptions(...)")
        for name, value in vars(cls).items():
            if (meant := _meant(name, value)) is not None:
                raise UsageError(f"{cls.__qualname__}.{name} means nothing to a run: {meant}")

    def __init__(self, /, **given: Any) -> None:
        known = {p.name: p for p in self.parameters}
        for name in given:
            if name not in known:
                names = ", ".join(known) or "none"
                meant = hint(name, known)
                raise ParameterError(f"analysis {self.name!r} has no parameter {name!r}{meant} (it has: {names})")
        self.values: Mapping[str, Any] = {
            # None is a value only where it is the default, as in a manifest that is read again
            n: p.default if given.get(n, p.default) is p.default else p.parse(given[n])
            for n, p in known.items()
        }

    def __getitem__(self, parameter: str) -> Any:
        return self.values[parameter]

    def columns(self, source: SourceView) -> Sequence[str | OptionalColumn]:
        """The columns `process` reads from this source; raise MissingColumn where the source cannot serve.

        `process` gets these and no other. What files may lack is declared as an OptionalColumn, never chosen by what
        this one file has: files of one sample are selected alike. A sample's weight counts as used where its column
        is declared: histograms of other analyses are normalised by the number of events.
        """
        raise NotImplementedError(f"{type(self).__name__} declares no columns")

    def variations(self, sample: Sample) -> Sequence[str]:
        """Names of the systematic variations for this sample, the nominal one first."""
        return ("nominal",)

    def resources(self) -> Mapping[str, Path]:
        """Files that `process` reads besides events, by name; their sha256 is part of every key.

        A relative path begins in the folder of the analysis' file; in the working directory where it names nothing
        there, and in a notebook.
        """
        return {}

    def needs(self) -> Mapping[str, str]:
        """Modules besides its own imports that a run with these parameters uses, with what pip installs them by.

        A run whose client lacks one is refused before it starts: {"astropy": "vrecompute[astro]"}.
        """
        return {}

    def open_directory(self, path: Path) -> Opening:
        """Only where `opens_directory`: the resources and grids of a directory."""
        raise NotImplementedError(f"{type(self).__name__} opens no directory")

    def process(self, events: Columns) -> Result:
        """The Result of one chunk."""
        raise NotImplementedError(f"{type(self).__name__} has no process")

    def rehearse(self) -> None:
        """Compile what `process` will need, by calling it or its kernels with a few made-up events.

        `vrecompute warm-cache` calls it with default parameters. Nothing to do without compiled kernels.
        """

    def code(self, *, looks: bool = True) -> Code:
        """All that `process` can reach, digested as it is now: see `vrecompute.analysis.codedigest`.

        `looks`: whether files that it reads are looked for, which a comparison of digests does without.
        """
        declared = type(self).resources is not Analysis.resources or self.opens_directory
        return code_of(self, declared=declared, effects=self.effects, looks=looks)

    def process_parameters(self) -> dict[str, Any]:
        """The parameters that belong to the key of a part, by name."""
        return {p.name: self.values[p.name] for p in self.parameters if p.stage == "process"}


_OF_ITS_OWN = ("finish", "figures")


def _meant(name: str, value: Any) -> str | None:
    """What an attribute of a class was probably meant to be, where a run would overlook it."""
    if name.startswith("_") or hasattr(Analysis, name):
        return None
    if name in _OF_ITS_OWN:
        return (
            f"write the function beside the class, outside of it; or in another module, and "
            f'{name}_function = "MODULE:FUNCTION" in the class'
        )
    settings = [n for n in vars(Analysis) if not n.startswith("_") and not callable(getattr(Analysis, n))]
    close = None if callable(value) or isinstance(value, property) else nearest(name, settings, cutoff=0.85)
    return f"did you mean {close!r}? Another name is needed where not" if close else None


def load_function(reference: str, analysis: Analysis) -> Callable[..., Any]:
    """The function named by "package.module:function", as the module of the analysis would import it."""
    module, _, name = reference.partition(":")
    found: Callable[..., Any] = getattr(imported(module, scope_of(analysis)), name)
    return found
