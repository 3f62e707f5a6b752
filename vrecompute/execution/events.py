"""What the framework does to the events of a chunk before `process` gets them: weights, certified sections, units."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute.datasets.columns import Column, Columns
from vrecompute.errors import AnalysisError, BadInput, DatasetError
from vrecompute.execution.reading import Reading
from vrecompute.kernels.certified import Golden, certified_mask, read_golden
from vrecompute.results.plainarray import refuse_missing
from vrecompute.results.result import Result

__all__ = ["CERTIFIED", "check_weights", "count_certified", "events_given", "sum_of_weights"]

# The channel of the cutflow that vrecompute fills.
CERTIFIED = "certified"


def sum_of_weights(events: Columns, weight: str | None) -> float:
    """The sum of the sample's weights over a chunk as it was read, the number of its events where it has none.

    Raises BadInput where the column holds not one finite number per event.
    """
    if weight is None:
        return float(len(events))
    values = _one_number_per_event(events, weight, "weight")
    check_weights(events, weight, values)
    with np.errstate(over="ignore"):
        total = float(np.sum(values, dtype=np.float64))
    if not np.isfinite(total):
        last = events.stop - 1
        raise BadInput(events.place, f"weights {weight!r} of the events {events.start} to {last} add up to {total}")
    return total


def check_weights(events: Columns, column: str, values: NDArray[Any]) -> None:
    """BadInput that names the first event whose weight is not finite, AnalysisError where weights are masked."""
    refuse_missing(f"weight {column!r}", values)
    finite = np.isfinite(values)
    bad = np.flatnonzero(~(finite if values.ndim == 1 else finite.all(axis=1)))
    if bad.size:
        raise BadInput(
            events.place,
            f"weight {column!r} is {values[bad[0]]} in event {events.entries[bad[0]]}; it is not finite "
            f"in {bad.size} of the events {events.start} to {events.stop - 1}",
        )


def events_given(events: Columns, reading: Reading, certified: Path | None = None) -> Columns:
    """What `process` gets of a chunk: the columns that the analysis declared, of certified events, momenta in GeV.

    `certified` is the sample's list of certified sections. Raises BadInput where run or luminosity section is not one
    number per event, DatasetError where the list did not reach the worker.
    """
    read = events.columns
    columns = {name: read.get(name) or _constant(reading.absent[name], len(events)) for name in reading.given}
    for name in reading.absent:
        if columns[name].offsets is not None:
            raise AnalysisError(f"{name!r} holds a list per event: `absent` is for columns of one value per event")
    for name in reading.momenta:
        columns[name] = replace(columns[name], values=columns[name].values / 1000.0)
    sample = replace(events.sample, unit="GeV") if reading.momenta else events.sample
    given = replace(events, columns=columns, sample=sample)
    return given.select(_certified(events, reading, certified)) if reading.sections else given


def count_certified(result: Result, events: Columns, read: int) -> None:
    """Add the cutflow of the certified sections: of `read` events those that `process` got."""
    if CERTIFIED in result.cutflow:
        raise AnalysisError(f"the cutflow channel {CERTIFIED!r} is reserved; rename that of the analysis")
    result.cutflow = {CERTIFIED: {"events": float(read), CERTIFIED: float(len(events))}, **result.cutflow}


def _certified(events: Columns, reading: Reading, path: Path | None) -> NDArray[np.bool_]:
    if path is None:
        raise DatasetError(
            f"sample {events.sample.name!r}: the worker does not have its list {events.sample.certified!r}"
        )
    run, section = (_whole_numbers(events, name) for name in reading.sections)
    return certified_mask(run, section, _golden(path))


@lru_cache(maxsize=8)
def _golden(path: Path) -> Golden:
    """Read once a process: the path of a resource is made of its content."""
    return read_golden(path)


def _whole_numbers(events: Columns, name: str) -> NDArray[Any]:
    """A column of run or luminosity section as integers; BadInput that names the first event with another number."""
    values = _one_number_per_event(events, name, "luminosity-section")
    good = values >= 0
    if values.dtype.kind == "f":  # from some size on, as 2**24 of float32, integers are written as their neighbours
        good &= (values < 2.0 ** (np.finfo(values.dtype).nmant + 1)) & (np.floor(values) == values)
    if not good.all():
        bad = np.flatnonzero(~good)
        raise BadInput(
            events.place,
            f"luminosity-section column {name!r} is {values[bad[0]]} in event {events.entries[bad[0]]}; it is no whole "
            f"number from 0 on that {values.dtype} holds exactly in {bad.size} of the events {events.start} to "
            f"{events.stop - 1}",
        )
    return values.astype(np.int64) if values.dtype.kind == "f" else values


def _one_number_per_event(events: Columns, name: str, use: str) -> NDArray[Any]:
    column = events.column(name)
    if column.offsets is not None:
        lengths = np.diff(column.offsets)
        first = int(np.argmax(lengths != 1)) if len(lengths) else None
        such = "" if first is None else f", {lengths[first]} values in event {events.entries[first]}"
        raise BadInput(events.place, f"{use} column {name!r} holds lists{such}; it must hold one number per event")
    if column.values.dtype.kind not in "biuf":
        raise BadInput(events.place, f"{use} column {name!r} holds {column.values.dtype}, not numbers")
    return column.values


def _constant(value: float | str, events: int) -> Column:
    return Column(np.full(events, float(value) if isinstance(value, str) else value))
