"""`Result`: what `process` returns for a chunk, and what the sum of all chunks of a sample is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

import boost_histogram as bh
import numpy as np
from numpy.typing import NDArray

from vrecompute.results.axes import unlike
from vrecompute.results.promotion import ValueType, joined

__all__ = ["Array", "Result", "TableSummary", "joined_digest", "joint_columns"]

Merge = Literal["sum", "concat"]


@dataclass(frozen=True)
class Array:
    """A small array and how two of them combine: element by element (`sum`) or end to end (`concat`, first axis).

    Masked or missing entries are refused. Sums stay in the type of the values: those of float32 round to 24 bits at
    each addition, in the fixed order of chunks, so give float64 where that matters; an integer type that a sum does
    not fit into is an error.
    """

    values: NDArray[Any]
    merge: Merge = "sum"

    def __add__(self, other: Array) -> Array:
        if self.merge != other.merge:
            raise ValueError(f"cannot combine a {self.merge!r} array with a {other.merge!r} array")
        if self.merge == "concat":
            # Of an empty chunk, type and shape are whatever its code made of nothing.
            filled = [a.values for a in (self, other) if len(a.values)]
            return Array(np.concatenate(joined(*filled)), "concat") if filled else self
        if self.values.shape != other.values.shape:
            raise ValueError(f"cannot add arrays of shapes {self.values.shape} and {other.values.shape}")
        return Array(_sum(*joined(self.values, other.values)), "sum")


@dataclass(frozen=True)
class TableSummary:
    """What is left of a skim table once its rows are in the store: their number, a digest over them in order, columns.

    `columns` are (name, type) in the order of the first chunk. `+` raises ValueError, naming the column, where two do
    not make one table.
    """

    rows: int
    digest: str
    columns: tuple[tuple[str, ValueType], ...] = ()

    def __add__(self, other: TableSummary) -> TableSummary:
        digest = sha256(f"{self.digest}\n{other.digest}".encode()).hexdigest()
        if self.columns and other.columns and (alone := {n for n, _ in self.columns} ^ {n for n, _ in other.columns}):
            raise ValueError(f"column {min(alone)!r} is missing in some of its pieces")
        return TableSummary(self.rows + other.rows, digest, joint_columns([self, other]))

    def to_data(self) -> list[Any]:
        """The summary as data, for JSON."""
        return [self.rows, self.digest, [[name, list(t.dtypes), t.low, t.high] for name, t in self.columns]]

    @classmethod
    def from_data(cls, data: Any) -> TableSummary:
        """The summary of `to_data`; ValueError or TypeError for anything else."""
        rows, digest, columns = data
        if type(rows) is not int or not isinstance(digest, str):
            raise ValueError("a table has no rows or no digest")
        return cls(
            rows, digest, tuple((str(n), ValueType(tuple(map(str, d)), low, high)) for n, d, low, high in columns)
        )


def joint_columns(summaries: Iterable[TableSummary]) -> tuple[tuple[str, ValueType], ...]:
    """All columns of the summaries; ValueError, naming the column, where no type holds all its values exactly."""
    columns: dict[str, ValueType] = {}
    for summary in summaries:
        for name, type_ in summary.columns:
            columns[name] = columns.get(name, ValueType()) + type_
    for name, type_ in columns.items():
        try:
            _ = type_.dtype
        except ValueError as error:
            raise ValueError(f"column {name!r}: {error}") from error
    return tuple(columns.items())


@dataclass
class Result:
    """Named histograms, cutflow, counters, small arrays and skim tables of one sample or a part of it.

    `a + b` is the Result of both; `Result()` is its identity. Histograms are boost-histogram objects
    with fixed axes (no growth); missing names count as empty. `events` and `sum_of_weights` are filled
    by the framework: entries read, and the sum of the sample's generator weights over them before any
    cut (the number of entries where the sample has no weight column). `tables` holds rows, a mapping of
    column name to array, only until the worker has streamed them to the store; `summaries` stay.
    `data_digest` tells which column data this came from, along the merge tree (`joined_digest`); no result file has it.
    """

    histograms: dict[str, bh.Histogram[Any]] = field(default_factory=dict)
    cutflow: dict[str, dict[str, float]] = field(default_factory=dict)
    counters: dict[str, float] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)
    tables: dict[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)
    summaries: dict[str, TableSummary] = field(default_factory=dict)
    events: int = 0
    sum_of_weights: float = 0.0
    data_digest: str = ""

    def __add__(self, other: Result) -> Result:
        if not isinstance(other, Result):
            return NotImplemented
        if self.tables or other.tables:
            raise ValueError("rows of a skim table are streamed to the store, never merged in memory")
        _check_kinds(self, other)
        return Result(
            histograms=_merge(self.histograms, other.histograms),
            cutflow=_merge_cutflow(self.cutflow, other.cutflow),
            counters=_merge(self.counters, other.counters),
            arrays=_merge(self.arrays, other.arrays),
            summaries=_merge(self.summaries, other.summaries),
            events=self.events + other.events,
            sum_of_weights=_added("the sum of weights", self.sum_of_weights, other.sum_of_weights),
            data_digest=joined_digest(self.data_digest, other.data_digest),
        )

    def __bool__(self) -> bool:
        return True

    def copy(self) -> Result:
        """A Result that shares no array with this one."""
        return Result(
            histograms={name: h.copy() for name, h in self.histograms.items()},
            cutflow={channel: dict(cuts) for channel, cuts in self.cutflow.items()},
            counters=dict(self.counters),
            arrays={name: Array(a.values.copy(), a.merge) for name, a in self.arrays.items()},
            summaries=dict(self.summaries),
            events=self.events,
            sum_of_weights=self.sum_of_weights,
            data_digest=self.data_digest,
        )


def joined_digest(left: str, right: str) -> str:
    """The digest of two neighbours in a merge tree."""
    return sha256(f"{left} {right}".encode()).hexdigest() if left and right else left or right


def _merge(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Name by name `a + b`; the order of names is that of `a`, then what only `b` has."""
    merged = {}
    for name in [*a, *(n for n in b if n not in a)]:
        if name in a and name in b:
            merged[name] = _added(repr(name), a[name], b[name])
        else:
            merged[name] = a[name] if name in a else b[name]
    return merged


def _merge_cutflow(
    a: Mapping[str, Mapping[str, float]], b: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    return {c: _merge(a.get(c, {}), b.get(c, {})) for c in [*a, *(n for n in b if n not in a)]}


def _check_kinds(a: Result, b: Result) -> None:
    """ValueError where one name is a number here and an array or histogram there: it would be two halves of a sum."""
    mine, others = _kinds(a), _kinds(b)
    for name in [n for n in mine if n in others]:
        if mine[name].isdisjoint(others[name]):
            raise ValueError(
                f"{name!r} cannot be combined: it is {min(mine[name])} in one part of the events and "
                f"{min(others[name])} in another; make the same of all chunks, of an empty one too"
            )


def _kinds(result: Result) -> dict[str, set[str]]:
    """What each name of a Result is: in words."""
    kinds: dict[str, set[str]] = {}
    for kind, named in (
        ("a histogram", result.histograms),
        ("a number", result.counters),
        ("an array", result.arrays),
    ):
        for name in named:
            kinds.setdefault(name, set()).add(kind)
    return kinds


def _added(name: str, a: Any, b: Any) -> Any:
    """`a + b`; ValueError where they cannot be added, or where their sum is more than its type holds."""
    if isinstance(a, bh.Histogram) and (why := unlike(a, b)):
        raise ValueError(f"{name} cannot be combined: {why}")
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            total = a + b
        if isinstance(total, float) and math.isfinite(a) and math.isfinite(b) and not math.isfinite(total):
            raise ValueError(f"{a} and {b} add up to {total}")
        if isinstance(total, bh.Histogram):
            for mine, others, sums in zip(_contents(a), _contents(b), _contents(total), strict=True):
                if sums.shape == mine.shape == others.shape:  # not with a growing category
                    _check_sum(mine, others, sums)
    except (TypeError, ValueError, OverflowError) as error:  # an integer may be too large for the other's float
        raise ValueError(f"{name} cannot be combined: {error}") from error
    return total


def _contents(histogram: bh.Histogram[Any]) -> list[NDArray[Any]]:
    view: NDArray[Any] = np.asarray(histogram.view(flow=True))
    return [view[field] for field in view.dtype.names] if view.dtype.names else [view]


def _sum(mine: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    sums: NDArray[Any] = mine + others
    _check_sum(mine, others, sums)
    return sums


def _check_sum(mine: NDArray[Any], others: NDArray[Any], sums: NDArray[Any]) -> None:
    if sums.dtype.kind in "iu":
        # around the end of its range a sum is less than what was added to it
        wrapped = bool(((sums < mine) != (others < 0)).any())
    else:
        wrapped = bool((~np.isfinite(sums) & np.isfinite(mine) & np.isfinite(others)).any())
    if wrapped:
        raise ValueError(f"a sum is more than {sums.dtype} holds")
