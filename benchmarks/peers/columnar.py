"""The selection in awkward array operations, for uproot + awkward and for coffea, in two styles.

`usual` is how public analyses with systematic variations are written: a function makes the whole selection on all
events of a chunk, and is called once per variation. `tuned` is the least work we know how to ask of the library:
whatever no variation changes is cut on once, first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np

from benchmarks import task
from benchmarks.task import Outcome, Variation


def select(column: Callable[[str], Any], style: str) -> Outcome:
    """The outcome of one chunk; `column` gives a column by its name in the file."""
    return {"usual": _usual, "tuned": _tuned}[style](column)


def _usual(column: Callable[[str], Any]) -> Outcome:
    outcome = Outcome.empty()
    for channel, trigger in task.TRIGGER.items():
        fired, weight = column(trigger), column(task.WEIGHT)
        leptons = ak.zip({m: column(f"{task.COLLECTION[channel]}_{m}") for m in task.MEMBERS[channel]})
        # Single precision would move masses across bin edges.
        for member in ("pt", "eta", "phi"):
            leptons[member] = ak.values_astype(leptons[member], np.float64)
        normal = _normal(channel, leptons.pt, leptons.phi)
        for number, variation in enumerate(task.VARIATIONS[channel]):
            shifted = ak.with_field(leptons, _shifted(leptons.pt, normal, variation), "pt") if number else leptons
            mass_gev, weights, passed = _usual_pairs(channel, shifted, fired, weight)
            outcome.spectra[channel][number] = _spectrum(mass_gev, weights)
            if number == 0:
                outcome.cutflow[channel] = [len(fired), int(ak.sum(fired)), *passed, _inside(mass_gev)]
    return outcome


def _usual_pairs(channel: str, leptons: Any, fired: Any, weight: Any) -> tuple[Any, Any, tuple[int, int]]:
    selected = leptons[(leptons.pt > task.PT_MIN_GEV) & _good(channel, {m: leptons[m] for m in leptons.fields})]
    chosen = fired & (ak.num(selected) >= 2)
    selected, weight = selected[chosen], weight[chosen]
    selected = selected[ak.argsort(selected.pt, axis=1, ascending=False)]
    one, two = selected[:, 0], selected[:, 1]
    opposite = one.charge * two.charge < 0
    one, two, weight = one[opposite], two[opposite], weight[opposite]
    mass_gev = np.sqrt(2.0 * one.pt * two.pt * (np.cosh(one.eta - two.eta) - np.cos(one.phi - two.phi)))
    passed = int(ak.sum(chosen)), int(ak.sum(opposite))
    return ak.to_numpy(mass_gev), ak.to_numpy(weight).astype(np.float64), passed


def _tuned(column: Callable[[str], Any]) -> Outcome:
    outcome = Outcome.empty()
    for channel, trigger in task.TRIGGER.items():
        fired = np.asarray(column(trigger))
        members = {m: column(f"{task.COLLECTION[channel]}_{m}")[fired] for m in task.MEMBERS[channel]}
        good = _good(channel, members)
        enough = ak.sum(good, axis=1) >= 2
        good = good[enough]
        pt, eta, phi, charge = (members[m][enough][good] for m in ("pt", "eta", "phi", "charge"))
        weight = np.asarray(column(task.WEIGHT))[fired][np.asarray(enough)].astype(np.float64)
        pt = ak.values_astype(pt, np.float64)
        normal = _normal(channel, pt, phi)
        for number, variation in enumerate(task.VARIATIONS[channel]):
            shifted = _shifted(pt, normal, variation) if number else pt
            mass_gev, used, selected = _tuned_pairs(shifted, eta, phi, charge)
            outcome.spectra[channel][number] = _spectrum(mass_gev, weight[used])
            if number == 0:
                passed = int(np.count_nonzero(fired)), selected, len(mass_gev)
                outcome.cutflow[channel] = [len(fired), *passed, _inside(mass_gev)]
    return outcome


def _normal(channel: str, pt: Any, phi: Any) -> Any:
    flat = task.smearing(ak.to_numpy(ak.flatten(pt)), ak.to_numpy(ak.flatten(phi)), channel)
    return ak.unflatten(flat, ak.num(pt))


def _shifted(pt: Any, normal: Any, variation: Variation) -> Any:
    return pt * (1.0 + variation.shift * (normal if variation.kind == "resolution" else 1.0))


def _good(channel: str, members: dict[str, Any]) -> Any:
    eta = abs(members["eta"])
    if channel == "mumu":
        good = members["mediumId"] & (members["pfRelIso04_all"] <= task.ISOLATION_MAX)
        return good & (eta < task.ETA_MAX[channel])
    low, high = task.CRACK_ETA
    good = (members["cutBased"] >= task.CUT_BASED_MEDIUM) & (members["pfRelIso03_all"] <= task.ISOLATION_MAX)
    return good & (eta < task.ETA_MAX[channel]) & ~((eta > low) & (eta < high))


def _tuned_pairs(pt: Any, eta: Any, phi: Any, charge: Any) -> tuple[Any, Any, int]:
    """Mass of the leading opposite-sign pairs, the mask of events they are of, and the number before the sign cut."""
    above = pt > task.PT_MIN_GEV
    two = np.asarray(ak.sum(above, axis=1) >= 2)
    above = above[two]
    pt = pt[two][above]
    order = ak.argsort(pt, axis=1, ascending=False)[:, :2]
    first_two = [_columns(c[order]) for c in (pt, eta[two][above], phi[two][above], charge[two][above])]
    (pt1, pt2), (eta1, eta2), (phi1, phi2), (charge1, charge2) = first_two
    opposite = charge1 * charge2 < 0
    squared = 2.0 * pt1 * pt2 * (np.cosh(eta1 - eta2) - np.cos(phi1 - phi2))
    used = np.zeros(len(two), dtype=np.bool_)
    used[np.flatnonzero(two)[opposite]] = True
    return np.sqrt(squared[opposite]), used, int(np.count_nonzero(two))


def _columns(pairs: Any) -> tuple[Any, Any]:
    """Two arrays from a list of two per event."""
    flat = ak.to_numpy(ak.flatten(pairs)).reshape(-1, 2).astype(np.float64)
    return flat[:, 0], flat[:, 1]


def _spectrum(mass_gev: Any, weight: Any) -> Any:
    bins = np.searchsorted(task.EDGES_GEV, mass_gev, side="right")
    sums = (np.bincount(bins, w, minlength=task.BINS + 2)[1 : task.BINS + 1] for w in (weight, weight * weight))
    return np.stack(list(sums), axis=-1)


def _inside(mass_gev: Any) -> int:
    low, high = task.MASS_RANGE_GEV
    return int(np.count_nonzero((mass_gev >= low) & (mass_gev <= high)))
