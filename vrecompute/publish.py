"""What `--out DIR` holds: report.json, report.html, result/, products/ and figures/ of a run that has ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vrecompute.analysis import Analysis, load_function
from vrecompute.errors import StoreError, StoreFull
from vrecompute.execution.finish import FinishContext
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.outcome import Outcome
from vrecompute.execution.skim import save_tables
from vrecompute.reports import html, report
from vrecompute.reports.report import RunSummary
from vrecompute.results.result import Result
from vrecompute.results.results import Results
from vrecompute.stores.base import Store

__all__ = ["publish"]


def publish(store: Store, manifest: Manifest, analysis: Analysis, outcome: Outcome, directory: Path) -> None:
    """Write everything about an ended run into `directory`; raises StoreError where it cannot be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        results = _results(store, outcome, directory)
        tables: dict[str, set[str]] = {}
        for sample, result in results.items():
            for table in result.summaries:
                tables.setdefault(table, set()).add(sample)
        save_tables(store, manifest, tables, directory / "result" / "tables")
        _products(store, outcome, directory)
        summary, figures = _figures(manifest, analysis, outcome, results, directory)
        (directory / "report.json").write_text(report.dumps(summary), encoding="utf-8")
        pictures = [html.read_figure(p) for p in figures if p.suffix.lower() in html.MEDIA_TYPES]
        page = html.page(summary, results, pictures, outcome.products)
        (directory / "report.html").write_text(page, encoding="utf-8")
    except OSError as error:
        kind = StoreFull if error.errno == 28 else StoreError
        raise kind(f"{directory}: cannot write the outputs of run {manifest.run}: {error.strerror or error}; "
                   f"`vrecompute runs result {manifest.run} --out DIR` writes them elsewhere") from error  # fmt: skip


def _results(store: Store, outcome: Outcome, directory: Path) -> Mapping[str, Result]:
    if outcome.result is None:
        return {}
    data = store.get(outcome.result)
    folder = directory / "result"
    folder.mkdir(exist_ok=True)
    (folder / "result.zip").write_bytes(data)
    results = Results.from_bytes(data)
    if any(result.histograms for result in results.values()):
        results.to_root(folder / "histograms.root")
    return results


def _products(store: Store, outcome: Outcome, directory: Path) -> None:
    if not outcome.products and not outcome.product_files:
        return
    folder = directory / "products"
    folder.mkdir(exist_ok=True)
    (folder / "products.json").write_text(json.dumps(outcome.products, indent=2) + "\n", encoding="utf-8")
    for name, stored in outcome.product_files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(store.get(stored))


def _figures(
    manifest: Manifest, analysis: Analysis, outcome: Outcome, results: Mapping[str, Result], directory: Path
) -> tuple[RunSummary, list[Path]]:
    """The figures' files, and the summary, with a warning where they could not be drawn: no number depends on them."""
    summary = outcome.summary
    if analysis.figures_function is None or not outcome.products:
        return summary, []
    folder = directory / "figures"
    folder.mkdir(exist_ok=True)
    context = FinishContext.of(folder, manifest, summary)
    try:
        drawn: list[Any] = load_function(analysis.figures_function)(outcome.products, results, context)
    except ImportError as error:
        warning = f"no figures: {error.name} is missing (pip install 'vrecompute[plots]')"
    except Exception as error:
        warning = f"no figures: {analysis.figures_function} raised {type(error).__name__}: {error}"
    else:
        return summary, [Path(p) for p in drawn]
    return replace(summary, warnings=(*summary.warnings, warning)), []
