"""`Columns`: the declared columns of one chunk, as flat arrays and offsets, or as an awkward array."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from vrecompute.datasets.dataset import Sample
from vrecompute.datasets.facts import undeclared_fact
from vrecompute.errors import AnalysisError
from vrecompute.nearest import hint

if TYPE_CHECKING:
    import awkward as ak

__all__ = ["THIS_FILE", "Column", "Columns", "OptionalColumn", "as_columns", "data_digest", "number_of"]

#: What `process` may know of where its events lie: a part is reused for a copy of the file, wherever that is.
THIS_FILE = "this file"


@dataclass(frozen=True)
class Column:
    """One column of a chunk: `values`, and `offsets` where it holds a list per event.

    A scalar column has one value per event and `offsets` None; a jagged one has its content in
    `values` and int64 `offsets` of shape (events + 1,), the first of them 0. A fixed-size array per
    event is a jagged column of equal lengths.
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64] | None = None


class OptionalColumn:
    """A column that files may lack, for `Analysis.columns`: of several names the first that files of the sample have.

    Whether `process` gets it is decided for the whole sample. Where no file has any of the names, `process` goes
    without, and a warning says so. Where some files have it, those without it are bad input; unless `absent` says
    which value it has for their events (False for a trigger path that was not in the menu): then they are named in
    a warning. `absent` is for columns of one value per event.
    """

    def __init__(self, *names: str, absent: bool | int | float | None = None) -> None:
        self.names = names
        self.absent = absent

    def __repr__(self) -> str:
        return f"OptionalColumn({', '.join(map(repr, self.names))}, absent={self.absent!r})"


def number_of(column: OptionalColumn) -> bool | int | float | str | None:
    """`absent` of a column, if it has one; what JSON has not, NaN and the infinities, as a text.

    AnalysisError where it is no number.
    """
    held = np.asarray(column.absent)
    if column.absent is None:
        return None
    if held.ndim or held.dtype.kind not in "biuf":
        raise AnalysisError(f"{column!r} has an absent that is no number; write one, or True or False")
    number: bool | int | float = held.item()
    return number if math.isfinite(number) else str(number)


def as_columns(whose: str, given: Any) -> tuple[str | OptionalColumn, ...]:
    """Columns as they were declared, a single one too; AnalysisError where one is neither a name nor optional."""
    if isinstance(given, str | OptionalColumn):
        return (given,)
    if not isinstance(given, Iterable):
        raise AnalysisError(f"{whose} are {given!r}; write a list of names of columns, or of OptionalColumn(...)")
    columns = sorted(given, key=repr) if isinstance(given, set | frozenset) else given
    named = tuple(str(each) if isinstance(each, str) else each for each in columns)
    for each in named:
        if not isinstance(each, str | OptionalColumn) or not all(
            isinstance(n, str) for n in getattr(each, "names", ())
        ):
            raise AnalysisError(f"{whose} have {each!r}, which is no column; write its name, or OptionalColumn(NAME)")
    return named


def data_digest(columns: Mapping[str, Column]) -> str:
    """Hexadecimal digest (XXH3, 128 bits) of what the columns hold: names, types, values and offsets."""
    digest = xxhash.xxh3_128()
    seen: dict[int, int] = {}  # offsets that columns share count once
    for name, column in columns.items():
        number = -1 if column.offsets is None else seen.setdefault(id(column.offsets), len(seen))
        digest.update(f"{name} {column.values.dtype.str} {len(column.values)} {number}\n".encode())
        if column.offsets is not None and number == len(seen) - 1:
            digest.update(np.ascontiguousarray(column.offsets).data)
        digest.update(np.ascontiguousarray(column.values).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Columns:
    """The declared columns of events [start, stop) of one source; of the certified ones, where a list says which.

    `variations` are the names of the systematic variations that the analysis declared for this
    sample, the nominal one first. `resources` are local paths of the analysis' resources by name.
    `kept` are the entry numbers of the events that are left, None where all are; see `entries`. `place` is what
    messages call the source: in a run THIS_FILE, since the report of a failure names the file, and the address where
    the analysis says that it reads that. `facts` are those of sample and source that the analysis reads
    (`Analysis.reads_facts`), None where all are.
    """

    columns: Mapping[str, Column]
    sample: Sample
    start: int
    stop: int
    variations: tuple[str, ...] = ("nominal",)
    resources: Mapping[str, Path] = field(default_factory=dict)
    place: str = ""
    kept: NDArray[np.int64] | None = None
    facts: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return self.stop - self.start if self.kept is None else len(self.kept)

    @property
    def source(self) -> str:
        """The address of the source. AnalysisError where the analysis does not say that it reads it."""
        if self.facts is not None and "source" not in self.facts:
            raise undeclared_fact("events.source", "source")
        return self.place

    @property
    def entries(self) -> NDArray[np.int64]:
        """The entry number of each event in its source, shape (events,)."""
        return np.arange(self.start, self.stop, dtype=np.int64) if self.kept is None else self.kept

    def select(self, keep: NDArray[np.bool_]) -> Columns:
        """The same of those events alone where `keep`, of shape (events,), is True."""
        chosen: dict[str, Column] = {}
        lists: dict[int, tuple[NDArray[np.int64], NDArray[np.bool_]]] = {}  # columns of a collection share offsets
        for name, column in self.columns.items():
            if column.offsets is None:
                chosen[name] = Column(column.values[keep])
                continue
            if id(column.offsets) not in lists:
                lengths = np.diff(column.offsets)
                ends = np.cumsum(lengths[keep], dtype=np.int64)
                lists[id(column.offsets)] = (np.concatenate([[0], ends]), np.repeat(keep, lengths))
            offsets, inside = lists[id(column.offsets)]
            chosen[name] = Column(column.values[inside], offsets)
        return replace(self, columns=chosen, kept=self.entries[keep])

    @property
    def names(self) -> tuple[str, ...]:
        """The declared columns of this source, in declaration order."""
        return tuple(self.columns)

    def column(self, name: str) -> Column:
        """One column; KeyError names the nearest declared one."""
        try:
            return self.columns[name]
        except KeyError:
            raise KeyError(self._undeclared(name)) from None

    def flat(self, name: str) -> NDArray[Any]:
        """The values of a column: shape (events,) for a scalar, (content,) for a jagged one."""
        return self.column(name).values

    def offsets(self, collection: str) -> NDArray[np.int64]:
        """int64 offsets, shape (events + 1,), of a collection (`Muon`) or of a jagged column (`Muon_pt`).

        Raises ValueError where two columns of the collection disagree about its lengths.
        """
        if collection in self.columns:
            members: Sequence[str] = (collection,)
        else:
            members = [n for n in self.columns if n.startswith((f"{collection}_", f"{collection}."))]
        jagged = [(n, o) for n in members if (o := self.columns[n].offsets) is not None]
        if not jagged:
            raise KeyError(self._undeclared(collection))
        first_name, first = jagged[0]
        for name, other in jagged[1:]:
            if other is not first and not np.array_equal(other, first):
                raise ValueError(
                    f"{self.place}: columns {first_name!r} and {name!r} differ in length per event, "
                    f"so {collection!r} is not one collection"
                )
        return first

    @property
    def awkward(self) -> ak.Array:
        """All declared columns as one awkward array of records, built on request and never cached."""
        import awkward as ak

        fields = {}
        for name, column in self.columns.items():
            content = ak.Array(column.values).layout
            if column.offsets is not None:
                content = ak.contents.ListOffsetArray(ak.index.Index64(column.offsets), content)
            fields[name] = content
        return ak.Array(ak.contents.RecordArray(list(fields.values()), list(fields), length=len(self)))

    def _undeclared(self, name: str) -> str:
        meant = hint(name, self.columns)
        if name == self.sample.weight:
            meant = "; declare it, and the sample is normalised by the sum of its weights"
        return f"{name!r} is not a declared column of {self.place or 'this chunk'}{meant}"
