"""`StackPlot`: a Stack drawn by matplotlib and mplhep, as a notebook, a file or the page of a run shows it.

Figures are built without pyplot, and their style lives in a context: drawing changes no global state of matplotlib.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from vrecompute.errors import UsageError
from vrecompute.plots.options import PlotOptions
from vrecompute.plots.stack import Stack
from vrecompute.results.varied import Values

__all__ = ["Caption", "StackPlot", "draw_stack"]

# Ten colours that stay apart for colour-blind readers (M. Petroff, arXiv:2107.02270), and others of lines.
_FILLS = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
_LINES = ("#d55e00", "#000000", "#009e73", "#cc79a7")
_BAND, _BLIND, _SOFT, _ALERT = "#505050", "#e4e4e4", "#606060", "#c00000"
_SIZE_IN, _DPI = (7.2, 6.6), 160
_SUFFIXES = (".pdf", ".png", ".svg")
_STYLE: dict[Any, Any] = {
    "axes.labelsize": 14,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12,
    "legend.fontsize": 10.5,
    "mathtext.default": "it",
    "mathtext.fontset": "dejavusans",
    "pdf.fonttype": 42,
    "svg.hashsalt": "vrecompute",
    "xtick.direction": "in",
    "xtick.minor.visible": True,
    "xtick.top": True,
    "ytick.direction": "in",
    "ytick.minor.visible": True,
    "ytick.right": True,
}


@dataclass(frozen=True)
class Caption:
    """What stands beside a figure: title, luminosity (None: unknown or different ones), and how complete it is."""

    title: str = ""
    luminosity_ifb: float | None = None
    completeness: str = ""
    complete: bool = True


class StackPlot:
    """A figure of matplotlib, with the numbers that it shows in `stack`; a notebook shows it by itself.

    `axes` are the panel of the histogram and, where there are data, that of the ratio: change what you like, and
    `save`.
    """

    def __init__(self, stack: Stack, figure: Any, axes: tuple[Any, ...]) -> None:
        self.stack = stack
        self.figure = figure
        self.axes = axes

    def __repr__(self) -> str:
        return f"StackPlot({self.stack.name!r}, {', '.join(layer.label for layer in self.stack.layers)})"

    def _repr_png_(self) -> bytes:
        return self.content(".png")

    def content(self, suffix: str = ".png") -> bytes:
        """The bytes of a PNG, PDF or SVG file; the same figure gives the same bytes."""
        if suffix not in _SUFFIXES:
            raise UsageError(f"figures are written as {', '.join(_SUFFIXES)}, not as {suffix!r}")
        metadata = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}[suffix]
        file = io.BytesIO()
        with _style():
            self.figure.savefig(file, format=suffix[1:], dpi=_DPI, metadata=metadata)
        return file.getvalue()

    def save(self, path: Path | str) -> Path:
        """Write the figure, in the format that the suffix says: .png, .pdf or .svg."""
        target = Path(path)
        target.write_bytes(self.content(target.suffix.lower()))
        return target


def draw_stack(stack: Stack, options: PlotOptions | None = None, caption: Caption | None = None) -> StackPlot:
    """The figure of a Stack; UsageError where matplotlib or mplhep is not installed."""
    options, caption = options or PlotOptions(), caption or Caption()
    mplhep = _mplhep()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with_ratio = bool(stack.layers) and (stack.data is not None or stack.blinded is not None)
    with _style():
        figure = Figure(figsize=_SIZE_IN)
        FigureCanvasAgg(figure)
        heights = [3.0, 1.0] if with_ratio else [1.0]
        axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        figure.subplots_adjust(left=0.13, right=0.965, top=0.935, bottom=0.105, hspace=0.06)
        _main_panel(axes[0], stack, options, mplhep)
        if with_ratio:
            _ratio_panel(axes[1], stack)
        axes[-1].set_xlabel(stack.label, loc="right")
        axes[-1].set_xlim(*_ends(stack.edges))
        _write_caption(figure, axes[0], options, caption)
        figure.align_ylabels(axes)
    return StackPlot(stack, figure, tuple(axes))


def _mplhep() -> ModuleType:
    try:
        import mplhep
    except ImportError as error:
        raise UsageError(f"{error.name} is not installed: pip install 'vrecompute[plots]'") from error
    return mplhep  # type: ignore[no-any-return]  # it has no types


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()  # whatever a notebook has set: a figure looks the same everywhere
        mpl.rcParams.update(_STYLE)
        yield


def _ends(edges: Values) -> tuple[float, float]:
    """The first and the last edge that are no infinity."""
    finite = edges[np.isfinite(edges)]
    return float(finite[0]), float(finite[-1])


def _main_panel(axis: Any, stack: Stack, options: PlotOptions, mplhep: ModuleType) -> None:
    if stack.blinded is not None:
        _shade(axis, stack)
        axis.fill_between([], [], facecolor=_BLIND, edgecolor=_SOFT, lw=0.6, label="data blinded")
    if stack.layers:
        mplhep.histplot(
            [layer.values for layer in stack.layers],
            stack.edges,
            ax=axis,
            stack=True,
            histtype="fill",
            label=[layer.label for layer in stack.layers],
            color=[_FILLS[n % len(_FILLS)] for n in range(len(stack.layers))],
            edgecolor="black",
            linewidth=0.4,
            yerr=False,
            flow="none",
        )
        down, up = stack.total_down, stack.total_up
        _band(axis, stack.edges, stack.expected, down, up, hatch="////", label=_whole_band(stack))
    for number, signal in enumerate(stack.signals):
        colour = _LINES[number % len(_LINES)]
        axis.stairs(signal.values, stack.edges, baseline=None, color=colour, lw=1.8, ls="--", label=signal.label)
    if (data := stack.data) is not None:
        shown = np.where(data.values > 0, data.values, np.nan)
        centres = (stack.edges[1:] + stack.edges[:-1]) / 2
        axis.errorbar(
            centres,
            shown,
            yerr=[data.below, data.above],
            fmt="o",
            color="black",
            ms=4,
            lw=1,
            label=data.label,
            zorder=6,
        )
    _vertical(axis, stack, log=options.log)
    axis.set_ylabel(_events_per(stack), loc="top")
    handles, labels = axis.get_legend_handles_labels()
    # Data first, then the stack from above, as it is seen.
    ranks = {data.label: -1} if data is not None else {}
    ranks |= {layer.label: n for n, layer in enumerate(reversed(stack.layers))}
    placed = sorted(zip(labels, handles, strict=True), key=lambda pair: ranks.get(pair[0], len(ranks)))
    axis.legend(
        [handle for _, handle in placed], [label for label, _ in placed], loc="upper right", frameon=False,
        ncols=1 if len(placed) <= 5 else 2,
    )  # fmt: skip


def _ratio_panel(axis: Any, stack: Stack) -> None:
    expected = stack.expected
    over = np.where(expected > 0, expected, np.nan)
    one = np.ones_like(expected)
    if stack.blinded is not None:
        _shade(axis, stack)
    down, up = stack.total_down / over, stack.total_up / over
    total = _band(axis, stack.edges, one, down, up, color="#cdcdcd", label=_whole_band(stack))
    inner = stack.statistical / over
    _band(axis, stack.edges, one, inner, inner, color="#8e8e8e", label="stat.")
    axis.axhline(1.0, color="black", lw=0.8)
    reach = [total] if stack.systematics else []
    if (data := stack.data) is not None:
        shown = np.where(data.values > 0, data.values, np.nan) / over
        centres = (stack.edges[1:] + stack.edges[:-1]) / 2
        axis.errorbar(
            centres, shown, yerr=[data.below / over, data.above / over], fmt="o", color="black", ms=4, lw=1, zorder=5
        )
        reach.append(np.abs(shown - 1) + np.where(shown > 1, data.above, data.below) / over)
    far = np.concatenate(reach) if reach else np.zeros(1)
    far = far[np.isfinite(far)]
    # Half of the bins decide: single ones without events would leave nothing to be seen of the others.
    half = float(np.clip(1.6 * np.quantile(far, 0.9), 0.1, 1.0)) if far.size else 0.5
    axis.set_ylim(1 - half, 1 + half)
    if data is not None:
        for beyond, marker, at in ((shown > 1 + half, "^", 1 + 0.92 * half), (shown < 1 - half, "v", 1 - 0.92 * half)):
            axis.plot(centres[beyond], np.full(beyond.sum(), at), ls="", marker=marker, ms=4, color="black", zorder=6)
    axis.set_ylabel("Data / exp." if data is not None else "Rel. unc.", loc="center")
    axis.yaxis.get_major_locator().set_params(prune="upper", nbins=5)
    if stack.systematics:
        # Below the panel, where it hides nothing.
        axis.legend(loc="upper left", bbox_to_anchor=(0, -0.2), ncols=2, fontsize=8.5, frameon=False, borderaxespad=0.0)


def _whole_band(stack: Stack) -> str:
    return "stat. ⊕ syst." if stack.systematics else "stat."


def _band(
    axis: Any,
    edges: Values,
    middle: Values,
    below: Values,
    above: Values,
    *,
    label: str,
    hatch: str = "",
    color: str = "",
) -> Values:
    """A band from `below` to `above` the middle; its larger length in each bin."""
    low, high = middle - below, middle + above
    look: dict[str, Any] = {"facecolor": color, "lw": 0}
    if hatch:
        look = {"facecolor": "none", "edgecolor": _BAND, "hatch": hatch, "lw": 0}
    axis.fill_between(
        np.repeat(edges, 2)[1:-1], np.repeat(low, 2), np.repeat(high, 2), label=label, zorder=4 if hatch else 1, **look
    )
    return np.maximum(below, above)


def _shade(axis: Any, stack: Stack) -> None:
    """Mark the bins whose data are hidden, unless all are."""
    assert stack.blinded is not None
    if stack.blinded.all():
        return
    for low, high, hidden in zip(stack.edges[:-1], stack.edges[1:], stack.blinded, strict=True):
        if hidden:
            axis.axvspan(low, high, color=_BLIND, lw=0, zorder=0)


def _vertical(axis: Any, stack: Stack, *, log: bool) -> None:
    """Limits that leave room for the legend above what is drawn."""
    tops = [stack.expected + stack.total_up, *(s.values for s in stack.signals)]
    if stack.data is not None:
        tops.append(np.nan_to_num(stack.data.values + stack.data.above))
    top = max(float(np.max(t)) for t in tops)
    positive = np.concatenate([t[t > 0] for t in tops])
    if log and positive.size:
        bottom = min(float(positive.min()) * 0.5, top / 100)
        axis.set_ylim(bottom, top * (top / bottom) ** 0.55)  # first: else matplotlib looks for limits itself
        axis.set_yscale("log")
        return
    lowest = min(0.0, float(np.min(stack.expected)))
    axis.set_ylim(lowest * 1.1, top * 1.55 if top > 0 else 1.0)


def _events_per(stack: Stack) -> str:
    """Events per bin width where all are the same, with the unit of the axis.

    >>> # Events / 0.5 GeV
    """
    widths = np.diff(stack.edges)
    if not np.allclose(widths, widths[0], rtol=1e-6, atol=0):
        return "Events / bin"
    unit = re.search(r"\[([^\]]+)\]\s*$", stack.label)
    if unit is None and widths[0] == 1:
        return "Events"
    return f"Events / {widths[0]:.4g}{' ' + unit[1] if unit else ''}"


def _write_caption(figure: Any, axis: Any, options: PlotOptions, caption: Caption) -> None:
    title = options.experiment or caption.title
    axis.text(
        0.0, 1.015, title, transform=axis.transAxes, ha="left", va="bottom", weight="bold", size=13, parse_math=False
    )
    energy = f"{options.energy_tev:g} TeV" if options.energy_tev is not None else ""
    right = f"{caption.luminosity_ifb:.4g} fb⁻¹" if caption.luminosity_ifb is not None else ""
    right = f"{right} ({energy})" if right and energy else right or energy
    axis.text(1.0, 1.015, right, transform=axis.transAxes, ha="right", va="bottom", size=12)
    look = {"color": _SOFT} if caption.complete else {"color": _ALERT, "weight": "bold"}
    figure.text(0.015, 0.012, caption.completeness, ha="left", va="bottom", size=8, parse_math=False, **look)
