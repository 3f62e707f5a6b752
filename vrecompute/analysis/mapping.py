"""`client.map`: an unchanged function of the user's, run over the events of each chunk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import boost_histogram as bh
import numpy as np

from vrecompute.analysis import Analysis, SourceView
from vrecompute.analysis.code import Code
from vrecompute.analysis.codedigest import code_of
from vrecompute.datasets.columns import Columns, OptionalColumn, as_columns, number_of
from vrecompute.datasets.facts import checked_facts
from vrecompute.errors import AnalysisError
from vrecompute.results.plainarray import refuse_missing, why_not_numbers
from vrecompute.results.promotion import exact_array
from vrecompute.results.result import Array, Result

__all__ = ["MapAnalysis", "as_result"]

Combine = Literal["concat", "sum"]


class MapAnalysis(Analysis):
    """Wraps a function of an awkward array of events (or of `Columns`); what it returns becomes a Result.

    A Result stays as it is; a histogram, number or array becomes one called `value`, a mapping of these one
    named by its keys: `run.result()[SAMPLE]` has it in `histograms`, `counters` or `arrays`. Histograms and numbers (an
    array of no dimension is one) add up; arrays are joined end to end, or added for `combine="sum"`.
    `momenta`, `reads_unit` and `reads_facts` are those of an Analysis: the function gets columns of `momenta` in GeV.
    """

    name: ClassVar[str] = "map"

    def __init__(
        self,
        function: Callable[[Any], Any],
        columns: Sequence[str | OptionalColumn] | None = None,
        combine: Combine = "concat",
        takes: Literal["awkward", "columns"] = "awkward",
        momenta: Sequence[str] = (),
        *,
        reads_unit: bool = False,
        reads_facts: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.function = function
        self.wanted = as_columns("columns of a mapped function", columns) if columns is not None else None
        self.combine: Combine = combine
        self.takes = takes
        # Of a class where one is written; a function brings its own.
        self.momenta = tuple(momenta)  # type: ignore[misc]  # a ClassVar of Analysis
        self.reads_unit = reads_unit  # type: ignore[misc]  # likewise
        self.reads_facts = checked_facts("map", reads_facts)  # type: ignore[misc]  # likewise

    def columns(self, source: SourceView) -> Sequence[str | OptionalColumn]:
        """Those asked for; all of the source where none were."""
        return self.wanted if self.wanted is not None else tuple(source.available)

    def process(self, events: Columns) -> Result:
        """What the function returns for this chunk, as a Result."""
        return as_result(self.function(events.awkward if self.takes == "awkward" else events), self.combine)

    def process_parameters(self) -> dict[str, Any]:
        """All that was given besides the function, whose source is the code."""
        wanted = self.wanted and [
            each if isinstance(each, str) else {"names": list(each.names), "absent": number_of(each)}
            for each in self.wanted
        ]
        return {"columns": wanted, "combine": self.combine, "takes": self.takes}

    def code(self, *, looks: bool = True) -> Code:
        """Of the function and all it reaches."""
        return code_of(self.function, effects=self.effects, looks=looks)


def as_result(value: Any, combine: Combine) -> Result:
    """A Result of what a mapped function returned; AnalysisError names what it may return."""
    if isinstance(value, Result):
        return value
    named: Mapping[str, Any] = value if isinstance(value, Mapping) else {"value": value}
    result = Result()
    for name, item in named.items():
        if isinstance(item, bh.Histogram):
            result.histograms[str(name)] = bh.Histogram(item)
        elif isinstance(item, (bool, int, np.bool_, np.integer)) and not isinstance(item, np.timedelta64):
            result.counters[str(name)] = int(item)
        elif isinstance(item, (float, np.floating)):
            result.counters[str(name)] = float(item)
        else:
            array = _array(str(name), item)
            if array.ndim:
                result.arrays[str(name)] = Array(array, combine)
            else:  # a number, as `np.asarray(3.0)` is one
                result.counters[str(name)] = float(array) if array.dtype.kind == "f" else int(array)
    return result


def _array(name: str, item: Any) -> np.ndarray[Any, Any]:
    """An array of numbers; AnalysisError says why `item` is none."""
    what = f"the mapped function returned {type(item).__name__} for {name!r}"
    if item is not None:
        refuse_missing(f"the {type(item).__name__} that the mapped function returned for {name!r}", item)
    try:
        array = np.asarray(item)
    except (TypeError, ValueError):
        array = np.empty(0, object)
    if array.dtype.kind not in "biuf":
        why = "" if item is None else why_not_numbers(item)
        raise AnalysisError(
            f"{what}{why and f': {why}'}; it may return a Result, a histogram, a number, an array of numbers, or a "
            "mapping of these"
        )
    try:
        return np.asarray(exact_array(item))
    except ValueError as error:
        raise AnalysisError(f"the mapped function returned a list of numbers: {error}") from error
