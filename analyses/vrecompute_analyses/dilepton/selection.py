"""The dilepton selection of arXiv:1903.06248 section 3, event by event, with all its variations in one pass."""

# The names of arguments are their types in an event loop.
# mypy: allow-untyped-defs, allow-untyped-calls
# ruff: noqa: ANN001, ANN201, D103, RET503
from __future__ import annotations

import math

import numpy as np

from vrecompute.kernels.eventloop import EventLoop
from vrecompute.kernels.loop.normal import hashed_normal
from vrecompute_analyses.dilepton.edges import PUBLISHED_EDGES_GEV

__all__ = [
    "before_cuts",
    "ee",
    "ee_fired",
    "electron_noise",
    "electron_resolution",
    "electron_scale",
    "good_electron",
    "good_muon",
    "leading_pair",
    "loop",
    "mass",
    "mumu",
    "mumu_fired",
    "mumu_pair",
    "muon_noise",
    "muon_resolution",
    "muon_scale",
    "opening",
]

Z_GEV = np.linspace(60.0, 120.0, 241)
SPECTRUM_GEV = np.geomspace(50.0, 6000.0, 101)

loop = EventLoop(
    mass_ee=PUBLISHED_EDGES_GEV, z_ee=Z_GEV, spectrum_ee=SPECTRUM_GEV,
    mass_mumu=PUBLISHED_EDGES_GEV, z_mumu=Z_GEV, spectrum_mumu=SPECTRUM_GEV,
)  # fmt: skip


@loop.vary(
    "electron.pt", electron_scale_up=+0.005, electron_scale_down=-0.005, momentum_up=+0.002, momentum_down=-0.002
)
def electron_scale(electron, i, shift):
    return electron.pt[i] * (1.0 + shift)


@loop.once
def electron_noise(electron, i):
    return hashed_normal(electron.pt[i], electron.phi[i], 11)


@loop.once
def muon_noise(muon, i):
    return hashed_normal(muon.pt[i], muon.phi[i], 13)


@loop.vary("electron.pt", electron_resolution_up=+0.01, electron_resolution_down=-0.01)
def electron_resolution(electron, i, shift):
    return electron.pt[i] * (1.0 + shift * electron_noise(electron, i))


@loop.vary("muon.pt", muon_scale_up=+0.005, muon_scale_down=-0.005, momentum_up=+0.002, momentum_down=-0.002)
def muon_scale(muon, i, shift):
    return muon.pt[i] * (1.0 + shift)


@loop.vary("muon.pt", muon_resolution_up=+0.02, muon_resolution_down=-0.02)
def muon_resolution(muon, i, shift):
    return muon.pt[i] * (1.0 + shift * muon_noise(muon, i))


@loop.column("electron.good")
def good_electron(electron, i, p):
    eta = abs(electron.eta[i])
    crack = p.crack_eta_low < eta < p.crack_eta_high
    return electron.passes[i] and eta < min(p.eta_max, p.electron_eta_max) and not crack


@loop.column("muon.good")
def good_muon(muon, i, p):
    return muon.passes[i] and abs(muon.eta[i]) < p.eta_max


def leading_pair(lepton, p):
    """Indices of the two good leptons of highest pT, the second -1 where there are fewer."""
    a = b = -1
    for i in range(len(lepton)):
        if lepton.good[i] and lepton.pt[i] > p.pt_min_gev:
            if a < 0 or lepton.pt[i] > lepton.pt[a]:
                a, b = i, a
            elif b < 0 or lepton.pt[i] > lepton.pt[b]:
                b = i
    return a, b


@loop.once
def opening(lepton, a, b):
    """m^2/(pT_a pT_b) of massless leptons: what of a mass no momentum scale changes."""
    return 2.0 * (math.cosh(lepton.eta[a] - lepton.eta[b]) - math.cos(lepton.phi[a] - lepton.phi[b]))


def mass(lepton, a, b, lepton_mass_gev):
    pt_pt, extra = lepton.pt[a] * lepton.pt[b], 0.0
    if lepton_mass_gev > 0.0:  # 2 M^2 + 2 (E_a E_b - |p_a| |p_b|), the rest of (p_a + p_b)^2
        p_a, p_b = lepton.pt[a] * math.cosh(lepton.eta[a]), lepton.pt[b] * math.cosh(lepton.eta[b])
        square = lepton_mass_gev**2
        extra = 2.0 * (square + (math.sqrt((p_a**2 + square) * (p_b**2 + square)) - p_a * p_b))
    return math.sqrt(pt_pt * opening(lepton, a, b) + extra)


@loop.step
def before_cuts(electron, muon, count):
    count.electrons(len(electron))
    count.muons(len(muon))


@loop.step
def ee_fired(event, cut):
    cut.ee("events")
    if event.fired_ee:
        cut.ee("trigger")
        return True


@loop.step
def ee(ee_fired, electron, event, p, cut, mass_ee, z_ee, spectrum_ee):
    a, b = leading_pair(electron, p)
    if b < 0:
        return None
    cut.ee("two_leptons")
    if p.ee_opposite_sign == 0 or electron.charge[a] * electron.charge[b] < 0:
        cut.ee("opposite_sign")
        m = mass(electron, a, b, p.electron_mass_gev)
        z_ee.fill(m, event.weight)
        spectrum_ee.fill(m, event.weight)
        if p.mass_low_gev <= m <= p.mass_high_gev:
            cut.ee("mass_window")
            mass_ee.fill(m, event.weight)
    return True


@loop.step
def mumu_fired(event, cut):
    cut.mumu("events")
    if event.fired_mumu:
        cut.mumu("trigger")
        return True


@loop.step
def mumu_pair(mumu_fired, muon, p):
    a, b = leading_pair(muon, p)
    if b >= 0:
        return mass(muon, a, b, p.muon_mass_gev), muon.charge[a] * muon.charge[b]


@loop.step
def mumu(mumu_pair, event, p, cut, mass_mumu, z_mumu, spectrum_mumu, ee=None):
    cut.mumu("two_leptons")
    if ee is not None:
        return
    cut.mumu("not_ee")
    m, charge = mumu_pair
    if p.mumu_opposite_sign == 0 or charge < 0:
        cut.mumu("opposite_sign")
        z_mumu.fill(m, event.weight)
        spectrum_mumu.fill(m, event.weight)
        if p.mass_low_gev <= m <= p.mass_high_gev:
            cut.mumu("mass_window")
            mass_mumu.fill(m, event.weight)
