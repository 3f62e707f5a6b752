"""`finish` of the dwarfs analysis: tables of backgrounds, limits, bandwidths and maps from the summed arrays."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vrecompute.analysis import Analysis
from vrecompute.errors import UsageError
from vrecompute.execution.finish import FinishContext
from vrecompute.kernels.numerics.score import best_bandwidths
from vrecompute.results.result import Result
from vrecompute_analyses.dwarfs.calibration import LEVELS, coverage
from vrecompute_analyses.dwarfs.likelihood import SCALINGS
from vrecompute_analyses.dwarfs.limits import CL, QUANTILES, Curve, Scan, limit_curve, stack, targets
from vrecompute_analyses.dwarfs.tables import BINS, Floats
from vrecompute_analyses.dwarfs.training import bandwidth_grid

__all__ = ["finish"]

# From here on a note says what a large TS with a fixed background means.
_TS_WORTH_A_NOTE = 4.0


def finish(results: Mapping[str, Result], analysis: Analysis, context: FinishContext) -> dict[str, Any]:
    """Products of the step that ran, also written as files to `context.directory`.

    predict: `background.csv`; limits: `limits.csv`, `expected.csv`, `notes.txt`; bandwidths: `bandwidths.csv`;
    map: one `map_*.fits` a bandwidth (needs the extra 'astro'); estimators: `estimators.csv`.
    """
    found = next(iter(results.values()))
    steps = {"predict": _predict, "limits": _limits, "bandwidths": _bandwidths, "map": _map, "estimators": _estimators}
    about = {
        "step": analysis["step"],
        "metric": analysis["metric"],
        "complete": context.complete,
        "completeness": context.completeness,
    }
    return {**about, **steps[analysis["step"]](found, analysis, context)}


def _members(result: Result, prefix: str) -> dict[str, Floats]:
    """The arrays named `prefix`/..., by what follows."""
    return {k.removeprefix(f"{prefix}/"): a.values for k, a in result.arrays.items() if k.startswith(f"{prefix}/")}


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV; numbers to their last digit, NaN as an empty field."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_field(value) for value in row] for row in rows)


def _field(value: object) -> object:
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else repr(float(value))
    return value


def _predict(result: Result, analysis: Analysis, context: FinishContext) -> dict[str, Any]:
    mean, error = _members(result, "ln_background"), _members(result, "ln_background_error")
    counts, position = _members(result, "counts"), _members(result, "position_deg")
    _write(
        context.directory / "background.csv",
        ("dwarf", "bin", "counts_observed", "ln_background", "ln_background_error"),
        ((name, k, int(counts[name][k]), mean[name][k], error[name][k]) for name in mean for k in range(BINS)),
    )
    s_deg, v = result.arrays["bandwidths"].values[0]
    dwarfs = {
        name: {
            "position_deg": position[name],
            "counts": counts[name],
            "ln_background": mean[name],
            "ln_background_error": error[name],
        }
        for name in mean
    }
    return {"bandwidths": {"s_deg": s_deg, "v": v}, "dwarfs": dwarfs}


def _bandwidths(result: Result, analysis: Analysis, context: FinishContext) -> dict[str, Any]:
    s, scores = result.arrays["s_deg"].values, result.arrays["score"].values
    v = bandwidth_grid(analysis["metric"])[1]
    _write(
        context.directory / "bandwidths.csv",
        ("s_deg", "v", "score"),
        ((s[i], v[k], scores[i, k]) for i in range(len(s)) for k in range(len(v))),
    )
    best_s, best_v = best_bandwidths(scores, s, v)
    at_edge = best_s in (s[0], s[-1]) or best_v in (v[0], v[-1])
    best = {"s_deg": best_s, "v": best_v, "score": float(np.nanmax(scores)), "at_edge": bool(at_edge)}
    return {"best": best, "s_deg": s, "v": v, "score": scores}


def _limits(result: Result, analysis: Analysis, context: FinishContext) -> dict[str, Any]:
    background = "fixed" if analysis["background"] == "fixed" else analysis["background_scaling"]
    scans = _scans(result, background)
    curves = {name: _curves(by_channel, scans[background], analysis) for name, by_channel in scans.items()}
    chosen = curves[background]
    # Beside the limits with the background asked for, those with each of the others.
    compared = [] if background == "fixed" else list(SCALINGS)
    _write(
        context.directory / "limits.csv",
        ("target", "channel", "mass_gev", "sigmav_cm3_s", "cl", "background", *map("sigmav_cm3_s_{}".format, compared)),
        (
            (target, channel, mass, curve.observed[i], CL, analysis["background"],
             *(_limit(curves.get(name, {}).get(channel, {}).get(target), mass) for name in compared))
            for channel, by_target in chosen.items()
            for target, curve in by_target.items()
            for i, mass in enumerate(curve.masses_gev)
        ),
    )  # fmt: skip
    _write(
        context.directory / "expected.csv",
        ("target", "channel", "mass_gev", *(f"sigmav_cm3_s_q{100 * q:g}" for q in QUANTILES), "background"),
        (
            (target, channel, mass, *curve.expected[:, i], analysis["background"])
            for channel, by_target in chosen.items()
            for target, curve in by_target.items()
            for i, mass in enumerate(curve.masses_gev)
        ),
    )
    notes = _notes(scans[background], chosen, analysis)
    lost = {name for name in compared for c in chosen if chosen[c].keys() - curves.get(name, {}).get(c, {}).keys()}
    if lost:
        notes.append(
            f"Limits of the {', '.join(sorted(lost))} scaling are missing where a background of one count or less is "
            "predicted in the first bin, whose logarithm it divides by."
        )
    (context.directory / "notes.txt").write_text("".join(f"{note}\n" for note in notes))
    return {
        "cl": CL,
        "background": analysis["background"],
        "background_scaling": None if background == "fixed" else background,
        "j_factor": analysis["j_factor"],
        "notes": notes,
        "curves": {
            channel: {
                name: {
                    "masses_gev": curve.masses_gev,
                    "observed_cm3_s": curve.observed,
                    "expected_cm3_s": curve.expected,
                    "ts": curve.ts,
                    "observed_cm3_s_by_scaling": {
                        scaling: [
                            _limit(curves.get(scaling, {}).get(channel, {}).get(name), mass)
                            for mass in curve.masses_gev
                        ]
                        for scaling in compared
                    },
                }
                for name, curve in by_target.items()
            }
            for channel, by_target in chosen.items()
        },
    }


def _scans(result: Result, asked: str) -> dict[str, dict[str, dict[str, Scan]]]:
    """Likelihoods by background, channel and dwarf; pseudo-experiments with the background that is asked for."""
    expected = _members(result, "expected")
    found: dict[str, dict[str, dict[str, Scan]]] = {}
    for key, rows in _members(result, "likelihood").items():
        background, channel, dwarf = key.split("/")
        toys = expected[f"{channel}/{dwarf}"].astype(np.float64)
        toys = toys if background == asked else toys[:, :0]
        scan = Scan(rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3:], toys)
        found.setdefault(background, {}).setdefault(channel, {})[dwarf] = scan
    return found


def _curves(
    scans: Mapping[str, Mapping[str, Scan]], asked: Mapping[str, Mapping[str, Scan]], analysis: Analysis
) -> dict[str, dict[str, Curve]]:
    """Limits by channel and target, of the targets all of whose dwarfs are there."""
    return {
        channel: {
            name: limit_curve(stack([by_dwarf[m] for m in members]))
            for name, members in targets(list(asked[channel]), _chosen(analysis)).items()
            if all(m in by_dwarf for m in members)
        }
        for channel, by_dwarf in scans.items()
    }


def _limit(curve: Curve | None, mass_gev: float) -> float:
    """The observed limit at a mass; NaN where there is none."""
    found = [] if curve is None else curve.observed[curve.masses_gev == mass_gev]
    return float(found[0]) if len(found) else float("nan")


def _chosen(analysis: Analysis) -> list[str]:
    return [name.strip() for name in analysis["stack"].split(",") if name.strip()]


def _notes(
    scans: Mapping[str, Mapping[str, Scan]], curves: Mapping[str, Mapping[str, Curve]], analysis: Analysis
) -> list[str]:
    """What a reader of the limits must know."""
    notes = []
    for channel, by_dwarf in scans.items():
        absent = [name for name in _chosen(analysis) if name not in by_dwarf]
        if absent:
            notes.append(f"{channel}: the stack is without {', '.join(absent)}, which the run does not hold.")
        masses = {len(scan.masses_gev) for scan in by_dwarf.values()}
        if len(masses) > 1:
            notes.append(f"{channel}: some dwarfs lack masses; stacks are given only where all of theirs are there.")
        tops = {name: float(curve.ts.max()) for name, curve in curves[channel].items() if len(curve.ts)}
        large = ", ".join(f"{name} {top:.1f}" for name, top in tops.items() if top >= _TS_WORTH_A_NOTE)
        if large and analysis["background"] == "fixed":
            notes.append(
                f"{channel}: TS reaches {large}. None of this is a signal: background=fixed takes the prediction for "
                "exact, while void regions scatter about theirs by more than Poisson counting. A dwarf in brighter "
                "surroundings than predicted pulls the cross-section up, and a stack adds these pulls: about 16 for "
                "all 25 dwarfs. Run with background=profiled, where the error of the prediction takes part."
            )
        elif large:
            notes.append(
                f"{channel}: TS reaches {large}, each at its best mass of many, and only the normalisation of a "
                "background is profiled, not its spectrum: no evidence of a signal."
            )
    return notes


def _map(result: Result, analysis: Analysis, context: FinishContext) -> dict[str, Any]:
    try:
        from astropy.table import Table
    except ImportError as error:
        raise UsageError("the map is written as FITS, which needs the extra 'astro'") from error
    maps = {}
    pixels, mean, error_ = (_members(result, n) for n in ("pixel", "ln_background", "ln_background_error"))
    for name, pixel in pixels.items():
        columns = {"PIXEL": pixel}
        for k in range(BINS):
            columns[f"LN_BACKGROUND_{k}"] = mean[name][:, k]
            columns[f"LN_BACKGROUND_ERROR_{k}"] = error_[name][:, k]
        table = Table(columns)
        table.meta |= {"PIXTYPE": "HEALPIX", "ORDERING": "NESTED", "NSIDE": analysis["nside"], "COORDSYS": "G"}
        table.meta |= {"INDXSCHM": "EXPLICIT", "OBJECT": "FULLSKY" if context.complete else "PARTIAL"}
        file = context.directory / f"map_{name}.fits"
        table.write(file, format="fits")
        maps[name] = {
            "file": file.name,
            "pixels": len(pixel),
            "pixels_without_void": int(np.isnan(mean[name][:, 0]).sum()),
        }
    return {"nside": analysis["nside"], "maps": maps}


def _estimators(result: Result, analysis: Analysis, context: FinishContext) -> dict[str, Any]:
    """Scores and coverage on held-out voids, and the estimator with the best score."""
    pits, scores = _members(result, "pit"), _members(result, "log_probability")
    facts = {
        name: {
            "voids": len(pit),
            "log_probability": scores[name].mean(axis=0),
            "coverage": {f"{100 * level:g}": coverage(pit, level) for level in LEVELS},
        }
        for name, pit in pits.items()
    }
    _write(
        context.directory / "estimators.csv",
        ("estimator", "bin", "voids", "log_probability", *(f"coverage_{100 * level:g}" for level in LEVELS)),
        (
            (name, k, fact["voids"], fact["log_probability"][k], *(c[k] for c in fact["coverage"].values()))
            for name, fact in facts.items()
            for k in range(BINS)
        ),
    )
    best = max(facts, key=lambda name: float(scores[name].mean()))
    return {"best": best, "estimators": facts}
