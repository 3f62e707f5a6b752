"""`EventLoop`: per-event functions of a physicist, made into one fused, cached loop over all events and variations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numba.core.errors import NumbaError
from numpy.typing import ArrayLike, NDArray

from vrecompute.errors import UsageError
from vrecompute.kernels.loop.arguments import Arguments, refuse_masked
from vrecompute.kernels.loop.binning import make_axis
from vrecompute.kernels.loop.bounds import outside
from vrecompute.kernels.loop.chunk import Chunk, Collection, Filled
from vrecompute.kernels.loop.counting import too_large
from vrecompute.kernels.loop.generate import Prepared, Source, Step, write_source
from vrecompute.kernels.loop.rewrite import Binding, Names, Rewritten, rewrite
from vrecompute.kernels.loop.source_map import read_function
from vrecompute.kernels.loop.sourcefile import explain, load_source

__all__ = ["Collection", "EventLoop"]

_NOMINAL = "nominal"
_RESERVED = {"event": "event", "p": "parameters", "cut": "cut", "count": "count"}
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class _Vary:
    function: Callable[..., Any]
    column: str
    shifts: Mapping[str, float]


@dataclass
class _Built:
    """One loop for one set of column types."""

    source: Source
    names: Names
    prepared: list[Prepared]
    steps: list[Step]
    run: Callable[..., None] = field(repr=False, default=lambda *_: None)


class EventLoop:
    """Per-event functions over named things, run as one loop.

    Functions are plain Python that numba understands; the names of their parameters say what they get:

    - a collection (`muon`): `muon.pt[i]`, `len(muon)`; `event`: `event.weight`; `p`: `p.pt_min_gev`;
    - `cut`: `cut.mumu("opposite_sign")` counts the event; `count`: `count.muons(len(muon))` adds;
    - the name of a histogram: `mass.fill(m, w)`; another step: what it returned in this event.

    A step that returns nothing is absent, and steps that name it do not run; with the default
    `None` (`ee=None`) they do, and may ask `ee is None`. A step is evaluated once for each variation
    of what it names, directly or through other steps, and once where nothing it names varies.
    Numbers that steps return are float64. Nothing is compiled or written before `run`.
    """

    def __init__(self, **histograms: ArrayLike) -> None:
        self.axes = {name: make_axis(np.asarray(edges)) for name, edges in histograms.items()}
        self._varied: list[_Vary] = []
        self._derived: dict[str, Callable[..., Any]] = {}
        self._steps: dict[str, Callable[..., Any]] = {}
        self._built: dict[Any, _Built] = {}
        self._needs: tuple[str, ...] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What was written: neither a digest nor a worker needs what was compiled of it."""
        return {**vars(self), "_built": {}, "_needs": None}

    def step(self, function: F) -> F:
        """Add a step; steps run in the order of their definition."""
        self._steps[function.__name__] = function
        self._changed()
        return function

    def column(self, name: str) -> Callable[[F], F]:
        """Derive a column ("electron.good") from others: `function(electron, i, ...)` gives the value for object i."""

        def add(function: F) -> F:
            self._derived[name] = function
            self._changed()
            return function

        return add

    def vary(self, column: str, **shifts: float) -> Callable[[F], F]:
        """Vary a column: for each variation named, `function(electron, i, shift, ...)` gives the varied value.

        A variation may vary several columns, and a column may be varied by several functions.
        """

        def add(function: F) -> F:
            again = (function.__name__, column)  # as where a cell of a notebook runs again
            self._varied = [v for v in self._varied if (v.function.__name__, v.column) != again]
            self._varied.append(_Vary(function, column, shifts))
            self._changed()
            return function

        return add

    @staticmethod
    def once(function: F) -> F:
        """A helper of steps, `f(muon, i, j)`, that is computed once per event and arguments and then kept.

        It may read no column that varies.
        """
        function.vrecompute_once = True  # type: ignore[attr-defined]
        return function

    @property
    def variations(self) -> tuple[str, ...]:
        """All variations declared, the nominal one first."""
        return tuple(dict.fromkeys([_NOMINAL, *(name for v in self._varied for name in v.shifts)]))

    def run(
        self,
        events: int,
        *,
        collections: Mapping[str, Collection],
        event: Mapping[str, NDArray[Any]] | None = None,
        parameters: Mapping[str, float] | None = None,
        variations: Sequence[str] = (_NOMINAL,),
        weights: Mapping[str, NDArray[Any]] | None = None,
    ) -> Filled:
        """One pass over `events` events, for the nominal and the other `variations`.

        `event` holds one value per event and column. `weights` are variations of the weight alone, a name
        and factors: of shape (events,) for one, of shape (events, n) for n of them, `name_0` and so on. Each
        becomes one more row of every histogram, filled with the
        nominal selection. Releases the GIL. Raises UsageError where a column or parameter that a function
        names is not given or has masked entries, AnalysisError where a function cannot be compiled or
        a counter of integers reaches 2**53, and OutsideEvent where one reads at an index that its event
        does not have.
        """
        names, factors = _columns_of(weights or {})
        chunk = Chunk(
            events, dict(collections), dict(event or {}), dict(parameters or {}), tuple(variations), names, factors
        )
        for name in variations:
            if name not in self.variations:
                raise UsageError(f"no function has the variation {name!r}; there are {', '.join(self.variations)}")
        built = self._build(_kinds(chunk), weighted=bool(names))
        arguments = Arguments(built.names, built.prepared, built.steps, self.axes, self._shifts(), chunk)
        values = arguments.values()
        try:
            built.run(*(values[a] for a in built.source.arguments))
        except NumbaError as error:
            raise explain(error, built.source, _kinds(chunk)) from error
        except OverflowError as error:
            if (full := too_large(arguments.fault, tuple(built.names.counters))) is None:
                raise
            raise full from error
        except IndexError as error:
            if (wrong := outside(arguments.fault, tuple(built.names.sites))) is None:
                raise
            raise wrong from error
        return arguments.filled()

    def compile(self, **types: str) -> None:
        """Compile for columns of these types now, so that the cache serves later processes.

        `types` are numpy's names by column with `__` for the dot (`muon__pt="float32"`); the columns of
        `event` that are not named are float64.
        """
        named = {name.replace("__", "."): np.zeros(0, dtype=kind) for name, kind in types.items()}
        names, _, _ = self._rewritten({}, weighted=False)
        columns: dict[str, dict[str, NDArray[Any]]] = {}
        for need in self.needs():
            group, _, name = need.partition(".")
            if need not in named and group != "event":
                raise UsageError(f"the type of {need} is not given")
            columns.setdefault(group, {})[name] = named.get(need, np.zeros(0))
        event = columns.pop("event", {})
        collections = {c: Collection(np.zeros(1, np.int64), members) for c, members in columns.items()}
        self.run(0, collections=collections, event=event, parameters=dict.fromkeys(names.parameters, 0.0))

    def needs(self) -> tuple[str, ...]:
        """The columns that the functions read: "muon.pt", "event.weight"."""
        if self._needs is None:
            names, _, _ = self._rewritten({}, weighted=False)
            self._needs = (*names.columns, *(f"event.{name}" for name in names.event))
        return self._needs

    def counted(self) -> tuple[str, ...]:
        """The collections of which functions read nothing but how many objects there are: `len(muon)`."""
        names, prepared, steps = self._rewritten({}, weighted=False)
        functions = [*names.helpers.values(), *(step.function for step in steps)]
        functions += [maker for column in prepared for maker in column.makers]
        functions += [column.derive for column in prepared if column.derive is not None]
        counted = {a.removeprefix("_n__") for f in functions for a in f.arguments if a.startswith("_n__")}
        return tuple(sorted(counted - {column.partition(".")[0] for column in names.columns}))

    def source(self, kinds: Mapping[str, str] | None = None) -> str:
        """The generated module, for the curious; `kinds` are column types by name ("muon.pt": "float32")."""
        return write_source(*self._rewritten(dict(kinds or {}), weighted=False)).text

    def _changed(self) -> None:
        """Forget what was made from other functions."""
        self._built = {}
        self._needs = None

    def _shifts(self) -> dict[str, dict[str, float]]:
        return {f"_vary_{k}_{v.function.__name__}": dict(v.shifts) for k, v in enumerate(self._varied)}

    def _build(self, kinds: dict[str, str], *, weighted: bool) -> _Built:
        key = (tuple(sorted(kinds.items())), weighted)
        if key not in self._built:
            names, prepared, steps = self._rewritten(kinds, weighted=weighted)
            source = write_source(names, prepared, steps)
            self._built[key] = _Built(source, names, prepared, steps, load_source(source))
        return self._built[key]

    def _rewritten(self, kinds: dict[str, str], *, weighted: bool) -> tuple[Names, list[Prepared], list[Step]]:
        varied = {v.column for v in self._varied}
        names = Names(
            prepared=frozenset({*varied, *self._derived}),
            casts={column: cast for column, kind in kinds.items() if (cast := _cast(kind))},
            weighted=weighted,
        )
        prepared = [self._prepare_varied(column, names) for column in dict.fromkeys(v.column for v in self._varied)]
        ever = set(varied)
        for column, function in self._derived.items():
            made = self._function(function, f"_derive_{function.__name__}", names, raw=False, numbers=1)
            if not made.prepared.isdisjoint(ever):
                ever.add(column)
            collection, name = column.split(".")
            prepared.append(Prepared(collection, name, column in ever, derive=made))
        return names, prepared, self._make_steps(names, ever)

    def _prepare_varied(self, column: str, names: Names) -> Prepared:
        makers = tuple(
            self._function(v.function, f"_vary_{k}_{v.function.__name__}", names, raw=True, numbers=2)
            for k, v in enumerate(self._varied)
            if v.column == column
        )
        collection, name = column.split(".")
        _, where = read_function(next(v.function for v in self._varied if v.column == column))
        names.columns.setdefault(column, where)
        return Prepared(collection, name, True, makers)

    def _function(self, function: Callable[..., Any], name: str, names: Names, *, raw: bool, numbers: int) -> Rewritten:
        """A function of one object: a collection, its index, a shift where it varies; then the shared things."""
        parameters = list(inspect.signature(function).parameters)
        bindings = {parameters[0]: Binding("collection", parameters[0])}
        bindings |= {p: Binding("number") for p in parameters[1 : 1 + numbers]}
        for p in parameters[1 + numbers :]:
            if p not in ("p", "event"):
                _, where = read_function(function)
                raise UsageError(f"{where}: {function.__name__} cannot take {p!r}; it may take only p and event here")
            bindings[p] = Binding(_RESERVED[p])
        return rewrite(function, name, bindings, names, raw=raw)

    def _make_steps(self, names: Names, ever: set[str]) -> list[Step]:
        made: dict[str, Rewritten] = {}
        asks: dict[str, tuple[list[str], list[str]]] = {}
        for name, function in self._steps.items():
            bindings: dict[str, Binding] = {}
            requires: list[str] = []
            optional: list[str] = []
            _, where = read_function(function)
            for p, parameter in inspect.signature(function).parameters.items():
                if p in self._steps:
                    if p not in made or made[p].values == 0:
                        raise UsageError(f"{where}: step {name!r} names {p!r}, which returns nothing or comes later")
                    is_optional = parameter.default is None
                    (optional if is_optional else requires).append(p)
                    bindings[p] = Binding("optional-step" if is_optional else "step", p)
                elif p in self.axes:
                    bindings[p] = Binding("histogram", p)
                else:
                    bindings[p] = Binding(_RESERVED.get(p, "collection"), p)
            made[name] = rewrite(function, f"_step_{name}", bindings, names, step=True)
            asks[name] = (requires, optional)
        varied = self._varied_steps(made, asks, ever)
        return [Step(n, made[n], tuple(asks[n][0]), tuple(asks[n][1]), n in varied) for n in made]

    @staticmethod
    def _varied_steps(
        made: Mapping[str, Rewritten], asks: Mapping[str, tuple[list[str], list[str]]], ever: set[str]
    ) -> set[str]:
        """Steps that read what varies, name one that does, or fill a histogram that such a one fills."""
        varied: set[str] = set()
        while True:
            rows = {h for n in varied for h in made[n].fills}
            more = {
                n
                for n, function in made.items()
                if not function.prepared.isdisjoint(ever)
                or not varied.isdisjoint([*asks[n][0], *asks[n][1]])
                or not rows.isdisjoint(function.fills)
            }
            if more <= varied:
                return varied
            varied |= more


def _columns_of(weights: Mapping[str, NDArray[Any]]) -> tuple[tuple[str, ...], NDArray[Any]]:
    """Names and factors, shape (events, names), of all variations of the weight alone; one array is not copied."""
    names: list[str] = []
    parts = []
    for name, factors in weights.items():
        refuse_masked(factors, f"the weight variation {name!r}")
        names += [name] if factors.ndim == 1 else [f"{name}_{k}" for k in range(factors.shape[1])]
        parts.append(factors[:, None] if factors.ndim == 1 else factors)
    both = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1) if parts else np.zeros((0, 0))
    return tuple(names), np.ascontiguousarray(both)


def _kinds(chunk: Chunk) -> dict[str, str]:
    kinds = {f"{c}.{n}": str(v.dtype) for c, x in chunk.collections.items() for n, v in x.columns.items()}
    return kinds | {f"event.{n}": str(v.dtype) for n, v in chunk.event.items()}


def _cast(kind: str) -> str | None:
    """What an element of a column of this type is made: differences of unsigned numbers may be negative."""
    if kind.startswith("float"):
        return "_np.float64"
    return "_np.int64" if kind in {"uint8", "uint16", "uint32"} else None
