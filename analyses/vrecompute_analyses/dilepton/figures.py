"""`figures` of the dilepton analysis: spectra, Z peaks, bump scans, limits and cutflows from its products."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from vrecompute.execution.finish import FinishContext
from vrecompute.results.result import Result
from vrecompute_analyses import plots
from vrecompute_analyses.dilepton.search import BAND_NAMES
from vrecompute_analyses.likelihood import Floats

__all__ = ["draw", "figures"]

_PLATE = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}  # behind text that a line may cross
_PAIR = {"ee": r"$ee$", "mumu": r"$\mu\mu$"}
_MASS = {"ee": r"$m_{ee}$ [GeV]", "mumu": r"$m_{\mu\mu}$ [GeV]"}
# A fluctuation below this is marked in the scan only. From the second on the background of the fit with a signal
# is drawn: one that was fitted to the signal as well describes nothing.
_MARK_FROM_SIGMA, _SIGNAL_FROM_SIGMA = 3.0, 5.0


def figures(products: Mapping[str, Any], results: Mapping[str, Result], context: FinishContext) -> list[Path]:
    """Draw every product that exists; paths of the PNG and PDF files, written to `context.directory`."""
    return draw(products, context.directory)


def draw(products: Mapping[str, Any], directory: Path) -> list[Path]:
    """The same from products alone, such as those of published spectra."""
    written: list[Path] = []
    with plots.style():
        for channel, product in products["channels"].items():
            state = (bool(products["complete"]), products["completeness"])
            if "expected" in product.get("background", {}):
                written += _spectrum(channel, product, products["analysed"], state, directory)
            if "expected" in product.get("z_peak", {}):
                written += _z_peak(channel, product["z_peak"], products["analysed"], state, directory)
            if "masses_gev" in product.get("bump_scan", {}):
                written += _bump_scan(channel, product["bump_scan"], products["analysed"], state, directory)
            if "curves" in product.get("limits", {}):
                written += _limits(channel, product["limits"], products["analysed"], state, directory)
        if any(cuts for flow in products.get("cutflow", {}).values() for cuts in flow.values()):
            written += _cutflow(products, directory)
    return written


def _points(label: str) -> str:
    return "data" if label in {"data", "published spectra"} else f"{label}, analysed as data"


def _array(values: list[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _spectrum(
    channel: str, product: Mapping[str, Any], label: str, state: tuple[bool, float | None], directory: Path
) -> list[Path]:
    edges, counts = _array(product["spectrum"]["edges_gev"]), _array(product["spectrum"]["counts"])
    background = _array(product["background"]["expected"])
    maximum = product["bump_scan"].get("maximum")
    figure, (top, pull_panel, scan_panel) = plots.panels((3.2, 1.0, 1.0), (7.2, 7.4))
    plots.data_points(top, edges, counts, _array(product["spectrum"]["uncertainties"]), _points(label))
    centres = np.sqrt(edges[1:] * edges[:-1])
    fit, name = product["background"], "background fit"
    if maximum is not None and maximum["local_significance"] >= _SIGNAL_FROM_SIGMA:
        background, fit, name = _array(maximum["background"]), maximum, "background of the fit with signal"
    label_of_fit = rf"{name}, $\chi^2$/bins = {fit['chi2']:.1f}/{fit['bins']}"
    top.plot(centres, background, color=plots.BACKGROUND, zorder=4, label=label_of_fit)
    if "prediction" in product:
        top.stairs(_array(product["prediction"]["expected"]), edges, color=plots.PREDICTION, lw=1.3, label="simulation")
    marked = maximum is not None and maximum["local_significance"] >= _MARK_FROM_SIGMA
    if maximum is not None and marked:
        with_signal = _array(maximum["background"]) + _array(maximum["signal"])
        visible = _array(maximum["signal"]) > 0.02 * _array(maximum["background"])
        top.stairs(
            np.where(visible, with_signal, np.nan), edges, baseline=None, color=plots.SIGNAL, lw=1.6, zorder=6,
            label=f"with a signal at {maximum['mass_gev']:.0f} GeV",
        )  # fmt: skip
        for axis in (top, pull_panel, scan_panel):
            axis.axvspan(*maximum["bin_gev"], color=plots.SIGNAL, alpha=0.15, lw=0)
    top.set_yscale("log")
    top.set_ylim(0.3, max(10.0, 6 * float(np.max(counts))))
    top.set_ylabel("Events / bin")
    top.legend(loc="upper right")
    plots.header(top, f"Dilepton {_PAIR[channel]}", label, *state)
    _pulls(pull_panel, edges, counts, background)
    _scan_strip(scan_panel, product["bump_scan"])
    last = edges[min(len(edges) - 1, int(np.flatnonzero(counts > 0)[-1]) + 8)]
    plots.mass_axis(scan_panel, float(edges[0]), float(last), _MASS[channel])
    figure.align_ylabels([top, pull_panel, scan_panel])
    return plots.save(figure, directory, f"spectrum_{channel}")


def _pulls(axis: Any, edges: Floats, counts: Floats, expected: Floats) -> None:
    """Signed roots of each bin's deviance: Gaussian pulls that stay meaningful where few events are expected."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log_term = np.where(counts > 0, counts * np.log(counts / expected), 0.0)
    pull = np.sign(counts - expected) * np.sqrt(np.maximum(2 * (expected - counts + log_term), 0.0))
    # An empty bin where none is expected says nothing.
    pull = np.where((counts == 0) & (expected < 0.5), 0.0, pull)
    axis.stairs(pull, edges, fill=True, color=plots.BACKGROUND, alpha=0.75)
    axis.axhline(0, color="black", lw=0.8)
    reach = max(3.2, 1.15 * float(np.max(np.abs(pull))))
    axis.set_ylim(-reach, reach)
    axis.yaxis.set_major_locator(MaxNLocator(5, integer=True, symmetric=True))
    axis.set_ylabel("Pull")


def _scan_strip(axis: Any, scan: Mapping[str, Any]) -> None:
    """Local significance below the spectrum it belongs to."""
    if "masses_gev" in scan:
        significance = _array(scan["local_significance"])
        axis.plot(_array(scan["masses_gev"]), significance, color="black", lw=1.2)
        reach = max(3.2, 1.15 * float(np.nanmax(np.abs(significance))))
        axis.set_ylim(-reach, reach)
    axis.axhline(0, color="black", lw=0.8)
    axis.yaxis.set_major_locator(MaxNLocator(5, integer=True, symmetric=True))
    axis.set_ylabel(r"Local $\sigma$")


def _z_peak(
    channel: str, fit: Mapping[str, Any], label: str, state: tuple[bool, float | None], directory: Path
) -> list[Path]:
    edges, counts, expected = _array(fit["edges_gev"]), _array(fit["counts"]), _array(fit["expected"])
    centres = 0.5 * (edges[1:] + edges[:-1])
    figure, (top, pull_panel) = plots.panels((3.2, 1.0), (7.2, 6.4))
    plots.data_points(top, edges, counts, _array(fit["uncertainties"]), _points(label))
    top.plot(centres, expected, color=plots.SIGNAL, zorder=4, label="Z peak + continuum")
    top.plot(centres, _array(fit["background"]), color=plots.BACKGROUND, ls="--", label="continuum")
    lines = [
        rf"$m_Z$ = {fit['mass_gev']:.3f} ± {fit['mass_uncertainty_gev']:.3f} GeV",
        rf"resolution = {fit['resolution_gev']:.2f} ± {fit['resolution_uncertainty_gev']:.2f} GeV",
        rf"$\chi^2$/ndf = {fit['chi2']:.1f}/{fit['ndf']}",
    ]
    if fit["width_gev"] is not None:
        lines.insert(1, rf"$\Gamma_Z$ (if free) = {fit['width_gev']:.2f} ± {fit['width_uncertainty_gev']:.2f} GeV")
    top.text(0.035, 0.95, "\n".join(lines), transform=top.transAxes, va="top", size="small", linespacing=1.6)
    top.set_ylim(0, 1.25 * float(np.max(counts + np.sqrt(counts))))
    top.set_ylabel(f"Events / {edges[1] - edges[0]:g} GeV")
    top.legend(loc="upper right")
    plots.header(top, f"Z peak {_PAIR[channel]}", label, *state)
    _pulls(pull_panel, edges, counts, expected)
    pull_panel.set_xlim(float(edges[0]), float(edges[-1]))
    pull_panel.set_xlabel(_MASS[channel])
    figure.align_ylabels([top, pull_panel])
    return plots.save(figure, directory, f"z_peak_{channel}")


def _bump_scan(
    channel: str, scan: Mapping[str, Any], label: str, state: tuple[bool, float | None], directory: Path
) -> list[Path]:
    masses, significance = _array(scan["masses_gev"]), _array(scan["local_significance"])
    maximum = scan["maximum"]
    figure, (axis,) = plots.panels()
    low, high = min(-2.5, float(np.nanmin(significance))), max(3.2, float(np.nanmax(significance)))
    step = int(np.ceil((high - low) / 8))
    for level in range(step * int(np.floor(low / step)), int(np.ceil(high)) + step, step):
        axis.axhline(level, color="#b0b0b0" if level else "black", lw=0.6 if level else 0.9, zorder=0)
    axis.fill_between(masses, significance, color=plots.BACKGROUND, alpha=0.18, lw=0)
    axis.plot(masses, significance, color=plots.BACKGROUND, lw=1.5)
    axis.plot(maximum["mass_gev"], maximum["local_significance"], "v", color=plots.SIGNAL, ms=8, zorder=5)
    axis.text(
        0.035, 0.95,
        f"largest excess at {maximum['mass_gev']:.0f} GeV: "
        rf"{maximum['local_significance']:.2f}$\,\sigma$ local, {maximum['global_significance']:.2f}$\,\sigma$ global",
        transform=axis.transAxes, va="top", size="small", color=plots.SIGNAL, bbox=_PLATE,
    )  # fmt: skip
    injected = scan.get("injected")
    if injected is not None:
        axis.axvline(injected["true_mass_gev"], color=plots.PREDICTION, ls=":", lw=1.6)
        axis.text(
            0.035, 0.89, f"injected at {injected['true_mass_gev']:.0f} GeV", transform=axis.transAxes,
            va="top", size="small", color=plots.PREDICTION,
        )  # fmt: skip
    axis.set_ylim(1.15 * low, 1.28 * high)
    axis.set_ylabel(r"Local significance [$\sigma$]")
    plots.mass_axis(axis, float(masses[0]), float(masses[-1]), r"Resonance mass [GeV]")
    width = f"width {scan['width_percent']:g} %" if scan["width_percent"] else "zero width"
    plots.header(axis, f"Bump scan {_PAIR[channel]}", f"{label}, {width}", *state)
    return plots.save(figure, directory, f"bump_scan_{channel}")


def _limits(
    channel: str, limits: Mapping[str, Any], label: str, state: tuple[bool, float | None], directory: Path
) -> list[Path]:
    narrow, *wider = limits["curves"]
    masses = _array(narrow["masses_gev"])
    bands = {name: _array(narrow["expected_fb"][name]) for name in BAND_NAMES}
    figure, (axis,) = plots.panels(size_in=(7.2, 6.0))
    axis.fill_between(
        masses, bands["minus2"], bands["plus2"], color=plots.BAND_TWO, lw=0, label=r"expected ± 2$\,\sigma$"
    )
    axis.fill_between(
        masses, bands["minus1"], bands["plus1"], color=plots.BAND_ONE, lw=0, label=r"expected ± 1$\,\sigma$"
    )
    axis.plot(masses, bands["median"], color="black", ls="--", lw=1.3, label="expected, median")
    axis.plot(masses, _array(narrow["observed_fb"]), color="black", lw=1.5, label="observed")
    if "published_expected_fb" in narrow:
        published = _array(narrow["published_expected_fb"])
        axis.plot(masses, published, color=plots.SIGNAL, ls=":", lw=1.8, label="expected, published")
    if wider:
        widest = wider[-1]
        name = f"expected, width {widest['width_percent']:g} %"
        axis.plot(_array(widest["masses_gev"]), _array(widest["expected_fb"]["median"]), color=plots.BACKGROUND,
                  ls="-.", lw=1.3, label=name)  # fmt: skip
    axis.set_yscale("log")
    axis.set_ylabel(r"$\sigma_{\mathrm{fid}} \times B$ [fb]")
    plots.mass_axis(axis, float(masses[0]), float(masses[-1]), "Resonance mass [GeV]")
    order = [axis.get_legend_handles_labels()[i] for i in (0, 1)]
    chosen = [3, 2, 1, 0, *range(4, len(order[1]))]
    axis.legend([order[0][i] for i in chosen], [order[1][i] for i in chosen], loc="upper right",
                title=f"{100 * limits['cl']:g} % CL upper limits, {_width(narrow)}")  # fmt: skip
    plots.header(axis, f"Limits {_PAIR[channel]}", f"{label}, {limits['luminosity_ifb']:.4g} fb$^{{-1}}$", *state)
    return plots.save(figure, directory, f"limits_{channel}")


def _width(curve: Mapping[str, Any]) -> str:
    return f"width {curve['width_percent']:g} %" if curve["width_percent"] else "zero width"


def _cutflow(products: Mapping[str, Any], directory: Path) -> list[Path]:
    """Events after every cut, one panel per channel; samples add up, unweighted by cross-section."""
    flows: dict[str, dict[str, float]] = {}
    for by_channel in products["cutflow"].values():
        for channel, cuts in by_channel.items():
            total = flows.setdefault(channel, {})
            for cut, count in cuts.items():
                total[cut] = total.get(cut, 0.0) + count
    flows = {channel: cuts for channel, cuts in flows.items() if cuts}
    rows = max(len(cuts) for cuts in flows.values())
    figure, axes = plots.panels([len(cuts) for cuts in flows.values()], (7.2, 1.2 + 0.42 * rows * len(flows)))
    longest = max(len(cut) for cuts in flows.values() for cut in cuts)
    figure.subplots_adjust(left=min(0.06 + 0.0145 * longest, 0.45))
    largest = max(max(cuts.values()) for cuts in flows.values())
    for axis, (channel, cuts) in zip(axes, flows.items(), strict=True):
        counts = np.array(list(cuts.values()))
        places = np.arange(len(counts))
        axis.barh(places, np.maximum(counts, 1e-3), color=plots.BACKGROUND, alpha=0.8, height=0.72)
        for place, count in zip(places, counts, strict=True):
            share = f"  ({100 * count / counts[0]:.3g} %)" if counts[0] > 0 else ""
            axis.text(max(count, 0.7) * 1.15, place, f"{count:,.10g}{share}", va="center", size="x-small")
        axis.set_yticks(places, [cut.replace("_", " ") for cut in cuts])
        axis.tick_params(axis="y", which="both", left=False, right=False)
        axis.set_xscale("log")
        axis.set_xlim(0.5, max(largest, 10.0) ** 1.45)
        axis.set_ylim(len(counts) - 0.4, -0.6)
        axis.text(0.985, 0.08, _PAIR.get(channel, channel), transform=axis.transAxes, ha="right", weight="bold")
    axes[-1].set_xlabel("Events")
    plots.header(axes[0], "Cutflow", products["analysed"], bool(products["complete"]), products["completeness"])
    return plots.save(figure, directory, "cutflow")
