"""`RunOutputs`: what a run that has ended gave: its results, tables, products, report and errors."""

from __future__ import annotations

import contextlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vrecompute.analysis import Analysis
from vrecompute.errors import AbsentObject, Cancelled, DamagedObject, Incomplete, UsageError
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.outcome import Outcome, lost
from vrecompute.execution.runlog import outcomes
from vrecompute.execution.skim import piece_path, table_pieces
from vrecompute.publish import publish
from vrecompute.reports.report import RunSummary
from vrecompute.reports.scale_factors import scales_of
from vrecompute.results.result import Result
from vrecompute.results.results import Results
from vrecompute.runplots import Figures
from vrecompute.statistics.export import export_model
from vrecompute.statistics.model import Channels, model_of
from vrecompute.stores.apart import check_apart
from vrecompute.stores.base import Store
from vrecompute.stores.objects import read_content
from vrecompute.wording import grouped

if TYPE_CHECKING:
    from vrecompute.plots.drawn import StackPlot

__all__ = ["RunOutputs"]


class RunOutputs(ABC):
    """Methods that wait for the end of a run and give what it made."""

    store: Store
    manifest: Manifest
    # How this process' Runner ended, for when the store could not be told.
    _told: Outcome | None

    @property
    @abstractmethod
    def id(self) -> str:
        """The run's name in its store."""

    @abstractmethod
    def analysis(self) -> Analysis:
        """The run's analysis."""

    @abstractmethod
    def _ended(self, timeout_s: float | None, *, shows: bool = False) -> Outcome: ...

    def result(
        self, *, allow_partial: bool = False, timeout_s: float | None = None, show_progress: bool = True
    ) -> Results:
        """The Result of each sample, when the run has ended. Raises Incomplete unless it is complete, or a test.

        `allow_partial` also gives what a partial or failed run has; its report says what is missing. While it waits, a
        notebook and a terminal show how far the run is, unless not to `show_progress`. Cancelled, which is Incomplete,
        where its user ended the run.
        """
        outcome = self._ended(timeout_s, shows=show_progress)
        if outcome.result is not None and (allow_partial or outcome.summary.status in {"complete", "test"}):
            with self._kept(outcome):
                read = Results.from_bytes(read_content(self.store, outcome.result))
            return Results(read, read.incomplete, scales_of(outcome.summary, self.manifest.dataset.samples))
        why = grouped(("" if f.chunk else "file", f.where, f"{f.kind}: {f.reason}") for f in outcome.failures)
        reasons = "; ".join(why[:3]) or "; ".join(outcome.summary.warnings[:3])
        more = f" and {len(why) - 3} more" if len(why) > 3 else ""
        hint = "; result(allow_partial=True) gives what there is" if outcome.result and not allow_partial else ""
        if any(f.detail and f.start is not None for f in outcome.failures):
            hint += "; run.debug() computes a failed chunk again, here and in the debugger"
        details = "".join(f"\n\n{f.detail.rstrip()}" for f in outcome.failures[:1] if f.detail)
        if outcome.summary.status == "cancelled":
            raise Cancelled(f"run {self.id} was cancelled: {outcome.summary.completeness_text} were seen{hint}")
        raise Incomplete(f"run {self.id} ended {outcome.summary.status}: {reasons}{more}{hint}{details}")

    def tables(self, name: str) -> list[Path]:
        """Parquet files with the rows of the skim table `name`, by sample, source and event, when the run has ended.

        `pyarrow.dataset.dataset(run.tables("pairs"))` reads them as one. Raises UsageError where the analysis
        wrote no such table, Incomplete where the run is not complete, and DamagedObject where rows are not those it
        ended with.
        """
        outcome = self._ended(None)
        tables = table_pieces(self.store, self.manifest, self.result(), outcome.chunks, outcome.origins)
        if name not in tables:
            raise UsageError(f"run {self.id} has no table {name!r} (it has: {', '.join(tables) or 'none'})")
        return [piece_path(self.store, piece) for piece in tables[name]]

    def table(self, name: str) -> Any:
        """The rows of the skim table `name` as one `pyarrow.Table`, in memory; raises as `tables` does."""
        try:
            from pyarrow import dataset
        except ImportError as error:
            raise UsageError("pyarrow is not installed: pip install 'vrecompute[tables]'") from error
        return dataset.dataset(self.tables(name)).to_table()

    def plot(self, name: str, *, allow_partial: bool = False, normalised: bool = True, **options: Any) -> StackPlot:
        """The histogram `name` as a figure: what is expected, stacked, with its uncertainties, data and their ratio.

        Each sample is normalised as `Results.scaled` does; not `normalised` it is drawn as it was filled. `options` are
        those of `PlotOptions` (`signals`, `blind`, `labels`, `log` ...), in place of what the analysis says in
        `plot_options`. A notebook shows what comes back; `.save("mass.png")` writes it, `.stack` has its numbers.

        Raises KeyError where there is no such histogram, UsageError where a sample cannot be normalised, options mean
        nothing or matplotlib is not installed, and Incomplete as `result` does.
        """
        results = self.result(allow_partial=allow_partial)
        figures = Figures.of(self.manifest, self.report(), self.analysis).changed(options)
        return figures.plot(results.scaled() if normalised else results, name)

    def export(
        self,
        kind: Literal["pyhf", "cabinetry"],
        path: Path | str | None = None,
        *,
        channels: Channels = None,
        poi: str = "mu",
        asimov: bool = False,
        allow_partial: bool = False,
        **options: Any,
    ) -> dict[str, Any]:
        """Histograms and variations as a statistical model: a HistFactory workspace, or a cabinetry configuration.

        "pyhf" gives the workspace, and writes it as JSON where there is a `path`. "cabinetry" gives the configuration,
        and writes it with a ROOT file of the templates into the folder `path`. `channels` are names of histograms that
        share no event, or a mapping of names to these; `poi` is the parameter that multiplies the signals; `asimov`
        takes what is expected for what was observed. `options` are those of `plot`: `signals`, `systematics`,
        `luminosity_uncertainty`, `rebin`, `select`, `blind`. Bins and variations that a fit may stumble over are
        warnings (UserWarning).

        Raises UsageError that names the channel, sample and bins that cannot be fitted, or where `path` lies inside the
        store, and Incomplete as `result`.
        """
        target = None if path is None else Path(path).absolute()  # the analysis may go to another folder
        if target is not None:
            check_apart(target, self.store)
        figures = Figures.of(self.manifest, self.report(), self.analysis).changed(options)
        results = self.result(allow_partial=allow_partial).scaled()
        data = {name: figures.data(name) for result in results.values() for name in result.histograms}
        model = model_of(results, data, channels, figures.options, poi=poi, asimov=asimov)
        exported = export_model(kind, model, self.manifest.analysis, target)
        for warning in model.warnings:
            warnings.warn(warning, UserWarning, stacklevel=2)
        return exported

    def products(self, *, timeout_s: float | None = None) -> Mapping[str, Any]:
        """What the analysis' `finish` made of the result: numbers of fits and limits."""
        return self._ended(timeout_s).products

    def report(self, *, timeout_s: float | None = None) -> RunSummary:
        """What was done and what is missing, when the run has ended."""
        return self._ended(timeout_s).summary

    def tracebacks(self) -> list[str]:
        """Of errors that code of the analysis raised, by any Runner; each once, after what failed and why."""
        ended, _ = outcomes(self.store, self.id)
        told = [e.outcome for e in ended] or ([self._told] if self._told else [])
        kept = (f"{f}\n\n{f.detail}" for outcome in told for f in outcome.failures if f.detail)
        return list(dict.fromkeys(kept))

    def debug(self, failure: int = 0) -> Result:
        """Compute a failed chunk again in this process, in the debugger where it fails; `q` ends that.

        `failure` numbers those failures of `report()` that are of a chunk. The debugger starts at the last line of
        your own code, with all of its variables. The Result where the chunk does not fail here. Raises UsageError
        where there is no such failure, BadInput where this machine cannot read the chunk, and what the code raised.
        """
        from vrecompute.debugging import debug_chunk

        return debug_chunk(self.store, self.manifest, self.analysis(), self._ended(None).failures, failure)

    def save(self, directory: Path | str) -> Path:
        """Write report.json, report.html, result/, products/ and figures/ into `directory`, and give it back.

        Figures that could not be drawn are warnings (UserWarning). Raises UsageError where `directory` holds files of
        others, or lies inside the store.
        """
        target = Path(directory).absolute()  # the analysis may go to another folder
        known = self.report().warnings
        for warning in self.save_quietly(target).warnings:
            if warning not in known:
                warnings.warn(warning, UserWarning, stacklevel=2)
        return target

    def save_quietly(self, directory: Path) -> RunSummary:
        """As `save`, and gives the report that is written there, which has a warning of each figure that lacks."""
        outcome = self._ended(None)
        with self._kept(outcome):
            return publish(self.store, self.manifest, self.analysis, outcome, directory)

    @contextlib.contextmanager
    def _kept(self, outcome: Outcome) -> Iterator[None]:
        """What is read there is what the run ended with; DamagedObject with the way out where the store lost it."""
        try:
            yield
        except (AbsentObject, DamagedObject) as error:
            if not lost(self.store, outcome):
                raise
            raise DamagedObject(
                f"{error}; `vrecompute runs attach {self.id}` makes what run {self.id} ended with again, from chunks "
                "that are still there"
            ) from error
