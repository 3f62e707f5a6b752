"""From the columns of any layout to collections in one form: GeV, a pass flag per lepton, a trigger per event."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vrecompute.certified import certified_mask, read_golden
from vrecompute.columns import Columns
from vrecompute.errors import BadInput, DatasetError
from vrecompute_analyses.dilepton.layouts import Layout, LeptonLayout, Pass

__all__ = ["Leptons", "certified", "leptons", "trigger", "weights"]

# A median of leading-lepton pT above this is in MeV whatever the layout says: no collider makes such a sample.
_ABSURD_PT_GEV = 2_000.0
# Below this a median is in GeV although the layout says MeV.
_ABSURD_PT_MEV = 300.0


class Leptons(NamedTuple):
    """Leptons of one flavour: `offsets` of shape (events + 1,), the other arrays of shape (leptons,).

    `passes` is 1 where identification and isolation hold, as far as the source has them.
    """

    offsets: NDArray[np.int64]
    pt_gev: NDArray[np.floating[Any]]
    eta: NDArray[np.floating[Any]]
    phi: NDArray[np.floating[Any]]
    charge: NDArray[np.int8]
    passes: NDArray[np.uint8]


def leptons(events: Columns, layout: Layout, of: LeptonLayout, passes: tuple[Pass, ...]) -> Leptons:
    """The leptons of one flavour. BadInput where momenta are absurd in the unit of the sample or layout."""
    pt = _joined(events, of.pt)
    offsets = np.arange(len(events) + 1, dtype=np.int64) * len(of.pt)
    if len(of.pt) == 1:
        for column in (of.pt, of.eta, of.phi, of.charge):
            offsets = events.offsets(column[0])
    unit = events.sample.unit or layout.unit
    _check_unit(events, of.pt[0], pt, unit)
    flags = np.ones(len(pt), dtype=np.bool_)
    for wanted in passes:
        values = events.flat(wanted.column)
        if wanted.mask is not None:
            values = values & wanted.mask
        flags &= values >= wanted.at_least
        if np.isfinite(wanted.at_most):
            flags &= values <= wanted.at_most
    return Leptons(
        offsets,
        pt / 1000.0 if unit == "MeV" else pt,
        _joined(events, of.eta),
        _joined(events, of.phi),
        _joined(events, of.charge).astype(np.int8),
        flags.view(np.uint8),
    )


def _joined(events: Columns, columns: tuple[str, ...]) -> NDArray[Any]:
    """One column, or scalar columns `pt1`, `pt2` taken in turn: shape (leptons,)."""
    if len(columns) == 1:
        return events.flat(columns[0])
    return np.stack([events.flat(c) for c in columns], axis=1).reshape(-1)


def _check_unit(events: Columns, column: str, pt: NDArray[Any], unit: str) -> None:
    if len(pt) < 10:
        return
    typical = float(np.median(pt))
    other = "MeV" if unit == "GeV" else "GeV"
    if (unit == "GeV" and typical > _ABSURD_PT_GEV) or (unit == "MeV" and typical < _ABSURD_PT_MEV):
        raise BadInput(
            events.source,
            f"a typical {column} is {typical:.6g} {unit}, which no sample has: momenta look like {other}. "
            f"Give sample {events.sample.name!r} the right unit (unit: {other})",
        )


def trigger(events: Columns, of: LeptonLayout) -> NDArray[np.uint8]:
    """1 for events that fired the first trigger present, shape (events,); 1 everywhere where there is none."""
    for name in of.triggers:
        if name in events.names:
            return events.flat(name).astype(np.bool_).view(np.uint8)
    return np.ones(len(events), dtype=np.uint8)


def weights(events: Columns) -> NDArray[np.float64]:
    """The sample's generator weights, float64 of shape (events,); 1 where it has none, or is data.

    BadInput names the first event whose weight is not finite.
    """
    column = events.sample.weight
    if events.sample.is_data or column is None:
        return np.ones(len(events), dtype=np.float64)
    values = events.flat(column).astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        first = int(bad[0])
        raise BadInput(
            events.source,
            f"weight {column!r} is {values[first]} in event {events.start + first} "
            f"({bad.size} such in events {events.start}-{events.stop})",
        )
    return values


def certified(events: Columns, layout: Layout) -> NDArray[np.uint8]:
    """1 for events in a certified luminosity section, shape (events,); 1 everywhere where the sample names no list.

    The list is the resource `certified`; DatasetError where the sample names one and it was not delivered.
    """
    if events.sample.certified is None:
        return np.ones(len(events), dtype=np.uint8)
    if "certified" not in events.resources:
        raise DatasetError(f"sample {events.sample.name!r}: its list {events.sample.certified!r} was not delivered")
    golden = read_golden(events.resources["certified"])
    return certified_mask(events.flat(layout.run), events.flat(layout.section), golden).view(np.uint8)
