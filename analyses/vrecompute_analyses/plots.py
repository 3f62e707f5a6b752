"""What every figure of the analyses has in common: style, panels, header with completeness, files.

Figures are built without pyplot, and the style lives in a context: importing or calling this changes no
global state of matplotlib. Styles and error bars are mplhep's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import mplhep
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from scipy.stats import chi2

__all__ = [
    "BACKGROUND",
    "BAND_ONE",
    "BAND_TWO",
    "PREDICTION",
    "SIGNAL",
    "completeness_text",
    "data_points",
    "header",
    "mass_axis",
    "panels",
    "poisson_interval",
    "save",
    "style",
]

# Colours that stay apart for colour-blind readers (Okabe and Ito), and the customary bands of expected limits.
BACKGROUND, SIGNAL, PREDICTION = "#0072b2", "#d55e00", "#009e73"
BAND_ONE, BAND_TWO = "#00c800", "#ffdc00"
_PARTIAL = "#c00000"

_HEADER_IN, _FOOTER_IN = 0.5, 0.68  # room for the header and for the label of the x axis

_CHANGES = {
    "font.size": 13,
    "axes.autolimit_mode": "data",
    "axes.unicode_minus": True,
    "axes.labelpad": 6,
    "axes.labelsize": "large",
    "xtick.labelsize": "medium",
    "ytick.labelsize": "medium",
    "ytick.major.size": 6,
    "ytick.minor.size": 3,
    "xtick.major.size": 6,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "legend.fontsize": "small",
    "legend.borderpad": 0.4,
    "legend.handlelength": 1.8,
    "pdf.fonttype": 42,
    "mathtext.fontset": "dejavusans",
    "mathtext.default": "it",
}


@contextmanager
def style() -> Iterator[None]:
    """The style of a publication, inside this context only."""
    settings: dict[Any, Any] = {**mplhep.style.ATLAS, **_CHANGES}
    with mpl.rc_context(settings):
        yield


def panels(heights: Sequence[float] = (1.0,), size_in: tuple[float, float] = (7.2, 5.6)) -> tuple[Figure, list[Any]]:
    """A figure of panels on top of each other that share their x axis."""
    figure = Figure(figsize=size_in)
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        len(heights),
        1,
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": list(heights)},
    )[:, 0]
    height = size_in[1]
    figure.subplots_adjust(
        left=0.125, right=0.965, top=1 - _HEADER_IN / height, bottom=_FOOTER_IN / height, hspace=0.07
    )
    return figure, list(axes)


def completeness_text(complete: bool, completeness: float | None) -> str:
    """How much of the events a figure shows.

    >>> completeness_text(False, 0.97389)
    'PARTIAL: 97.3 % of events'
    """
    if complete:
        return "complete"
    if completeness is None:
        return "PARTIAL: an unknown share of events"
    # Never rounded up to a whole: 99.99 % of the events is not all of them.
    return f"PARTIAL: {np.floor(completeness * 1000) / 10:.1f} % of events"


def header(axis: Any, title: str, subtitle: str, complete: bool, completeness: float | None) -> None:
    """Title on the left, and on the right whether it is complete (in red where it is not), above a panel."""
    axis.text(0.0, 1.02, title, transform=axis.transAxes, ha="left", va="bottom", weight="bold", size="large")
    axis.annotate(
        subtitle,
        (1.0, 0.0),
        xycoords=axis.texts[-1],
        xytext=(8, 0.6),
        textcoords="offset points",
        ha="left",
        va="bottom",
        size="medium",
    )
    axis.text(
        1.0,
        1.02,
        completeness_text(complete, completeness),
        transform=axis.transAxes,
        ha="right",
        va="bottom",
        size="medium",
        color="#404040" if complete else _PARTIAL,
        weight="normal" if complete else "bold",
    )


def poisson_interval(counts: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Central 68.27 % intervals of Poisson means (Garwood): distances below and above the counts."""
    tail = 0.158655
    low = np.where(counts > 0, 0.5 * chi2.ppf(tail, 2 * np.maximum(counts, 1e-9)), 0.0)
    high = 0.5 * chi2.isf(tail, 2 * (counts + 1))
    return counts - low, high - counts


def data_points(
    axis: Any,
    edges: np.ndarray[Any, Any],
    counts: np.ndarray[Any, Any],
    uncertainties: np.ndarray[Any, Any],
    label: str,
) -> None:
    """Points with error bars: Poisson intervals for unweighted counts, else the given uncertainties. No empty bins."""
    unweighted = np.allclose(uncertainties**2, counts)
    below, above = poisson_interval(counts) if unweighted else (uncertainties, uncertainties)
    shown = np.where(counts > 0, counts, np.nan)
    mplhep.histplot(
        shown,
        edges,
        yerr=np.array([below, above]),
        ax=axis,
        histtype="errorbar",
        color="black",
        label=label,
        elinewidth=1.0,
        capsize=0,
        zorder=5,
    )


def mass_axis(axis: Any, low_gev: float, high_gev: float, label: str) -> None:
    """A logarithmic mass axis with plain numbers at 1, 2, 5 times the powers of ten and at some between."""
    axis.set_xscale("log")
    axis.set_xlim(low_gev, high_gev)
    # A number too close to the right end would stick out of the panel.
    last = high_gev * (low_gev / high_gev) ** 0.03
    ticks = [t * 10.0**p for p in range(6) for t in (1, 2, 3, 5, 7) if low_gev <= t * 10.0**p <= last]
    axis.set_xticks(ticks)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel(label)


def save(figure: Figure, directory: Path, name: str) -> list[Path]:
    """Write PNG and PDF, without times in them: the same figure gives the same bytes."""
    png, pdf = directory / f"{name}.png", directory / f"{name}.pdf"
    figure.savefig(png, dpi=160, metadata={"Software": None})
    figure.savefig(pdf, metadata={"CreationDate": None})
    return [png, pdf]
