"""`Model`: channels of templates and what was observed, checked, from normalised histograms; for any library."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import UsageError
from vrecompute.nearest import hint
from vrecompute.plots.options import PlotOptions
from vrecompute.results.result import Result
from vrecompute.results.variations import Systematic, systematics_of
from vrecompute.results.varied import Values, Varied, varied

__all__ = ["LUMINOSITY", "Channel", "Channels", "Model", "Template", "model_of"]

#: The name of the systematic of the luminosity.
LUMINOSITY = "luminosity"
#: Names of channels, each with a histogram, or with (histogram, {axis: category}); or names of histograms alone.
Channels = Mapping[str, str | tuple[str, Mapping[str, str]]] | Sequence[str] | None
_NAMED = 3


@dataclass(frozen=True)
class Template:
    """What one sample gives to a channel: `values` and their standard deviations `stdev`, each of shape (bins,).

    `moved` are the values with each systematic, up and down; None for down where it is the mirror image of up.
    """

    sample: str
    is_signal: bool
    values: Values
    stdev: Values
    moved: Mapping[str, tuple[Values, Values | None]]


@dataclass(frozen=True)
class Channel:
    """Templates of one histogram, and the events observed in each bin."""

    name: str
    edges: Values
    templates: tuple[Template, ...]
    observed: Values


@dataclass(frozen=True)
class Model:
    """Channels, the parameter of interest that multiplies signals, and the relative uncertainty of the luminosity.

    `warnings` are sentences on what a fit of it may stumble over.
    """

    channels: tuple[Channel, ...]
    poi: str
    luminosity_uncertainty: float
    warnings: tuple[str, ...]

    @property
    def systematics(self) -> list[str]:
        """Names of all systematics but that of the luminosity, each once."""
        return list(dict.fromkeys(name for c in self.channels for t in c.templates for name in t.moved))


def model_of(
    samples: Mapping[str, Result],
    data: Mapping[str, Sequence[str]],
    channels: Channels,
    options: PlotOptions,
    *,
    poi: str = "mu",
    asimov: bool = False,
) -> Model:
    """The Model of samples whose histograms are normalised.

    `data` names for each histogram the samples that are data; `options` the signals, systematics, luminosity
    uncertainty, and bins that are taken together. `asimov` takes what is expected for what was observed.

    UsageError for a channel that cannot be fitted: no bins, nothing expected where events were observed, a negative
    sum, no statistical uncertainty, data that are blinded or not there.
    """
    chosen = _chosen(samples, channels)
    _check_signals(samples, options)
    warnings: list[str] = []
    made = [_channel(name, *where, samples, data, options, warnings, asimov) for name, where in chosen.items()]
    having = {t.sample for channel in made for t in channel.templates if t.is_signal}
    if not having:
        raise UsageError(
            f"no channel has any events of the signals {', '.join(options.signals)}: {poi!r} has no effect"
        )
    if poi in (names := [name for c in made for t in c.templates for name in t.moved]) or poi == LUMINOSITY:
        raise UsageError(f"{poi!r} is the name of a systematic; give poi= another")
    if options.luminosity_uncertainty and LUMINOSITY in names:
        raise UsageError(f"{LUMINOSITY!r} is a variation of the histograms; leave luminosity_uncertainty out")
    return Model(tuple(made), poi, options.luminosity_uncertainty, tuple(dict.fromkeys(warnings)))


def _chosen(samples: Mapping[str, Result], channels: Channels) -> dict[str, tuple[str, Mapping[str, str]]]:
    """Histogram and chosen categories of each channel, by a name that is harmless in any file and any program."""
    known = list(dict.fromkeys(name for result in samples.values() for name in result.histograms))
    if channels is None and len(known) != 1:
        listed = ", ".join(known) or "none"
        raise UsageError(
            f"name the histograms that are fitted and share no event: channels=[...] (there are: {listed})"
        )
    if channels is None or isinstance(channels, str):
        channels = known if channels is None else [channels]
    given = channels if isinstance(channels, Mapping) else {name: name for name in channels}
    chosen: dict[str, tuple[str, Mapping[str, str]]] = {}
    for name, value in given.items():
        histogram, select = (value, {}) if isinstance(value, str) else value
        if histogram not in known:
            there = f"(there are: {', '.join(known)}){hint(histogram, known)}"
            raise UsageError(f"channel {name!r}: there is no histogram {histogram!r} {there}")
        safe = re.sub(r"[^\w.-]+", "_", name)
        if safe in chosen:
            raise UsageError(f"two channels are called {safe!r}; give them other names: channels={{NAME: HISTOGRAM}}")
        chosen[safe] = (histogram, select)
    if not chosen:
        raise UsageError("channels names no histogram")
    return chosen


def _check_signals(samples: Mapping[str, Result], options: PlotOptions) -> None:
    names = ", ".join(samples)
    if not options.signals:
        raise UsageError(f"name the samples that are signal: signals=[...] (there are: {names})")
    for signal in options.signals:
        if signal not in samples:
            raise UsageError(f"there is no sample {signal!r} (there are: {names}){hint(signal, samples)}")


def _channel(
    name: str,
    histogram: str,
    select: Mapping[str, str],
    samples: Mapping[str, Result],
    data: Mapping[str, Sequence[str]],
    options: PlotOptions,
    warnings: list[str],
    asimov: bool,
) -> Channel:
    chosen = {**options.select, **select}
    having = {s: result.histograms[histogram] for s, result in samples.items() if histogram in result.histograms}
    parts = {s: varied(h, histogram, chosen, options.rebin) for s, h in having.items()}
    edges = next(iter(parts.values())).edges
    if odd := [s for s, part in parts.items() if not np.array_equal(part.edges, edges)]:
        raise UsageError(f"channel {name!r}: sample {odd[0]!r} has other bins than the others")
    if not len(edges) - 1:
        raise UsageError(f"channel {name!r} has no bins")
    simulated = {s: part for s, part in parts.items() if s not in data[histogram]}
    templates = _templates(name, simulated, options, warnings)
    expected: Values = np.sum([t.values for t in templates], axis=0) if templates else np.zeros(len(edges) - 1)
    if asimov:
        observed = expected
    else:
        observed = _observed(name, [parts[s] for s in data[histogram] if s in parts], options.blind_of(histogram))
    _check_bins(name, edges, expected, observed, warnings)
    return Channel(name, edges, templates, observed)


def _observed(channel: str, parts: Sequence[Varied], blind: object) -> Values:
    if not parts:
        raise UsageError(f"channel {channel!r} has no sample of data; asimov=True takes what is expected for observed")
    if blind is not False:
        raise UsageError(
            f"the data of channel {channel!r} are blinded; asimov=True takes what is expected, blind=False unblinds"
        )
    observed: Values = np.sum([part.nominal for part in parts], axis=0)
    return observed


def _templates(
    channel: str, simulated: Mapping[str, Varied], options: PlotOptions, warnings: list[str]
) -> tuple[Template, ...]:
    pairs, others = systematics_of(dict.fromkeys(v for part in simulated.values() for v in part.values))
    if options.systematics is not None:
        known = {s.name for s in pairs} | {v for s in pairs for v in s.variations} | {*others}
        for wanted in options.systematics:
            if wanted not in known:
                there = f"(there are: {', '.join(sorted(known)) or 'none'}){hint(wanted, known)}"
                raise UsageError(f"channel {channel!r} has no systematic {wanted!r} {there}")
        pairs = [s for s in pairs if s.name in options.systematics or {*s.variations} & {*options.systematics}]
        pairs += [Systematic(v, v) for v in others if v in options.systematics]
    elif others:
        some = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED} more" if len(others) > _NAMED else "")
        warnings.append(f"channel {channel!r}: left out, as their names say neither up nor down: {some}")
    templates = []
    for sample, part in simulated.items():
        if part.variances is None:
            raise UsageError(
                f"channel {channel!r}: sample {sample!r} has no statistical uncertainty, as its histogram was filled "
                "with weights and keeps no squares of them: give it storage=bh.storage.Weight()"
            )
        total = float(part.nominal.sum())
        if not part.nominal.any():
            warnings.append(f"channel {channel!r}: sample {sample!r} has no events there, and is left out")
            continue
        if total <= 0:
            raise UsageError(f"channel {channel!r}: sample {sample!r} expects {total:.4g} events in all bins together")
        moved = _moved(channel, sample, part, pairs, warnings)
        signal = sample in options.signals
        templates.append(Template(sample, signal, part.nominal, np.sqrt(part.variances), moved))
    return tuple(templates)


def _moved(
    channel: str, sample: str, part: Varied, pairs: Sequence[Systematic], warnings: list[str]
) -> dict[str, tuple[Values, Values | None]]:
    """What each systematic makes of a sample; none of those that leave every bin as it is."""
    where = f"channel {channel!r}: sample {sample!r}"
    moved: dict[str, tuple[Values, Values | None]] = {}
    for systematic in pairs:
        there = [v for v in systematic.variations if v in part.values]
        if not there:
            warnings.append(f"{where} has no variation {systematic.name!r}, and does not move with it")
            continue
        values = [part.values[v] for v in there]
        if all(np.array_equal(v, part.nominal) for v in values):
            continue
        if len(there) == 1:
            other = "down" if there[0] == systematic.up else "up"
            warnings.append(f"{where} has {there[0]!r} alone; {other} is taken for its mirror image")
            up = values[0] if there[0] == systematic.up else 2 * part.nominal - values[0]
            moved[systematic.name] = (up, None)
        else:
            moved[systematic.name] = (values[0], values[1])
        for variation, total in zip(there, (float(v.sum()) for v in values), strict=True):
            if total <= 0 or (len(there) == 1 and total >= 2 * part.nominal.sum()):
                raise UsageError(f"{where} expects {total:.4g} events with {variation!r}; no factor describes that")
    return moved


def _check_bins(channel: str, edges: Values, expected: Values, observed: Values, warnings: list[str]) -> None:
    def bins(which: NDArray[np.bool_]) -> str:
        numbers = np.flatnonzero(which)
        some = ", ".join(f"{edges[n]:g} to {edges[n + 1]:g}" for n in numbers[:_NAMED])
        return some + (f" and {len(numbers) - _NAMED} more bins" if len(numbers) > _NAMED else "")

    advice = "take bins together (rebin=), or leave the range out"
    if (negative := expected < 0).any():
        raise UsageError(f"channel {channel!r} expects a negative number of events in {bins(negative)}; {advice}")
    if (odd := observed < 0).any():
        raise UsageError(f"channel {channel!r} has a negative number of observed events in {bins(odd)}")
    empty = expected == 0
    if (seen := empty & (observed > 0)).any():
        raise UsageError(f"channel {channel!r} expects nothing where events were observed, in {bins(seen)}; {advice}")
    if empty.any():
        warnings.append(f"channel {channel!r} expects nothing in {bins(empty)}, where nothing was observed")
