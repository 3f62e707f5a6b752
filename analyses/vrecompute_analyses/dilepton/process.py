"""`Dilepton`: the ee and mumu mass spectra of arXiv:1903.06248, nominal and varied, in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vrecompute.analysis import Analysis, Parameter, SourceView, interval
from vrecompute.datasets.columns import Column, Columns, OptionalColumn
from vrecompute.datasets.dataset import Sample
from vrecompute.errors import MissingColumn
from vrecompute.eventloop import check_weights, to_result
from vrecompute.kernels.loop.chunk import Collection
from vrecompute.results.result import Result
from vrecompute_analyses.dilepton.layouts import FLAVOURS, LAYOUTS, Flavour, Layout, LeptonLayout, Pass, choose_layout
from vrecompute_analyses.dilepton.leptons import leptons, no_leptons, trigger, weights
from vrecompute_analyses.dilepton.selection import loop

__all__ = ["Dilepton"]

# Imported by name, as `finish` is: an edited parameter of the fits is no part of the code that makes a chunk.
_FINISH_PARAMETERS: tuple[Parameter, ...] = import_module(
    "vrecompute_analyses.dilepton.finish_parameters"
).FINISH_PARAMETERS
_CHANNEL: Mapping[Flavour, str] = {"electron": "ee", "muon": "mumu"}
# Review of Particle Physics, in GeV.
_LEPTON_MASS_GEV = {"electron": 0.51099895e-3, "muon": 0.1056583755}


class Dilepton(Analysis):
    """Selects the ee or mumu pair of each event and fills its mass, with the steps of `selection`.

    Histograms `mass_*` (published bins, after the mass window), `z_*` (0.25 GeV bins around the Z peak) and
    `spectrum_*` (100 bins of ln m from 50 GeV; both before the mass window) of each channel have axes
    (variation, mass in GeV) and Weight storage, and rows for the variations that can change them.
    Cutflow by channel; counters `electrons` and `muons` before any cut, of certified events, and `uncertified` events.
    """

    name: ClassVar[str] = "dilepton"
    title: ClassVar[str] = "Dilepton resonance search: ee and mumu mass spectra"
    finish_function: ClassVar[str | None] = "vrecompute_analyses.dilepton.finish:finish"
    # The layout knows its unit where the sample says none.
    reads_unit: ClassVar[bool] = True
    figures_function: ClassVar[str | None] = "vrecompute_analyses.dilepton.figures:figures"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter(
            "channel",
            "both",
            "lepton flavours to select; where both have a pair, ee wins",
            type=str,
            choices=tuple(FLAVOURS),
        ),
        Parameter("pt_min_gev", 30.0, "pT of leptons (ET of electrons) above this"),
        Parameter("eta_max", 2.5, "|eta| of all leptons below this"),
        Parameter("electron_eta_max", 2.47, "|eta| of electrons also below this"),
        Parameter(
            "electron_crack_eta", (1.37, 1.52), "|eta| of electrons not from low to high (0,0: no gap)", type=interval
        ),
        Parameter("mass_window_gev", (225.0, 13_000.0), "mass of the pair, low,high", type=interval),
        Parameter(
            "opposite_sign",
            "mumu",
            "channels that require opposite charge",
            type=str,
            choices=("mumu", "ee", "both", "none"),
        ),
        Parameter(
            "lepton_id",
            "medium",
            "identification, where present",
            type=str,
            choices=("any", "loose", "medium", "tight"),
        ),
        Parameter("isolation", True, "require isolation, where present", type=bool),
        Parameter("trigger", True, "require a single-lepton trigger, where present", type=bool),
        Parameter(
            "lepton_mass", "massless", "leptons in the pair's mass are", type=str, choices=("massless", "massive")
        ),
        Parameter("layout", "auto", "where the columns are", type=str, choices=("auto", *LAYOUTS)),
        Parameter(
            "systematics",
            "off",
            "lepton scale and resolution variations of simulation",
            type=str,
            choices=("off", "on"),
        ),
        *_FINISH_PARAMETERS,
    )

    def needs(self) -> Mapping[str, str]:
        """The extra 'stats', for `finish`."""
        return dict.fromkeys(("iminuit", "scipy"), "vrecompute[stats]")

    def columns(self, source: SourceView) -> Sequence[str | OptionalColumn]:
        """The columns of the first layout that fits; MissingColumn says what each one lacks."""
        name = source.path or source.tree or source.sample.name
        layout = choose_layout(self["layout"], self["channel"], source.available, name)
        wanted: list[str | OptionalColumn] = []
        for flavour in FLAVOURS[self["channel"]]:
            of = layout.leptons[flavour]
            wanted.extend([*of.required, *(OptionalColumn(p.column) for p in self._passes(of))])
            if self["trigger"] and of.triggers:
                wanted.append(OptionalColumn(*of.triggers, absent=False))
        sample = source.sample
        if sample.weight is not None:
            if sample.weight not in source.available:
                raise MissingColumn(name, f"sample {sample.name!r} asks for {sample.weight}, which is not there")
            wanted.append(sample.weight)
        return tuple(wanted)

    def variations(self, sample: Sample) -> Sequence[str]:
        """Nominal alone for data or without `systematics`; else also the ten of lepton scale and resolution."""
        return ("nominal",) if sample.is_data or self["systematics"] == "off" else loop.variations

    def process(self, events: Columns) -> Result:
        """Histograms, cutflow and counters of one chunk."""
        layout = choose_layout(self["layout"], self["channel"], events.names, events.place)
        event: dict[str, NDArray[Any]] = {"weight": weights(events)}
        check_weights(events, str(events.sample.weight), event["weight"])
        flavours = FLAVOURS[self["channel"]]
        found: dict[str, Collection] = {}
        for flavour, channel in _CHANNEL.items():
            event[f"fired_{channel}"] = np.ones(len(events), dtype=np.uint8)
            if flavour in flavours:
                of = layout.leptons[flavour]
                found[flavour] = leptons(events, layout, of, self._passes(of))
                if self["trigger"]:
                    event[f"fired_{channel}"] = trigger(events, of)
        for flavour in _CHANNEL:
            found.setdefault(flavour, no_leptons(len(events), next(iter(found.values()))))
        filled = loop.run(
            len(events),
            collections=found,
            event=event,
            parameters=self.numbers(),
            variations=events.variations,
        )
        result = _of_channels(to_result(filled), [_CHANNEL[f] for f in flavours])
        result.counters["uncertified"] = float(events.stop - events.start - len(events))
        return result

    def rehearse(self) -> None:
        """Compile the selection for float32 momenta in GeV and in MeV: layouts share it, and so do variations."""
        for layout in ("nanoaod", "ntuple"):
            self.process(_made_up(LAYOUTS[layout]))

    def _passes(self, of: LeptonLayout) -> tuple[Pass, ...]:
        return of.passes(self["lepton_id"], self["isolation"])

    def numbers(self) -> dict[str, float]:
        """The parameters as the numbers that the selection's functions read."""
        massive = float(self["lepton_mass"] == "massive")
        numbers = {name: self[name] for name in ("pt_min_gev", "eta_max", "electron_eta_max")}
        numbers["crack_eta_low"], numbers["crack_eta_high"] = self["electron_crack_eta"]
        numbers["mass_low_gev"], numbers["mass_high_gev"] = self["mass_window_gev"]
        for flavour, channel in _CHANNEL.items():
            numbers[f"{flavour}_mass_gev"] = massive * _LEPTON_MASS_GEV[flavour]
            numbers[f"{channel}_opposite_sign"] = float(self["opposite_sign"] in (channel, "both"))
        return numbers


def _made_up(layout: Layout) -> Columns:
    """Two events of a layout, the second without leptons."""
    offsets = np.array([0, 2, 2], dtype=np.int64)
    columns: dict[str, Column] = {}
    for of in layout.leptons.values():
        for (name,), value in ((of.pt, 100.0), (of.eta, 0.5), (of.phi, 0.5)):
            columns[name] = Column(np.full(2, value, dtype=np.float32), offsets)
        columns[of.charge[0]] = Column(np.array([1, -1], dtype=np.int32), offsets)
    return Columns(columns, Sample("made_up"), 0, 2, place=layout.name)


def _of_channels(result: Result, channels: Sequence[str]) -> Result:
    """Without the histograms and cutflow of a channel that was not asked for."""
    keep = tuple(f"_{channel}" for channel in channels)
    result.histograms = {name: h for name, h in result.histograms.items() if name.endswith(keep)}
    result.cutflow = {channel: result.cutflow[channel] for channel in channels}
    return result
