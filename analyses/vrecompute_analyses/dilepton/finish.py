"""`finish` of the dilepton analysis: Z peaks, background fits, bump scans and limits from the summed histograms."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vrecompute.analysis import Analysis
from vrecompute.datasets.dataset import Sample
from vrecompute.execution.finish import FinishContext
from vrecompute.results.result import Result
from vrecompute_analyses.dilepton.observed import Combination, combine
from vrecompute_analyses.dilepton.search import (
    BAND_NAMES,
    Normalisation,
    Settings,
    numbers,
    read_normalisation,
    search,
    skipped,
)
from vrecompute_analyses.dilepton.spectrum import Spectrum
from vrecompute_analyses.dilepton.zpeak import Response, ZPeakFit, fit_z_peak, peak_curves

__all__ = ["CHANNELS", "finish", "write_tables"]

CHANNELS = ("ee", "mumu")


def finish(result_by_sample: Mapping[str, Result], analysis: Analysis, context: FinishContext) -> dict[str, Any]:
    """The products of a run, as JSON-able values; their tables are also written as CSV to `context.directory`.

    `channels` holds for ee and mumu: events, z_peak, spectrum, background, background_published, bump_scan, limits
    (see `search`). What cannot be made is {"skipped": reason}; `warnings` names what a reader must know.
    Raises ParameterError for parameters that make no sense, UnreadableFile for a broken acceptance table.
    """
    values = analysis.values
    settings = Settings.from_values(values)
    if not result_by_sample:
        # A run whose every source failed still has a report to be written.
        return _products({}, {}, context, ["no sample has a result"], "nothing", [])
    luminosity_ifb = float(values.get("luminosity_ifb", 0.0))
    combination = combine(result_by_sample, context.samples, context.scales, luminosity_ifb)
    warnings = list(combination.warnings)
    normalisation = _normalisation(values, combination, context, warnings)
    injected = _injected_mass(values, [context.samples[name] for name in combination.observed])
    channels = {
        channel: _channel(channel, result_by_sample, combination, settings, normalisation, injected, values, warnings)
        for channel in CHANNELS
        if _wanted(channel, result_by_sample)
    }
    for channel, product in channels.items():
        if product["events_in_spectrum"] == 0 and product["events_in_z_histogram"] == 0:
            warnings.append(_empty(channel, result_by_sample))
    cutflow = {name: result.cutflow for name, result in result_by_sample.items()}
    tables = write_tables(channels, context.directory)
    return _products(channels, cutflow, context, warnings, combination.label, tables)


def _products(
    channels: Mapping[str, Any],
    cutflow: Mapping[str, Any],
    context: FinishContext,
    warnings: Sequence[str],
    label: str,
    tables: Sequence[Path],
) -> dict[str, Any]:
    return {
        "schema": 1,
        "analysed": label,
        "complete": context.complete,
        "completeness": context.completeness,
        "completeness_text": context.completeness_text,
        "warnings": list(warnings),
        "channels": dict(channels),
        "cutflow": {sample: {c: dict(cuts) for c, cuts in flow.items()} for sample, flow in cutflow.items()},
        "tables": [path.name for path in tables],
    }


def _wanted(channel: str, results: Mapping[str, Result]) -> bool:
    names = (f"mass_{channel}", f"z_{channel}")
    return any(name in result.histograms for result in results.values() for name in names)


def _channel(
    channel: str,
    results: Mapping[str, Result],
    combination: Combination,
    settings: Settings,
    normalisation: Normalisation | str,
    injected: float | None,
    values: Mapping[str, Any],
    warnings: list[str],
) -> dict[str, Any]:
    mass = combination.spectrum(f"mass_{channel}", results)
    near_z = combination.spectrum(f"z_{channel}", results)
    product: dict[str, Any] = {
        "events_in_spectrum": mass.total if mass is not None else 0.0,
        "events_in_z_histogram": near_z.total if near_z is not None else 0.0,
    }
    if near_z is None:
        product["z_peak"] = skipped("there is no histogram of the Z region")
    else:
        product["z_peak"] = _z_peak(near_z, settings, values.get("z_response", "gauss"))
    if mass is None:
        product["spectrum"] = skipped("there is no mass histogram")
        return product
    if np.any(mass.counts < 0):
        warnings.append(f"{channel}: {int(np.sum(mass.counts < 0))} mass bins with negative weights count as empty")
    product |= search(channel, mass, settings, normalisation, injected)
    predicted = combination.spectrum(f"mass_{channel}", results, predicted=True)
    if predicted is not None:
        product["prediction"] = _prediction(mass, predicted, settings)
    return product


def _prediction(data: Spectrum, predicted: Spectrum, settings: Settings) -> dict[str, Any]:
    """Data against simulation, in the bins of the fit; chi2 over bins with prediction > 5, with both variances."""
    data, predicted = data.window(*settings.fit_range_gev), predicted.window(*settings.fit_range_gev)
    used = predicted.counts > 5
    variance = predicted.counts[used] + predicted.variances[used]
    chi2 = float(np.sum((data.counts[used] - predicted.counts[used]) ** 2 / variance))
    return {
        "expected": numbers(predicted.counts),
        "uncertainties": numbers(np.sqrt(predicted.variances)),
        "events": predicted.total,
        "data_over_prediction": data.total / predicted.total if predicted.total > 0 else None,
        "chi2": chi2,
        "bins": int(used.sum()),
    }


def _z_peak(spectrum: Spectrum, settings: Settings, response: Response) -> dict[str, Any]:
    window = spectrum.window(*settings.z_window_gev)
    head = {"window_gev": list(settings.z_window_gev), "events": window.total, "response": response}
    if float(window.equivalent_counts.sum()) < max(settings.min_events_z, 1):
        low, high = settings.z_window_gev
        return head | skipped(f"fewer than {settings.min_events_z} events in {low:g}-{high:g} GeV")
    fit = fit_z_peak(window, response)
    total, background = peak_curves(fit, window.edges_gev)
    return head | {
        "edges_gev": numbers(window.edges_gev),
        "counts": numbers(window.counts),
        "uncertainties": numbers(np.sqrt(window.variances)),
        "expected": numbers(total * window.scale),
        "background": numbers(background * window.scale),
        **_z_values(fit, window.scale),
    }


def _z_values(fit: ZPeakFit, scale: float) -> dict[str, Any]:
    value, error = fit.free_width_gev if fit.free_width_gev is not None else (None, None)
    return {
        "mass_gev": fit.values["mass_gev"],
        "mass_uncertainty_gev": fit.errors["mass_gev"],
        "resolution_gev": fit.values["resolution_gev"],
        "resolution_uncertainty_gev": fit.errors["resolution_gev"],
        "width_gev": value,
        "width_uncertainty_gev": error,
        "signal_events": fit.values["signal"] * scale,
        "signal_events_uncertainty": fit.errors["signal"] * scale,
        "chi2": fit.chi2,
        "ndf": fit.ndf,
        "valid": fit.valid,
    }


def _normalisation(
    values: Mapping[str, Any], combination: Combination, context: FinishContext, warnings: list[str]
) -> Normalisation | str:
    """Acceptance and luminosity, or why there are no limits."""
    table = str(values.get("acceptance", ""))
    if not table:
        return "no acceptance table was given (parameter acceptance)"
    if not combination.luminosity_ifb:
        return "the luminosity is not known (parameter luminosity_ifb)"
    luminosity = combination.luminosity_ifb
    if not context.complete:
        if context.completeness is None:
            return "it is not known which share of the luminosity was seen"
        luminosity *= context.completeness
        warnings.append(f"limits: the luminosity is scaled to {luminosity:.4g} /fb, the share of the events seen")
    if luminosity <= 0:
        return "no event was seen"
    return read_normalisation(Path(table), luminosity, int(values.get("signal_spin", 1)))


def _injected_mass(values: Mapping[str, Any], samples: Sequence[Sample]) -> float | None:
    given = float(values.get("injected_mass_gev", 0.0))
    known = [float(s.metadata["zprime_mass_gev"]) for s in samples if s.metadata.get("zprime_mass_gev")]
    return given or (known[0] if known else None)


def _empty(channel: str, results: Mapping[str, Result]) -> str:
    """An empty selection, and the first cut that left nothing."""
    flow: dict[str, float] = {}
    for result in results.values():
        for cut, count in result.cutflow.get(channel, {}).items():
            flow[cut] = flow.get(cut, 0.0) + count
    first = next((cut for cut, count in flow.items() if count == 0), None)
    where = f"; nothing is left at {first!r}" if first else ""
    return f"{channel}: empty selection, no event in any histogram{where}"


def write_tables(channels: Mapping[str, Any], directory: Path) -> list[Path]:
    """CSV files of every spectrum with its fit, every scan and every set of limits; gives their paths."""
    written = []
    for channel, product in channels.items():
        if "expected" in product.get("background", {}):
            spectrum = product["spectrum"]
            edges = spectrum["edges_gev"]
            columns = [edges[:-1], edges[1:], spectrum["counts"], spectrum["uncertainties"]]
            rows = zip(*columns, product["background"]["expected"], strict=True)
            names = ("mlow_GeV", "mhigh_GeV", "n_observed", "n_uncertainty", "n_background")
            written.append(_write(directory / f"spectrum_{channel}.csv", names, rows))
        if "masses_gev" in product.get("bump_scan", {}):
            scan = product["bump_scan"]
            scan_rows = zip(scan["masses_gev"], scan["local_significance"], scan["signal_events"], strict=True)
            scan_names = ("mass_GeV", "local_significance_sigma", "n_signal")
            written.append(_write(directory / f"bump_scan_{channel}.csv", scan_names, scan_rows))
        if "curves" in product.get("limits", {}):
            limit_names = ["width_percent", "mass_GeV", "observed_fb", *(f"expected_{band}_fb" for band in BAND_NAMES)]
            written.append(
                _write(directory / f"limits_{channel}.csv", limit_names, _limit_rows(product["limits"]["curves"]))
            )
    return written


def _limit_rows(curves: Iterable[Mapping[str, Any]]) -> Iterable[tuple[Any, ...]]:
    for curve in curves:
        bands = [curve["expected_fb"][band] for band in BAND_NAMES]
        for row in zip(curve["masses_gev"], curve["observed_fb"], *bands, strict=True):
            yield (curve["width_percent"], *row)


def _write(path: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for row in rows:
            writer.writerow(["" if value is None else f"{value:.8g}" for value in row])
    return path
