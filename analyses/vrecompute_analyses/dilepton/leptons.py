"""From the columns of any layout to collections in one form: GeV, a pass flag per lepton, a trigger per event."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute.datasets.columns import Columns
from vrecompute.errors import BadInput, CorruptFile
from vrecompute.kernels.loop.chunk import Collection
from vrecompute_analyses.dilepton.layouts import Layout, LeptonLayout, Pass

__all__ = ["leptons", "no_leptons", "trigger", "weights"]

# Medians of lepton pT that no sample of these units has.
_ABSURD_HIGH = {"GeV": 2_000.0, "MeV": 2_000_000.0}
_ABSURD_LOW = {"GeV": 0.3, "MeV": 300.0}


def leptons(events: Columns, layout: Layout, of: LeptonLayout, passes: tuple[Pass, ...]) -> Collection:
    """The leptons of one flavour, with columns pt (GeV), eta, phi, charge, and `passes`: 1 where all of these hold.

    Passes whose column the sample lacks are not asked for. Raises BadInput where momenta are absurd in the unit of
    the sample or layout.
    """
    pt = _joined(events, of.pt)
    offsets = _offsets(events, of)
    unit = events.sample.unit or layout.unit
    _check_unit(events, of.pt[0], pt, unit)
    columns = {
        "pt": np.divide(pt, 1000.0, dtype=np.float64) if unit == "MeV" else pt,
        "eta": _joined(events, of.eta),
        "phi": _joined(events, of.phi),
        "charge": _joined(events, of.charge).astype(np.int8),
        "passes": _passes(events, passes, len(pt)),
    }
    return Collection(offsets, columns)


def no_leptons(events: int, like: Collection) -> Collection:
    """A collection without a lepton, its columns of the same types, for the flavour that is not asked for."""
    return Collection(np.zeros(events + 1, dtype=np.int64), {n: v[:0] for n, v in like.columns.items()})


def _passes(events: Columns, passes: tuple[Pass, ...], size: int) -> NDArray[np.uint8]:
    flags = np.ones(size, dtype=np.bool_)
    for wanted in passes:
        if wanted.column not in events.names:
            continue
        values = events.flat(wanted.column)
        if wanted.mask is not None:
            values = values & wanted.mask
        flags &= values >= wanted.at_least
        if np.isfinite(wanted.at_most):
            flags &= values <= wanted.at_most
    return flags.view(np.uint8)


def _offsets(events: Columns, of: LeptonLayout) -> NDArray[np.int64]:
    if len(of.pt) > 1:
        return np.arange(len(events) + 1, dtype=np.int64) * len(of.pt)
    offsets = events.offsets(of.pt[0])
    for (column,) in (of.eta, of.phi, of.charge):
        other = events.offsets(column)
        if other is not offsets and not np.array_equal(other, offsets):
            raise CorruptFile(events.place, f"columns {of.pt[0]!r} and {column!r} differ in length per event")
    return offsets


def _joined(events: Columns, columns: tuple[str, ...]) -> NDArray[Any]:
    """One column, or scalar columns `pt1`, `pt2` taken in turn: shape (leptons,)."""
    if len(columns) == 1:
        return events.flat(columns[0])
    return np.stack([events.flat(c) for c in columns], axis=1).reshape(-1)


def _check_unit(events: Columns, column: str, pt: NDArray[Any], unit: str) -> None:
    if len(pt) < 10:
        return
    typical = float(np.median(pt[:10_000]))
    if not _ABSURD_LOW[unit] <= typical <= _ABSURD_HIGH[unit]:
        other = "MeV" if unit == "GeV" else "GeV"
        raise BadInput(
            events.place,
            f"a typical {column} is {typical:.6g} {unit}, which no sample has: if momenta are in {other}, "
            f"say so of its sample (unit: {other})",
        )


def trigger(events: Columns, of: LeptonLayout) -> NDArray[np.uint8]:
    """1 for events that fired the first trigger present, shape (events,); 1 everywhere where there is none."""
    for name in of.triggers:
        if name in events.names:
            return events.flat(name).astype(np.bool_, copy=False).view(np.uint8)
    return np.ones(len(events), dtype=np.uint8)


def weights(events: Columns) -> NDArray[np.float64]:
    """The sample's generator weights, float64 of shape (events,); 1 where it has none, or is data."""
    column = events.sample.weight
    if events.sample.is_data or column is None:
        return np.ones(len(events), dtype=np.float64)
    return events.flat(column).astype(np.float64)
