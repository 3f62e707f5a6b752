"""Layouts: where each file format keeps its leptons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from vrecompute.datasets.dataset import Unit
from vrecompute.errors import MissingColumn

__all__ = ["FLAVOURS", "LAYOUTS", "Flavour", "Layout", "LeptonLayout", "Pass", "choose_layout"]

Flavour = Literal["electron", "muon"]
# The flavours that each choice of `channel` needs.
FLAVOURS: Mapping[str, tuple[Flavour, ...]] = {"both": ("electron", "muon"), "ee": ("electron",), "mumu": ("muon",)}


@dataclass(frozen=True)
class Pass:
    """A per-lepton column and the values of it, inclusive and under `mask`, that pass."""

    column: str
    at_least: float = 1.0
    at_most: float = float("inf")
    mask: int | None = None


@dataclass(frozen=True)
class LeptonLayout:
    """The columns of one flavour: one jagged column per quantity, or one scalar column per lepton (`pt1`, `pt2`).

    `identification` is by working point. Identification, isolation and triggers are used where a
    sample has them; of several `triggers` the first one counts that any of its files has.
    """

    pt: tuple[str, ...]
    eta: tuple[str, ...]
    phi: tuple[str, ...]
    charge: tuple[str, ...]
    identification: Mapping[str, Pass] = field(default_factory=dict)
    isolation: Pass | None = None
    triggers: tuple[str, ...] = ()

    @property
    def required(self) -> tuple[str, ...]:
        """The columns without which there is no analysis."""
        return (*self.pt, *self.eta, *self.phi, *self.charge)

    def passes(self, point: str, isolated: bool) -> tuple[Pass, ...]:
        """What a lepton must pass at a working point ("any": no identification), as far as the sample has it."""
        wanted = (self.identification.get(point), self.isolation if isolated else None)
        return tuple(p for p in wanted if p is not None)


@dataclass(frozen=True)
class Layout:
    """One file format: its unit of momenta, and its leptons by flavour."""

    name: str
    unit: Unit
    leptons: Mapping[Flavour, LeptonLayout]


def _jagged(
    prefix: str,
    identification: Mapping[str, Pass],
    isolation: Pass | None = None,
    triggers: tuple[str, ...] = (),
) -> LeptonLayout:
    pt, eta, phi, charge = ((f"{prefix}{quantity}",) for quantity in ("pt", "eta", "phi", "charge"))
    return LeptonLayout(pt, eta, phi, charge, identification, isolation, triggers)


_POINTS = ("loose", "medium", "tight")


def _graded(column: str) -> dict[str, Pass]:
    """Working points graded as NanoAOD documents `Electron_cutBased`: 0 fail, 1 veto, 2 loose, 3 medium, 4 tight."""
    return {point: Pass(column, at_least=grade) for grade, point in enumerate(_POINTS, start=2)}


_NANOAOD = Layout(
    "nanoaod",
    "GeV",
    {
        "electron": _jagged(
            "Electron_",
            _graded("Electron_cutBased"),
            Pass("Electron_pfRelIso03_all", at_least=0.0, at_most=0.15),
            ("HLT_Ele32_WPTight_Gsf", "HLT_Ele35_WPTight_Gsf", "HLT_Ele27_WPTight_Gsf", "HLT_Ele23_WPLoose_Gsf"),
        ),
        "muon": _jagged(
            "Muon_",
            {point: Pass(f"Muon_{point}Id") for point in _POINTS},
            Pass("Muon_pfRelIso04_all", at_least=0.0, at_most=0.15),
            ("HLT_IsoMu24", "HLT_IsoMu27", "HLT_IsoMu20", "HLT_Mu50"),
        ),
    },
)


def _physlite(name: str, separator: str) -> Layout:
    """DAOD_PHYSLITE as a TTree ("." between store and field) or as an RNTuple (":").

    It keeps isolation as cone sums, not as a decision, so none is required. The two lowest bits of
    a muon's `quality` are 0 tight, 1 medium, 2 loose, 3 very loose (xAOD::Muon).
    """
    electron, muon = (f"{n}AuxDyn{separator}" for n in ("AnalysisElectrons", "AnalysisMuons"))
    electron_points = {point: Pass(f"{electron}DFCommonElectronsLH{point.title()}") for point in _POINTS}
    muon_points = {
        point: Pass(f"{muon}quality", at_least=0, at_most=worst, mask=3)
        for worst, point in enumerate(reversed(_POINTS))
    }
    return Layout(
        name,
        "MeV",
        {"electron": _jagged(electron, electron_points), "muon": _jagged(muon, muon_points)},
    )


_NTUPLE = Layout(
    "ntuple",
    "MeV",
    {
        "electron": _jagged(
            "el_",
            _graded("el_quality"),
            Pass("el_relIso", at_least=0.0, at_most=0.15),
            ("HLT_e26_lhtight_nod0_ivarloose", "HLT_e60_lhmedium_nod0"),
        ),
        "muon": _jagged(
            "mu_",
            {point: Pass(f"mu_is{point.title()}") for point in _POINTS},
            Pass("mu_relIso", at_least=0.0, at_most=0.15),
            ("HLT_mu26_ivarmedium", "HLT_mu50"),
        ),
    },
)
_FLAT = Layout(
    "flat",
    "GeV",
    {"muon": LeptonLayout(("pt1", "pt2"), ("eta1", "eta2"), ("phi1", "phi2"), ("Q1", "Q2"))},
)

LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (_NANOAOD, _physlite("physlite", "."), _physlite("physlite_rntuple", ":"), _NTUPLE, _FLAT)
}


def choose_layout(wanted: str, channel: str, available: Iterable[str], source: str) -> Layout:
    """The layout `wanted`, or with "auto" the first whose leptons of the channel are all `available`.

    Raises MissingColumn that says what each layout tried lacks, and which channel would do.
    """
    present = set(available)
    tried = LAYOUTS.values() if wanted == "auto" else (LAYOUTS[wanted],)
    lacks = []
    for layout in tried:
        missing = _missing(layout, channel, present)
        if not missing:
            return layout
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        lacks.append(f"{layout.name} lacks {', '.join(missing[:3])}{more}")
    would_do = [c for c in ("ee", "mumu") if c != channel and any(not _missing(x, c, present) for x in tried)]
    hint = f"; channel={would_do[0]} would do" if would_do else ""
    raise MissingColumn(source, f"no layout fits channel={channel}: {'; '.join(lacks)}{hint}")


def _missing(layout: Layout, channel: str, present: set[str]) -> list[str]:
    missing: list[str] = []
    for flavour in FLAVOURS[channel]:
        if flavour in layout.leptons:
            missing.extend(c for c in layout.leptons[flavour].required if c not in present)
        else:
            missing.append(f"{flavour}s")
    return missing
