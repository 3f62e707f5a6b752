"""`figures` of the dwarfs analysis: limits with expected bands, residuals, bandwidth scores and sky maps."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from vrecompute.execution.finish import FinishContext
from vrecompute.results.result import Result
from vrecompute_analyses import plots
from vrecompute_analyses.dwarfs.calibration import LEVELS, coverage
from vrecompute_analyses.dwarfs.tables import EDGES_GEV, Floats

__all__ = ["figures"]

_CHANNEL = {"ee": r"$e^+e^-$", "mumu": r"$\mu^+\mu^-$", "tautau": r"$\tau^+\tau^-$", "bb": r"$b\bar{b}$",
            "cc": r"$c\bar{c}$", "tt": r"$t\bar{t}$", "qq": r"$q\bar{q}$", "WW": r"$W^+W^-$", "ZZ": r"$ZZ$",
            "gg": r"$gg$", "hh": r"$hh$"}  # fmt: skip
_ENERGY = [f"{a:g}-{b:g} GeV" for a, b in pairwise(EDGES_GEV)]


def figures(products: Mapping[str, Any], results: Mapping[str, Result], context: FinishContext) -> list[Path]:
    """Draw what the step made; paths of the PNG and PDF files, written to `context.directory`."""
    written: list[Path] = []
    state = (context.complete, context.completeness)
    with plots.style():
        if products["step"] == "limits":
            for channel, curves in products["curves"].items():
                written += _limits(channel, curves, products, state, context.directory)
        elif products["step"] == "predict":
            written += _residuals(products, state, context.directory)
        elif products["step"] == "bandwidths":
            written += _scores(products, state, context.directory)
        elif products["step"] == "estimators":
            written += _coverage(products, next(iter(results.values())), state, context.directory)
        else:
            found = next(iter(results.values()))
            for name in products["maps"]:
                pixel, mean = (found.arrays[f"{n}/{name}"].values for n in ("pixel", "ln_background"))
                written += _map(name, int(products["nside"]), pixel, mean[:, 0], state, context.directory)
    return written


def _array(values: Any) -> Floats:
    """Numbers of a product, where None stands for there being none."""
    flat = [np.nan if v is None else v for v in np.asarray(values, dtype=object).ravel()]
    return np.array(flat, dtype=float).reshape(np.shape(values))


def _limits(
    channel: str,
    curves: Mapping[str, Any],
    products: Mapping[str, Any],
    state: tuple[bool, float | None],
    directory: Path,
) -> list[Path]:
    figure, (axis,) = plots.panels()
    stacked = [name for name in curves if "+" in name or name == "all"]
    main = stacked[0] if stacked else next(iter(curves))
    single = [name for name in curves if name not in stacked and name != main]
    for i, name in enumerate(single):
        label = "single dwarfs" if i == 0 else None
        axis.plot(*_line(curves[name]), color="#999999", linewidth=0.6, zorder=1, label=label)
    mass = _array(curves[main]["masses_gev"])
    low2, low1, middle, high1, high2 = _array(curves[main]["expected_cm3_s"])
    if np.isfinite(middle).any():
        axis.fill_between(mass, low2, high2, color=plots.BAND_TWO, linewidth=0, zorder=2, label="expected, 95 %")
        axis.fill_between(mass, low1, high1, color=plots.BAND_ONE, linewidth=0, zorder=3, label="expected, 68 %")
        axis.plot(mass, middle, "--", color="black", linewidth=1.2, zorder=4, label="expected, median")
    count = main.count("+") + 1
    axis.plot(*_line(curves[main]), color="black", zorder=5, label=f"observed, {count} stacked" if count > 1 else main)
    for scaling, limits in curves[main]["observed_cm3_s_by_scaling"].items():
        if scaling != products["background_scaling"]:
            axis.plot(mass, _array(limits), ":", color="black", zorder=5, label=f"observed, {scaling} scaling")
    if "all" in curves and main != "all":
        axis.plot(*_line(curves["all"]), color=plots.BACKGROUND, zorder=4, label="observed, all stacked")
    axis.set_yscale("log")
    axis.set_xscale("log")
    axis.set_xlim(*_padded(mass))
    drawn = np.concatenate([_array(c["observed_cm3_s"]) for c in curves.values()])
    axis.set_ylim(np.nanmin([1e-27, *(0.5 * drawn)]), np.nanmax([1e-22, *(2 * drawn)]))
    axis.set_xlabel("mass [GeV]")
    axis.set_ylabel(r"95 % limit on $\langle\sigma v\rangle$ [cm$^3$/s]")
    axis.legend(loc="upper left", ncols=2, frameon=True, framealpha=0.9, edgecolor="none").set_zorder(6)
    top = max((float(np.max(c["ts"])) for c in curves.values() if len(c["ts"])), default=0.0)
    if products["background"] == "fixed" and top > 4:
        text = f"background fixed: TS up to {top:.0f} is its unmodelled error, not a signal"
        axis.text(0.98, 0.03, text, transform=axis.transAxes, ha="right", va="bottom", size="small", color="#c00000")
    scaling = products["background_scaling"]
    how = f"{products['background']} background" + (f" ({scaling})" if scaling else "")
    plots.header(axis, "Dwarf galaxies", f"{_CHANNEL.get(channel, channel)}, {how}", *state)
    return plots.save(figure, directory, f"limits_{channel}")


def _line(curve: Mapping[str, Any]) -> tuple[Floats, Floats]:
    return _array(curve["masses_gev"]), _array(curve["observed_cm3_s"])


def _padded(mass: Floats) -> tuple[float, float]:
    """The range of the masses, opened where there is one only."""
    low, high = float(mass.min()), float(mass.max())
    return (low, high) if high > low else (0.5 * low, 2 * high)


def _residuals(products: Mapping[str, Any], state: tuple[bool, float | None], directory: Path) -> list[Path]:
    dwarfs = products["dwarfs"]
    counts = np.array([d["counts"] for d in dwarfs.values()], dtype=float)
    mean = np.array([_array(d["ln_background"]) for d in dwarfs.values()])
    error = np.array([_array(d["ln_background_error"]) for d in dwarfs.values()])
    with np.errstate(divide="ignore"):
        # The spread of void counts about the prediction holds their Poisson fluctuation already.
        pull = np.where(counts > 0, (np.log(np.maximum(counts, 1)) - mean) / error, np.nan)
    figure = Figure(figsize=(10.0, 5.6))
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    figure.subplots_adjust(left=0.08, right=0.97, top=0.9, bottom=0.28)
    axis.axhspan(-2, 2, color="#eeeeee", zorder=0)
    axis.axhspan(-1, 1, color="#dddddd", zorder=0)
    axis.axhline(0, color="black", linewidth=0.8)
    for k, label in enumerate(_ENERGY):
        x = np.arange(len(dwarfs)) + 0.12 * (k - 2.5)
        axis.plot(x, pull[:, k], "o", markersize=4, label=label)
    axis.set_xticks(range(len(dwarfs)), list(dwarfs), rotation=60, ha="right", size="small")
    axis.set_ylabel(r"($\ln n - \ln B$) / error")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlim(-0.7, len(dwarfs) - 0.3)
    span = float(np.nanmax(np.abs(pull), initial=3.0)) + 0.5
    axis.set_ylim(-span, span + 1.2)
    axis.legend(loc="upper center", ncols=6, fontsize="x-small", handletextpad=0.1, columnspacing=0.8)
    widths = products["bandwidths"]
    plots.header(axis, "Predicted backgrounds", f"s = {widths['s_deg']:.3g}°, v = {widths['v']:.2g}", *state)
    return plots.save(figure, directory, "residuals")


def _scores(products: Mapping[str, Any], state: tuple[bool, float | None], directory: Path) -> list[Path]:
    s, v, score = (_array(products[n]) for n in ("s_deg", "v", "score"))
    best = products["best"]
    drop = best["score"] - score
    figure, (axis,) = plots.panels()
    levels = [0, 10, 30, 100, 300, 1000, 3000, 10000]
    norm = BoundaryNorm(levels, 256, extend="max")
    filled = axis.contourf(s, v, drop.T, levels=levels, cmap="viridis_r", norm=norm, extend="max")
    figure.subplots_adjust(left=0.14)
    bar = figure.colorbar(filled, ax=axis, pad=0.02, ticks=levels, format="%d")
    bar.set_label("log-likelihood below the best")
    axis.plot(best["s_deg"], best["v"], "o", color=plots.SIGNAL, label=f"best: {best['s_deg']:.3g}°, {best['v']:.3g}")
    axis.set_yscale("log")
    axis.set_yticks([0.05, 0.1, 0.2, 0.3, 0.5], ["0.05", "0.1", "0.2", "0.3", "0.5"])
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("s [deg]")
    axis.set_ylabel("v [ln counts]")
    axis.legend(loc="upper right", frameon=True)
    plots.header(axis, "Leave-one-out score", products["metric"], *state)
    return plots.save(figure, directory, "bandwidths")


def _map(
    name: str, nside: int, pixel: Any, ln_background: Floats, state: tuple[bool, float | None], directory: Path
) -> list[Path]:
    from astropy_healpix.healpy import ang2pix

    sky = np.full(12 * nside * nside, np.nan)
    sky[pixel] = ln_background
    x, y = np.linspace(-np.pi, np.pi, 721), np.linspace(-np.pi / 2, np.pi / 2, 361)
    centre_x, centre_y = 0.5 * (x[1:] + x[:-1]), 0.5 * (y[1:] + y[:-1])
    lon, lat = np.meshgrid(np.degrees(centre_x), np.degrees(centre_y))
    # Galactic longitude grows to the left, as on the sky.
    image = np.exp(sky[ang2pix(nside, np.mod(-lon, 360), lat, nest=True, lonlat=True)])
    figure = Figure(figsize=(8.5, 5.6))
    FigureCanvasAgg(figure)
    axis = figure.add_axes((0.04, 0.2, 0.92, 0.68), projection="mollweide")
    axis.set_facecolor("#bbbbbb")
    drawn = axis.pcolormesh(x, y, np.ma.masked_invalid(image), cmap="inferno", norm="log", rasterized=True)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(False)
    bar = figure.colorbar(drawn, cax=figure.add_axes((0.2, 0.15, 0.6, 0.03)), orientation="horizontal")
    bar.set_label(f"predicted counts, {_ENERGY[0]} (grey: no void near)")
    plots.header(axis, "Predicted background", f"s = {float(name.removesuffix('_deg')):.3g}°, Galactic", *state)
    return plots.save(figure, directory, f"map_{name}")


def _coverage(
    products: Mapping[str, Any], result: Result, state: tuple[bool, float | None], directory: Path
) -> list[Path]:
    figure, (axis, below) = plots.panels((2.0, 1.2))
    figure.subplots_adjust(left=0.15)
    nominal = np.linspace(0.0, 1.0, 101)
    below.axhspan(-2, 2, color="#eeeeee", zorder=0)
    axis.plot([0, 100], [0, 100], color="black", linewidth=0.8)
    for name, facts in products["estimators"].items():
        pit = result.arrays[f"pit/{name}"].values
        seen = np.array([coverage(pit, level).mean() for level in nominal])
        score = np.mean(_array(facts["log_probability"]))
        label = f"{name}, score {score:.3f}" + (" (best)" if name == products["best"] else "")
        axis.plot(100 * nominal, 100 * seen, label=label)
        below.plot(100 * nominal, 100 * (seen - nominal))
    for level in LEVELS:
        below.axvline(100 * level, color="#888888", linewidth=0.8, linestyle=":")
    axis.set_ylabel("covered [%]")
    axis.legend(loc="upper left", title="held-out voids")
    below.set_ylabel("difference [%]")
    below.set_ylim(-4, 4)
    below.set_xlabel("nominal interval [%]")
    plots.header(axis, "Calibration", "held-out sky blocks", *state)
    return plots.save(figure, directory, "coverage")
