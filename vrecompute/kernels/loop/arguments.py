"""The arguments of a generated loop for one chunk: arrays by name, scratch, and which variation reads which row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import UsageError
from vrecompute.kernels.loop.binning import Axis
from vrecompute.kernels.loop.bounds import no_fault
from vrecompute.kernels.loop.chunk import Chunk, Filled, FilledHistogram
from vrecompute.kernels.loop.generate import Prepared, Step
from vrecompute.kernels.loop.rewrite import Names
from vrecompute.kernels.loop.source_map import Where

__all__ = ["Arguments", "refuse_masked"]


class Arguments:
    """Everything a loop is called with; `filled` reads the result out of the same arrays afterwards."""

    def __init__(
        self,
        names: Names,
        prepared: Sequence[Prepared],
        steps: Sequence[Step],
        axes: Mapping[str, Axis],
        shifts: Mapping[str, Mapping[str, float]],
        chunk: Chunk,
    ) -> None:
        self.names, self.prepared, self.steps = names, prepared, steps
        self.axes, self.shifts, self.chunk = axes, shifts, chunk
        self.cuts = np.zeros(len(names.cuts), dtype=np.int64)
        self.counters = np.zeros(len(names.counters), dtype=np.float64)
        self.fault = no_fault()
        self.rows_of_column = self._column_rows()
        self.rows_of_step, self.rows_of_histogram = self._step_rows()
        self.sums = {
            h: np.zeros(len(rows) * (axes[h].edges.size + 1) * 2) for h, rows in self.rows_of_histogram.items()
        }
        n = len(chunk.weight_names)
        self.factor_sums = {h: np.zeros((axes[h].edges.size + 1, 2, n)) for h in self.sums} if n else {}

    def _ordered(self, wanted: set[str]) -> tuple[str, ...]:
        return ("nominal", *(v for v in self.chunk.variations if v in wanted and v != "nominal"))

    def _column_rows(self) -> dict[str, tuple[str, ...]]:
        """Variations of each prepared column, the nominal one first."""
        rows: dict[str, tuple[str, ...]] = {}
        for column in self.prepared:
            wanted = {v for m in column.makers for v in self.shifts[m.name]}
            for inner in column.derive.prepared if column.derive else ():
                wanted |= set(rows[inner])
            rows[f"{column.collection}.{column.name}"] = self._ordered(wanted)
        return rows

    def _step_rows(self) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
        """Variations of each step and histogram: a histogram has those of all that fill it, and they have its."""
        steps: dict[str, set[str]] = {s.name: set() for s in self.steps}
        histograms: dict[str, set[str]] = {h: set() for s in self.steps for h in s.function.fills}
        changed = True
        while changed:
            before = sum(map(len, (*steps.values(), *histograms.values())))
            for s in self.steps:
                mine = steps[s.name]
                mine |= {v for c in s.function.prepared for v in self.rows_of_column[c]}
                mine |= {v for d in (*s.requires, *s.optional) for v in steps[d]}
                mine |= {v for h in s.function.fills for v in histograms[h]}
                for h in s.function.fills:
                    histograms[h] |= mine
            changed = sum(map(len, (*steps.values(), *histograms.values()))) != before
        return (
            {name: self._ordered(wanted) for name, wanted in steps.items()},
            {name: self._ordered(wanted) for name, wanted in histograms.items()},
        )

    def values(self) -> dict[str, Any]:
        """Arguments by name. Raises UsageError for a column or parameter that a function names but is not given."""
        made: dict[str, Any] = {"_events": self.chunk.events, "_cuts": self.cuts, "_counters": self.counters}
        made["_fault"] = self.fault
        made |= self._collections()
        for name, where in self.names.event.items():
            column = _given(self.chunk.event, name, f"event.{name}", where)
            if len(column) != self.chunk.events:
                raise UsageError(f"event.{name} has {len(column)} values for {self.chunk.events} events")
            made[f"_column__{name}"] = _input(column, f"event.{name}")
        for name, where in self.names.parameters.items():
            made[f"_p__{name}"] = float(_given(self.chunk.parameters, name, f"parameter p.{name}", where))
        for h, rows in self.rows_of_histogram.items():
            made[f"_axis__{h}"], made[f"_sums__{h}"] = self.axes[h], self.sums[h]
            if self.chunk.weight_names:
                made[f"_factor_sums__{h}"] = self.factor_sums[h]
            for s in self.steps:
                made[f"_route__{s.name}__{h}"] = _route(self.rows_of_step[s.name], rows)
        if self.chunk.weight_names:
            if len(self.chunk.factors) != self.chunk.events:
                raise UsageError(f"weights have {len(self.chunk.factors)} rows for {self.chunk.events} events")
            made["_factors"] = _input(self.chunk.factors, "weights")
        for helper in self.names.helpers.values():
            if helper.once:
                made[f"_memo__{helper.name}"] = np.full(1 + len(helper.numbers), -1.0)
                made[f"_kept__{helper.name}"] = np.zeros(1)
        for s in self.steps:
            states = len(self.rows_of_step[s.name])
            made[f"_states__{s.name}"] = states
            made[f"_has__{s.name}"] = np.zeros(states, dtype=np.bool_)
            made[f"_values__{s.name}"] = np.zeros((states, s.function.values))
            for d in (*s.requires, *s.optional):
                made[f"_route__{s.name}__{d}"] = _route(self.rows_of_step[s.name], self.rows_of_step[d])
        return made | self._scratch()

    def _collections(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, collection in self.chunk.collections.items():
            if len(collection.offsets) != self.chunk.events + 1:
                raise UsageError(f"{name}: {len(collection.offsets)} offsets for {self.chunk.events} events")
            made[f"_offsets__{name}"] = _input(collection.offsets.astype(np.int64, copy=False), f"offsets of {name}")
        for column, where in self.names.columns.items():
            c, name = column.split(".")
            collection = _given(self.chunk.collections, c, f"collection {c!r}", where)
            values = _given(collection.columns, name, f"column {column}", where)
            if len(values) < collection.offsets[-1]:
                raise UsageError(f"{column} has {len(values)} values for {collection.offsets[-1]} objects")
            made[f"_raw__{c}__{name}"] = _input(values, column)
        return made

    def _scratch(self) -> dict[str, Any]:
        """Room for the rows of each prepared column, and where in it each variation starts."""
        made: dict[str, Any] = {}
        for column in self.prepared:
            collection = self.chunk.collections[column.collection]
            room = int(np.max(np.diff(collection.offsets), initial=1))
            rows = self.rows_of_column[f"{column.collection}.{column.name}"]
            made[f"_var__{column.key}"] = np.zeros(len(rows) * room)
            for maker in column.makers:
                active = [(v, s) for v, s in self.shifts[maker.name].items() if v in rows]
                made[f"_to__{maker.name}"] = np.array([rows.index(v) * room for v, _ in active], dtype=np.int64)
                made[f"_shift__{maker.name}"] = np.array([s for _, s in active], dtype=np.float64)
            made[f"_route__{column.key}__to"] = np.arange(len(rows), dtype=np.int64) * room
            readers = [(s.name, self.rows_of_step[s.name], s.function.prepared) for s in self.steps]
            readers += [
                (other.key, self.rows_of_column[f"{other.collection}.{other.name}"], other.derive.prepared)
                for other in self.prepared
                if other.derive is not None
            ]
            for reader, reader_rows, reads in readers:
                if f"{column.collection}.{column.name}" in reads:
                    made[f"_route__{reader}__{column.key}"] = _route(reader_rows, rows) * room
        return made

    def filled(self) -> Filled:
        """The result, from arrays that the loop has filled."""
        histograms = {}
        for h, rows in self.rows_of_histogram.items():
            sums = self.sums[h].reshape(len(rows), self.axes[h].edges.size + 1, 2)
            both = sums.transpose(2, 0, 1)
            if self.chunk.weight_names:
                both = np.concatenate([both, self.factor_sums[h].transpose(1, 2, 0)], axis=1)
            names = (*rows, *self.chunk.weight_names)
            histograms[h] = FilledHistogram(names, self.axes[h].edges, both[0].copy(), both[1].copy())
        cutflow: dict[str, dict[str, int]] = {}
        for (channel, cut), slot in self.names.cuts.items():
            cutflow.setdefault(channel, {})[cut] = int(self.cuts[slot])
        counters = {name: float(self.counters[slot]) for name, slot in self.names.counters.items()}
        return Filled(histograms, cutflow, counters)


def _given(things: Mapping[str, Any], name: str, what: str, where: Where) -> Any:
    if name not in things:
        raise UsageError(f"{where}: {what} is not given; given are {', '.join(things) or 'none'}")
    return things[name]


def refuse_masked(values: NDArray[Any], what: str) -> None:
    """UsageError where entries are masked: a loop has no mask, and what lies under it would be a number."""
    if np.ma.is_masked(values):
        masked = np.count_nonzero(np.ma.getmaskarray(values))
        raise UsageError(
            f"{masked} of {np.size(values)} entries of {what} are masked; leave them out (`.compressed()`), or give "
            "them a value (`.filled(x)`)"
        )


def _input(values: NDArray[Any], what: str) -> NDArray[Any]:
    """The same values as a contiguous, aligned view that cannot be written.

    numba has a separate type for each of these properties, and compiles a loop anew for every mixture of them.
    """
    refuse_masked(values, what)
    view = np.require(np.asarray(values), requirements=["C_CONTIGUOUS", "ALIGNED"]).view()
    view.flags.writeable = False
    return view


def _route(readers: Sequence[str], rows: Sequence[str]) -> NDArray[np.int64]:
    """For each variation of a reader the row it reads: its own, or the nominal one where there is none."""
    return np.array([rows.index(v) if v in rows else 0 for v in readers], dtype=np.int64)
