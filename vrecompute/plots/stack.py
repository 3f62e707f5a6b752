"""`Stack`: the numbers of a data/MC figure: what is expected, its uncertainties, data, signals. Nothing is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import UsageError
from vrecompute.nearest import hint
from vrecompute.plots.options import Blind, PlotOptions
from vrecompute.results.result import Result
from vrecompute.results.variations import NOMINAL, Systematic, systematics_of
from vrecompute.results.varied import Values, Varied, varied

__all__ = ["Layer", "Points", "Stack", "blinded_bins", "stack_of"]

# Central intervals of a Poisson mean of one standard deviation: this much is left out on either side.
_TAIL = 0.158655253931457


@dataclass(frozen=True)
class Layer:
    """One sample, or a group of them: `values` of shape (bins,)."""

    name: str
    label: str
    values: Values


@dataclass(frozen=True)
class Points:
    """Data: `values` and the lengths of their error bars, each of shape (bins,); NaN in bins that are blinded."""

    label: str
    values: Values
    below: Values
    above: Values


@dataclass(frozen=True)
class Stack:
    """What a figure shows, in numbers. Arrays have the shape (bins,), `edges` (bins + 1,).

    `statistical` is the standard deviation of what is expected, from finite simulated samples. `systematic_up` and
    `systematic_down` are lengths, too: of each systematic the sum over samples is taken, which it moves together, and
    of all systematics the root of the sum of squares; `systematics` names them. `total_up` and `total_down` are both in
    quadrature. `notes` say what is not in the bands.
    """

    name: str
    label: str
    edges: Values
    layers: tuple[Layer, ...]
    statistical: Values
    systematic_up: Values
    systematic_down: Values
    systematics: tuple[str, ...] = ()
    data: Points | None = None
    blinded: NDArray[np.bool_] | None = None
    signals: tuple[Layer, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def expected(self) -> Values:
        """The sum of all layers."""
        total: Values = np.sum([layer.values for layer in self.layers], axis=0) if self.layers else self.statistical * 0
        return total

    @property
    def total_up(self) -> Values:
        """The length of the whole band above what is expected."""
        return np.hypot(self.statistical, self.systematic_up)

    @property
    def total_down(self) -> Values:
        """The length of the whole band below what is expected."""
        return np.hypot(self.statistical, self.systematic_down)


def stack_of(
    samples: Mapping[str, Result], data: Sequence[str], name: str, options: PlotOptions | None = None
) -> Stack:
    """The Stack of the histogram `name` of samples whose histograms are normalised; `data` are those that are data.

    KeyError where no sample has the histogram, UsageError where samples have other bins or options name nothing.
    """
    options = options or PlotOptions()
    parts = _parts(samples, name, options)
    _check_names(parts, samples, options)
    first = next(iter(parts.values()))
    simulated = {s: part for s, part in parts.items() if s not in data and s not in options.signals}
    notes: list[str] = []
    variances = [part.variances for part in simulated.values()]
    if without := [s for s, part in simulated.items() if part.variances is None]:
        notes.append(f"no statistical uncertainty of {', '.join(without)}: filled with weights, without Weight storage")
    zero = np.zeros(len(first.edges) - 1)
    statistical = np.sqrt(sum((v for v in variances if v is not None), zero))
    up, down, used = _systematic_band(simulated, options, notes, zero)
    observed = [part for s, part in parts.items() if s in data]
    blinded = blinded_bins(first.edges, options.blind_of(name))
    return Stack(
        name=name,
        label=first.label,
        edges=first.edges,
        layers=_layers(simulated, options),
        statistical=statistical,
        systematic_up=up,
        systematic_down=down,
        systematics=tuple(used),
        data=_points(observed, blinded) if observed and not blinded.all() else None,
        blinded=blinded if observed and blinded.any() else None,
        signals=tuple(
            Layer(s, _signal_label(s, options), parts[s].nominal * options.signal_scale)
            for s in options.signals
            if s in parts
        ),
        notes=tuple(notes),
    )


def _parts(samples: Mapping[str, Result], name: str, options: PlotOptions) -> dict[str, Varied]:
    """The arrays of each sample that has the histogram."""
    having = {s: result.histograms[name] for s, result in samples.items() if name in result.histograms}
    if not having:
        known = sorted({h for result in samples.values() for h in result.histograms})
        raise KeyError(f"there is no histogram {name!r} (there are: {', '.join(known) or 'none'}){hint(name, known)}")
    parts = {s: varied(h, name, options.select, options.rebin) for s, h in having.items()}
    first, edges = next((s, part.edges) for s, part in parts.items())
    for s, part in parts.items():
        if not np.array_equal(part.edges, edges):
            raise UsageError(f"histogram {name!r} has other bins in sample {s!r} than in {first!r}; give it the same")
    if not len(edges) - 1:
        raise UsageError(f"histogram {name!r} has no bins")
    return parts


def _check_names(parts: Mapping[str, Varied], samples: Mapping[str, Result], options: PlotOptions) -> None:
    grouped = [s for group in options.groups.values() for s in group]
    for sample in [*options.signals, *grouped]:
        if sample not in samples:
            known = ", ".join(samples)
            raise UsageError(f"there is no sample {sample!r} (there are: {known}){hint(sample, samples)}")
    if twice := [s for s in grouped if grouped.count(s) > 1]:
        raise UsageError(f"sample {twice[0]!r} is in two groups; put it into one")
    variations = {v for part in parts.values() for v in part.values}
    known_systematics = {s.name for s in systematics_of(variations)[0]} | variations
    for wanted in options.systematics or ():
        if wanted not in known_systematics:
            there = ", ".join(sorted(known_systematics - {NOMINAL})) or "none"
            raise UsageError(f"there is no systematic {wanted!r} (there are: {there}){hint(wanted, known_systematics)}")


def _systematic_band(
    simulated: Mapping[str, Varied], options: PlotOptions, notes: list[str], zero: Values
) -> tuple[Values, Values, list[str]]:
    """Lengths of the band up and down, and the names of what it is made of."""
    pairs, others = systematics_of(dict.fromkeys(v for part in simulated.values() for v in part.values))
    if options.systematics is not None:
        pairs = [s for s in pairs if s.name in options.systematics or {*s.variations} & {*options.systematics}]
        pairs += [Systematic(v, v) for v in others if v in options.systematics]
    elif others:
        some = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        notes.append(f"not in the band, as their names say neither up nor down: {some}")
    up, down = zero.copy(), zero.copy()
    for systematic in pairs:
        moves = [_shift(simulated, variation, zero) for variation in systematic.variations]
        if len(moves) == 1:  # what is known of one direction is taken for the other, too
            moves.append(-moves[0])
        up += np.maximum(np.maximum(*moves), 0.0) ** 2
        down += np.maximum(np.maximum(*(-move for move in moves)), 0.0) ** 2
    names = [s.name for s in pairs]
    if options.luminosity_uncertainty:
        move = options.luminosity_uncertainty * sum((part.nominal for part in simulated.values()), zero)
        up, down = up + move**2, down + move**2
        names.append("luminosity")
    return np.sqrt(up), np.sqrt(down), names


def _shift(simulated: Mapping[str, Varied], variation: str, zero: Values) -> Values:
    """By how much a variation moves the sum of all samples; those that do not have it stay where they are."""
    return sum((p.values[variation] - p.nominal for p in simulated.values() if variation in p.values), zero)


def _layers(simulated: Mapping[str, Varied], options: PlotOptions) -> tuple[Layer, ...]:
    group_of = {s: group for group, members in options.groups.items() for s in members}
    sums: dict[str, Values] = {}
    for sample, part in simulated.items():
        name = group_of.get(sample, sample)
        sums[name] = sums[name] + part.nominal if name in sums else part.nominal
    first = {name: place for place, name in enumerate(options.order)}
    for name in first:
        if name not in sums:
            raise UsageError(f"order: there is no {name!r} in the stack (there are: {', '.join(sums)})")
    names = sorted(sums, key=lambda name: (first.get(name, len(first)), float(sums[name].sum())))
    return tuple(Layer(name, options.labels.get(name, name), sums[name]) for name in names)


def _signal_label(sample: str, options: PlotOptions) -> str:
    label = options.labels.get(sample, sample)
    return label if options.signal_scale == 1.0 else f"{label} × {options.signal_scale:g}"


def blinded_bins(edges: Values, blind: Blind) -> NDArray[np.bool_]:
    """Which bins of the data are hidden: those of which any part lies in the range."""
    if isinstance(blind, bool):
        return np.full(len(edges) - 1, blind)
    low, high = blind
    return (edges[1:] > low) & (edges[:-1] < high)


def _points(observed: Sequence[Varied], blinded: NDArray[np.bool_]) -> Points:
    """The sum of all data, with Poisson intervals where they are counts."""
    values: Values = np.sum([part.nominal for part in observed], axis=0)
    known = [part.variances for part in observed if part.variances is not None]
    variances = np.sum(known, axis=0) if len(known) == len(observed) else np.abs(values)
    if np.array_equal(variances, values) and (values >= 0).all():
        below, above = _poisson_interval(values)
    else:
        below = above = np.sqrt(variances)
    shown = [np.where(blinded, np.nan, array) for array in (values, below, above)]
    return Points("data", *shown)


def _poisson_interval(counts: Values) -> tuple[Values, Values]:
    """Central 68.27 % intervals of Poisson means (Garwood): distances below and above the counts."""
    try:
        from scipy.stats import chi2
    except ImportError as error:
        raise UsageError("scipy is not installed: pip install 'vrecompute[plots]'") from error
    low = np.where(counts > 0, 0.5 * chi2.ppf(_TAIL, 2 * np.maximum(counts, 0.5)), 0.0)
    high = 0.5 * chi2.isf(_TAIL, 2 * (counts + 1))
    return counts - low, high - counts
