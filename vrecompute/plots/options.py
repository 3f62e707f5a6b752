"""`PlotOptions`: what a physicist says of the figures of their histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from vrecompute.errors import UsageError
from vrecompute.nearest import hint

__all__ = ["Blind", "PlotOptions"]

#: What of the data is not shown: nothing, all of it, or the bins of a range (low, high) of the axis.
Blind = bool | tuple[float, float]


@dataclass(frozen=True)
class PlotOptions:
    """How stacks are drawn, for `plot_options` of an analysis and as keywords of `run.plot`.

    `signals` are samples that are drawn as lines and not stacked, each multiplied by `signal_scale`. `blind` hides
    data: True all of them, (low, high) those of every bin that reaches into the range, and a mapping says it for each
    histogram by name. `groups` joins samples, {"top": ["tt", "tW"]}; `labels` are what samples and groups are called in
    the legend; `order` is that of the stack, from below (default: the smallest sample below). `systematics` are the
    only ones of the band (default: all); one that is named there and has no direction in its name goes both ways.
    `luminosity_uncertainty` is relative, 0.017, and moves all that is expected. `select` chooses a category of each
    further category axis, {"channel": "mumu"}; `rebin` bins become one. `log` is the vertical axis. `experiment` and
    `energy_tev` are written above the figure.

    UsageError for values that mean nothing.
    """

    signals: Sequence[str] = ()
    signal_scale: float = 1.0
    blind: Blind | Mapping[str, Blind] = False
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    order: Sequence[str] = ()
    systematics: Sequence[str] | None = None
    luminosity_uncertainty: float = 0.0
    select: Mapping[str, str] = field(default_factory=dict)
    rebin: int = 1
    log: bool = False
    experiment: str = ""
    energy_tev: float | None = None

    def __post_init__(self) -> None:
        for name in ("signals", "order", "systematics"):
            if isinstance(value := getattr(self, name), str):
                object.__setattr__(self, name, (value,))
        odd = [name for name, samples in self.groups.items() if isinstance(samples, str) or not samples]
        if odd:
            raise UsageError(f"groups: {odd[0]!r} is given {self.groups[odd[0]]!r}; write a list of samples")
        if self.rebin < 1:
            raise UsageError(f"rebin is {self.rebin}; it is a number of bins, at least 1")
        if not 0 <= self.luminosity_uncertainty < 1:
            raise UsageError(f"luminosity_uncertainty is {self.luminosity_uncertainty}; 0.017 means 1.7 %")
        for blind in self.blind.values() if isinstance(self.blind, Mapping) else [self.blind]:
            if not _is_blind(blind):
                raise UsageError(f"blind is {blind!r}; write True, False or (low, high) in the units of the axis")

    def blind_of(self, histogram: str) -> Blind:
        """What is not shown of the data of this histogram."""
        return self.blind.get(histogram, False) if isinstance(self.blind, Mapping) else self.blind

    def changed(self, given: Mapping[str, Any]) -> PlotOptions:
        """These options with others that are given by name; UsageError for a name that there is not."""
        known = [f.name for f in fields(self)]
        for name in given:
            if name not in known:
                raise UsageError(f"plots have no option {name!r}{hint(name, known)} (they have: {', '.join(known)})")
        return replace(self, **given)


def _is_blind(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, Sequence) and len(value) == 2 and value[0] < value[1])
