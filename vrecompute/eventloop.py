"""Run an `EventLoop` on the columns of a chunk, and give its `Result`. No number is made here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import boost_histogram as bh
import numpy as np
from numpy.typing import NDArray

from vrecompute.analysis import SourceView
from vrecompute.datasets.columns import Columns
from vrecompute.errors import AnalysisError, BadInput, MissingColumn
from vrecompute.execution.events import check_weights
from vrecompute.kernels.eventloop import EventLoop
from vrecompute.kernels.loop.bounds import OutsideEvent
from vrecompute.kernels.loop.chunk import Collection, Filled, FilledHistogram
from vrecompute.nearest import hint
from vrecompute.results.result import Result

__all__ = ["check_weights", "declared_columns", "run_loop", "to_result", "weight_vector"]


def declared_columns(loop: EventLoop, names: Mapping[str, str], source: SourceView) -> tuple[str, ...]:
    """The columns of a source that a loop reads, for `Analysis.columns`.

    `names` gives the pattern of each collection's columns ("muon": "Muon_{}"), and of "event" where its
    columns are not called by their own names; "event.weight" is the sample's weight column, if it has
    one. Raises MissingColumn that names what the source lacks.
    """
    wanted = [column for need in loop.needs() if (column := _column(need, names, source.sample.weight)) is not None]
    counted = {group: _any_column(group, names, source.available) for group in loop.counted()}
    if nothing := [group for group, column in counted.items() if column is None]:
        raise MissingColumn(
            source.path or source.tree, f"the event loop counts {', '.join(nothing)}, of which it has no column"
        )
    wanted += [column for column in counted.values() if column is not None]
    if missing := [c for c in wanted if c not in source.available]:
        raise MissingColumn(source.path or source.tree, f"the event loop reads {', '.join(missing)}, which it lacks")
    return tuple(dict.fromkeys(wanted))


def run_loop(
    loop: EventLoop,
    events: Columns,
    names: Mapping[str, str],
    parameters: Mapping[str, float] | None = None,
    weights: Mapping[str, NDArray[Any] | Mapping[str, NDArray[Any]]] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Result:
    """The Result of a loop over one chunk, all `events.variations` at once; `names` as in `declared_columns`.

    `weights` are variations of the weight alone, as `EventLoop.run` takes them; several that belong together may be a
    mapping, {"pu": {"up": factors, "down": factors}}, and are called pu_up and pu_down. `labels` are those of the value
    axis of histograms, by name. `event.weight` is 1 where the sample has no weight column. Raises BadInput that names
    the event where a weight is not finite, AnalysisError where `labels` names no histogram,
    OutsideEvent where a function reads at an index that its event does not have.
    """
    needs = loop.needs()
    grouped: dict[str, dict[str, str]] = {}
    for need in needs:
        group, _, name = need.partition(".")
        grouped.setdefault(group, {})[name] = need
    event = {}
    for name, need in grouped.pop("event", {}).items():
        column = _column(need, names, events.sample.weight)
        event[name] = np.ones(len(events)) if column is None else events.flat(column)
    collections = {
        group: _collection(events, {n: _given(need, names) for n, need in members.items()})
        for group, members in grouped.items()
    }
    for group in loop.counted():
        column = _any_column(group, names, events.names)
        collections[group] = Collection(events.offsets(column or group), {})
    if events.sample.weight is not None and "weight" in event:
        check_weights(events, events.sample.weight, event["weight"])
    factors = _by_name(weights or {})
    for name, values in factors.items():
        check_weights(events, name, values)
    try:
        filled = loop.run(
            len(events),
            collections=collections,
            event=event,
            parameters=parameters,
            variations=events.variations,
            weights=factors,
        )
    except OutsideEvent as error:
        error.place = f"event {events.entries[error.event]} of {events.place}"
        raise
    return to_result(filled, labels)


def _by_name(weights: Mapping[str, NDArray[Any] | Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Factors by the names of their variations."""
    named: dict[str, NDArray[Any]] = {}
    for name, factors in weights.items():
        if isinstance(factors, Mapping):
            named |= {f"{name}_{way}": values for way, values in factors.items()}
        else:
            named[name] = factors
    return named


def _collection(events: Columns, columns: Mapping[str, str]) -> Collection:
    """Columns of one collection (its names to the source's); BadInput where they differ in length per event."""
    first, *others = columns.values()
    offsets = events.offsets(first)
    for other in others:
        if events.offsets(other) is not offsets and not np.array_equal(events.offsets(other), offsets):
            raise BadInput(events.place, f"columns {first!r} and {other!r} differ in length per event")
    return Collection(offsets, {name: events.flat(column) for name, column in columns.items()})


def weight_vector(events: Columns, column: str) -> NDArray[Any]:
    """A list of weights per event (`LHEPdfWeight`) as factors of shape (events, n), for `run_loop`.

    Raises BadInput where events have lists of different length, which name no variations.
    """
    lengths = np.diff(events.offsets(column))
    if lengths.size and not np.all(lengths == lengths[0]):
        first = int(np.argmax(lengths != lengths[0]))
        raise BadInput(
            events.place,
            f"{column!r} has {lengths[first]} weights in event {events.entries[first]}, {lengths[0]} in the one before",
        )
    return events.flat(column).reshape(len(events), int(lengths[0]) if lengths.size else 0)


def to_result(filled: Filled, labels: Mapping[str, str] | None = None) -> Result:
    """The same numbers as boost-histograms of axes (variation, value) and Weight storage, cutflow and counters.

    AnalysisError where `labels` names no histogram.
    """
    if unknown := sorted(set(labels or {}) - set(filled.histograms)):
        raise AnalysisError(f"there is no histogram {unknown[0]!r} to label{hint(unknown[0], filled.histograms)}")
    return Result(
        histograms={name: _histogram(h, (labels or {}).get(name)) for name, h in filled.histograms.items()},
        cutflow={channel: {cut: float(n) for cut, n in cuts.items()} for channel, cuts in filled.cutflow.items()},
        counters=dict(filled.counters),
    )


def _histogram(filled: FilledHistogram, label: str | None) -> bh.Histogram[Any]:
    values = bh.axis.Variable(filled.edges)
    if label is not None:
        values.label = label
    histogram = bh.Histogram(bh.axis.StrCategory(filled.variations), values, storage=bh.storage.Weight())
    view = histogram.view(flow=True)
    rows = len(filled.variations)
    view["value"][:rows] = filled.sums
    view["variance"][:rows] = filled.squares
    return histogram


def _any_column(group: str, names: Mapping[str, str], available: Iterable[str]) -> str | None:
    """A column of the collection, the first by name: all of them have its lengths."""
    head, _, tail = names.get(group, group + "_{}").partition("{}")
    of_it = (name for name in available if name.startswith(head) and name.endswith(tail))
    return min((name for name in of_it if len(name) > len(head) + len(tail)), default=None)


def _given(need: str, names: Mapping[str, str]) -> str:
    group, _, column = need.partition(".")
    return names.get(group, "{}" if group == "event" else group + "_{}").format(column)


def _column(need: str, names: Mapping[str, str], weight: str | None) -> str | None:
    """The source's name of what a loop reads, None for the weight of a sample without one."""
    return weight if need == "event.weight" else _given(need, names)
