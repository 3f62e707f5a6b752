"""`Dilepton`: the ee and mumu mass spectra of arXiv:1903.06248, nominal and varied, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import boost_histogram as bh
import numpy as np

from vrecompute.analysis import Analysis, Parameter, SourceView
from vrecompute.columns import Columns
from vrecompute.dataset import Sample
from vrecompute.errors import MissingColumn
from vrecompute.kernels.binning import make_axis
from vrecompute.result import Result
from vrecompute_analyses.dilepton.edges import PUBLISHED_EDGES_GEV
from vrecompute_analyses.dilepton.layouts import FLAVOURS, LAYOUTS, Layout, LeptonLayout, Pass, choose_layout
from vrecompute_analyses.dilepton.leptons import Leptons, certified, leptons, trigger, weights
from vrecompute_analyses.dilepton.loop import CUTS, select

__all__ = ["Dilepton"]

_HISTOGRAMS = {
    # Published binning; after the mass window.
    "mass": np.asarray(PUBLISHED_EDGES_GEV),
    # The Z peak in bins of 0.25 GeV, and the whole spectrum in 100 bins of ln(m); both before the mass window.
    "z": np.linspace(60.0, 120.0, 241),
    "spectrum": np.geomspace(50.0, 6000.0, 101),
}


class Dilepton(Analysis):
    """Selects the ee or mumu pair of each event and fills its mass.

    Histograms `mass_*`, `z_*` and `spectrum_*` of each channel have axes (variation, mass in GeV) and Weight
    storage. Cutflow by channel; counters `electrons` and `muons` before any cut, and `uncertified` events.
    """

    name: ClassVar[str] = "dilepton"
    title: ClassVar[str] = "Dilepton resonance search: ee and mumu mass spectra"
    finish_function: ClassVar[str] = "vrecompute_analyses.dilepton.finish:finish"
    figures_function: ClassVar[str] = "vrecompute_analyses.dilepton.figures:figures"
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("channel", "both", "lepton flavours to select", str, ("both", "ee", "mumu")),
        Parameter("pt_min_gev", 30.0, "lepton pT (electron ET) above this"),
        Parameter("eta_max", 2.5, "|eta| of every lepton below this"),
        Parameter("electron_eta_max", 2.47, "|eta| of electrons also below this"),
        Parameter("electron_crack_eta", (1.37, 1.52), "|eta| of electrons outside lo,hi (0,0 for no gap)", tuple),
        Parameter("mass_window_gev", (225.0, 13_000.0), "pair mass within lo,hi", tuple),
        Parameter("opposite_sign", "mumu", "channels that require opposite charge", str, ("mumu", "both", "none")),
        Parameter("lepton_id", "medium", "identification, if present", str, ("any", "loose", "medium", "tight")),
        Parameter("isolation", True, "require isolation, if present", bool),
        Parameter("trigger", True, "require a trigger, if present", bool),
        Parameter("lepton_mass", "massless", "mass of leptons", str, ("massless", "physical")),
        Parameter("layout", "auto", "where columns are", str, ("auto", *LAYOUTS)),
    )

    def _passes(self, of: LeptonLayout, available: Sequence[str]) -> tuple[Pass, ...]:
        return of.passes(self["lepton_id"], self["isolation"], available)

    def columns(self, source: SourceView) -> Sequence[str]:
        """The columns of the first layout that fits; MissingColumn says what each lacks."""
        available = tuple(source.available)
        name = source.tree or source.sample.name
        layout = choose_layout(self["layout"], self["channel"], available, name)
        wanted: list[str] = []
        for flavour in FLAVOURS[self["channel"]]:
            of = layout.leptons[flavour]
            wanted.extend([*of.required, *(p.column for p in self._passes(of, available))])
            if self["trigger"]:
                wanted.extend([t for t in of.triggers if t in available][:1])
        sample = source.sample
        if sample.weight is not None and not sample.is_data:
            wanted.append(sample.weight)
        if sample.certified is not None:
            wanted.extend([layout.run, layout.section])
        if missing := [c for c in wanted if c not in source.available]:
            raise MissingColumn(name, f"sample {sample.name!r} needs {', '.join(missing)}, not in this source")
        return tuple(dict.fromkeys(wanted))

    def variations(self, sample: Sample) -> Sequence[str]:
        """The nominal one."""
        return ("nominal",)

    def process(self, events: Columns) -> Result:
        """Histograms, cutflow and counters of one chunk."""
        layout = choose_layout(self["layout"], self["channel"], events.names, events.source)
        weight, good = weights(events), certified(events, layout)
        result = Result(counters={"uncertified": float(len(good) - good.sum())})
        taken = np.zeros(len(events), dtype=np.bool_)
        for flavour, channel in (("electron", "ee"), ("muon", "mumu")):
            if flavour not in FLAVOURS[self["channel"]]:
                continue
            of = layout.leptons[flavour]  # type: ignore[index]
            found = leptons(events, layout, of, self._passes(of, events.names))
            result.counters[f"{flavour}s"] = float(len(found.pt_gev))
            fired = trigger(events, of) if self["trigger"] else np.ones(len(events), np.uint8)
            self._channel(channel, found, fired, weight, good, taken, result)
        return result

    def _channel(self, channel, found, fired, weight, good, taken, result):
        is_electron = channel == "ee"
        histograms = {
            name: bh.Histogram(
                bh.axis.StrCategory(["nominal"]), bh.axis.Variable(edges), storage=bh.storage.Weight()
            )
            for name, edges in _HISTOGRAMS.items()
        }
        sums = tuple(np.zeros((2, len(edges) + 1)) for edges in _HISTOGRAMS.values())
        axes = tuple(make_axis(edges) for edges in _HISTOGRAMS.values())
        counts = np.zeros(len(CUTS), dtype=np.int64)
        cuts = np.array([
            self["pt_min_gev"],
            min(self["eta_max"], self["electron_eta_max"]) if is_electron else self["eta_max"],
            *(self["electron_crack_eta"] if is_electron else (0.0, 0.0)),
            *self["mass_window_gev"],
            float(self["opposite_sign"] == "both" or (self["opposite_sign"] == "mumu" and not is_electron)),
            (0.0 if self["lepton_mass"] == "massless" else 0.51099895e-3 if is_electron else 0.1056583755),
        ])
        select(*found, fired, weight, good, taken, cuts, *axes, *sums, counts)
        for (name, histogram), total in zip(histograms.items(), sums, strict=True):
            view = histogram.view(flow=True)
            view.value[0], view.variance[0] = total[0], total[1]
            result.histograms[f"{name}_{channel}"] = histogram
        result.cutflow[channel] = dict(zip(CUTS, counts.astype(float).tolist(), strict=True))
