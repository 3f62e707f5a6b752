"""A histogram as a small inline SVG, without a plotting library: the same code runs where nothing may be installed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Drawing", "drawing_of", "to_svg"]

WIDTH, HEIGHT = 380, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 12, 30
# Differences and ratios of what is drawn are numbers, too.
_HIGHEST = 1e150


@dataclass(frozen=True)
class Drawing:
    """What is drawn: `edges` of shape (bins + 1,), `values` and `variances` of shape (bins,), and their words."""

    title: str
    edges: NDArray[np.float64]
    values: NDArray[np.float64]
    variances: NDArray[np.float64]
    label: str = ""
    outside: float = 0.0

    @property
    def total(self) -> float:
        """The sum of the bins drawn, those that are no numbers left out."""
        return float(_finite(self.values).sum())


def drawing_of(title: str, histogram: Any) -> Drawing | None:
    """The drawing of a boost-histogram with one numeric axis; of its category axes the first category is drawn.

    None where there is no numeric axis, or more than one, or one of any kind that has no bins.
    """
    axes = histogram.axes
    if 0 in axes.size:
        return None
    numeric = [i for i, axis in enumerate(axes) if hasattr(axis, "edges") and not _is_category(axis)]
    if len(numeric) != 1:
        return None
    axis = axes[numeric[0]]
    chosen = []
    index: list[Any] = []
    for i, other in enumerate(axes):
        if i == numeric[0]:
            index.append(slice(None))
        else:
            index.append(0)
            chosen.append(str(other.value(0)))
    one = histogram[tuple(index)]
    values = np.asarray(one.values(), dtype=np.float64)
    variances = one.variances()
    with np.errstate(all="ignore"):
        outside = _finite(np.asarray(one.values(flow=True), dtype=np.float64)).sum() - _finite(values).sum()
    return Drawing(
        title=" ".join([title, *(f"[{name}]" for name in chosen)]),
        edges=_drawable(np.asarray(axis.edges, dtype=np.float64)),
        values=values,
        variances=np.abs(values) if variances is None else np.asarray(variances, dtype=np.float64),
        label=str(getattr(axis, "label", None) or getattr(axis, "metadata", None) or ""),
        outside=float(outside),
    )


def _drawable(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """The edges, with an end at infinity as far away as the bin beside it is wide."""
    finite = edges[np.isfinite(edges)]
    width = float(finite[-1] - finite[-2]) if len(finite) > 1 else 1.0
    first, last = (float(finite[0]), float(finite[-1])) if len(finite) else (0.0, 0.0)
    return np.nan_to_num(edges, posinf=last + width, neginf=first - width)


def _is_category(axis: Any) -> bool:
    return type(axis).__name__ in {"IntCategory", "StrCategory"}


def to_svg(drawing: Drawing) -> str:
    """The drawing as an SVG element; colours come from the page (classes `bars`, `line`, `errors`, `axis`)."""
    x, x_ticks = _scale(drawing.edges, LEFT, WIDTH - RIGHT, logarithmic=_wants_log_x(drawing.edges))
    finite = np.clip(_finite(drawing.values), -_HIGHEST, _HIGHEST)
    errors = np.sqrt(np.clip(_finite(drawing.variances), 0.0, _HIGHEST))
    positive = finite[finite > 1 / _HIGHEST]
    log_y = positive.size > 2 and positive.max() / positive.min() > 100 and finite.min() >= 0
    if log_y:
        bottom, top = 10 ** math.floor(math.log10(positive.min()) - 0.3), float((finite + errors).max()) * 2
    else:
        bottom, top = min(0.0, float((finite - errors).min())), max(0.0, float((finite + errors).max()) * 1.08)
    y, y_ticks = _scale(
        np.array([bottom, top if top > bottom else bottom + 1]), HEIGHT - BOTTOM, TOP, logarithmic=log_y
    )
    heights = np.maximum(finite, bottom) if log_y else finite

    floor = y(bottom if log_y else 0.0)
    outline = [f"M{x(drawing.edges[0]):.1f} {floor:.1f}"]
    for low, high, value in zip(drawing.edges[:-1], drawing.edges[1:], heights, strict=True):
        outline.append(f"L{x(low):.1f} {y(value):.1f}L{x(high):.1f} {y(value):.1f}")
    path = "".join([*outline, f"L{x(drawing.edges[-1]):.1f} {floor:.1f}"])
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(drawing.title)}">',
        f'<path class="bars" d="{path}Z"/><path class="line" d="{path}"/>',
        _error_bars(drawing.edges, heights, errors, bottom, x, y),
        *(_tick_x(x(value), text) for value, text in x_ticks),
        *(_tick_y(y(value), text) for value, text in y_ticks),
        f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>',
        f'<text class="label" x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{escape(drawing.label)}</text>',
        "</svg>",
    ]
    return "".join(parts)


def _error_bars(
    edges: NDArray[np.float64], values: NDArray[np.float64], errors: NDArray[np.float64], bottom: float, x: Any, y: Any
) -> str:
    """Vertical bars of one standard deviation, left out where there are too many bins to tell them apart."""
    if len(values) > 120:
        return ""
    strokes = []
    for low, high, value, error in zip(edges[:-1], edges[1:], values, errors, strict=True):
        if error > 0:
            middle = (x(low) + x(high)) / 2
            strokes.append(f"M{middle:.1f} {y(max(value - error, bottom)):.1f}V{y(value + error):.1f}")
    return f'<path class="errors" d="{"".join(strokes)}"/>' if strokes else ""


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`values`, with 0 where they are no numbers."""
    return np.where(np.isfinite(values), values, 0.0)


def _wants_log_x(edges: NDArray[np.float64]) -> bool:
    widths = np.diff(edges)
    return bool(edges[0] > 0 and edges[-1] / edges[0] > 5 and widths[-1] > 3 * widths[0])


def _scale(
    span: NDArray[np.float64], start: float, stop: float, *, logarithmic: bool
) -> tuple[Any, Sequence[tuple[float, str]]]:
    """A function from values to pixels, and ticks (value, text) within the span."""
    low, high = float(span[0]), float(span[-1])
    if logarithmic:
        a, b = math.log10(low), math.log10(high)

        def place(value: float) -> float:
            return start + (stop - start) * (math.log10(max(value, low)) - a) / (b - a)

        return place, _log_ticks(low, high)

    def place_linear(value: float) -> float:
        return start + (stop - start) * (value - low) / (high - low)

    step = _nice_step((high - low) / 5)
    first = math.ceil(low / step - 1e-9)
    ticks = [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]
    return place_linear, [(t, _tick_text(t)) for t in ticks]


def _log_ticks(low: float, high: float) -> Sequence[tuple[float, str]]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(decades) <= 3 else (1,)
    every = max(1, len(decades) // 6)
    ticks = [m * 10.0**d for d in decades if d % every == 0 for m in steps]
    return [(t, _tick_text(t)) for t in ticks if low <= t <= high * 1.0001]


def _nice_step(rough: float) -> float:
    if not (rough > 0 and math.isfinite(rough)):
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)


def _tick_text(value: float) -> str:
    if value == 0:
        return "0"
    if 1e-2 <= abs(value) < 1e5:
        return f"{value:g}"
    return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")


def _tick_x(at: float, text: str) -> str:
    base = HEIGHT - BOTTOM
    mark = f'<path class="axis" d="M{at:.1f} {base}v4"/>'
    return f'{mark}<text x="{at:.1f}" y="{base + 15}" text-anchor="middle">{text}</text>'


def _tick_y(at: float, text: str) -> str:
    mark = f'<path class="axis" d="M{LEFT} {at:.1f}h-4"/>'
    return f'{mark}<text x="{LEFT - 7}" y="{at + 3:.1f}" text-anchor="end">{text}</text>'
