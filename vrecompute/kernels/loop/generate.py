"""Write the source of one event loop: the physicist's functions, and the loop that calls them in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vrecompute.kernels.loop.rewrite import Names, Rewritten
from vrecompute.kernels.loop.source_map import Where

__all__ = ["Prepared", "Source", "Step", "write_source"]

_HEADER = '''"""An event loop written by vrecompute from the functions of an analysis; do not edit: it is made anew."""

import numpy as _np
from vrecompute.kernels.loop.binning import fill as _fill, fill_weights as _fill_weights
from vrecompute.kernels.loop.bounds import inside as _inside, item as _item
from vrecompute.kernels.loop.counting import add as _add
from vrecompute.kernels.loop.inline import entry as _entry_point, inline as _inline
'''
_FILL_ALL = """
@_inline
def _fill_all(axis, sums, row, x, weight, nominal, factor_sums, factors, entry):
    index = _fill(axis, sums, row, x, weight)
    if nominal:
        _fill_weights(factor_sums, index, weight, factors, entry)
"""


@dataclass(frozen=True)
class Prepared:
    """A column computed per event: `makers` give its variations, or `derive` the column itself.

    `varied` says whether it can have more than the nominal row at all.
    """

    collection: str
    name: str
    varied: bool
    makers: tuple[Rewritten, ...] = ()
    derive: Rewritten | None = None

    @property
    def key(self) -> str:
        """`electron__pt`."""
        return f"{self.collection}__{self.name}"


@dataclass(frozen=True)
class Step:
    """A step: it runs where every step of `requires` is present; `optional` ones it may ask about."""

    name: str
    function: Rewritten
    requires: tuple[str, ...]
    optional: tuple[str, ...]
    varied: bool


@dataclass
class Source:
    """A generated module: its text, the arguments of `loop` in order, and the origin of its lines (from 1)."""

    text: str
    arguments: tuple[str, ...]
    lines: dict[int, Where] = field(default_factory=dict)


class _Writer:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)


def write_source(names: Names, prepared: Sequence[Prepared], steps: Sequence[Step]) -> Source:
    """The module of one loop. Its text is a function of the arguments alone, so that its digest can name it."""
    functions = [*names.helpers.values()]
    for column in prepared:
        functions.extend(column.makers)
        if column.derive is not None:
            functions.append(column.derive)
    functions.extend(s.function for s in steps)
    head = _HEADER + "".join(f"{line}\n" for line in sorted(set(names.imports.values())))
    head += _FILL_ALL if names.weighted else ""
    text = head
    lines: dict[int, Where] = {}
    for function in functions:
        text += "\n"
        offset = text.count("\n")
        lines.update({offset + line: where for line, where in function.lines.items()})
        text += function.source + "\n"
    loop = _Loop(names, list(prepared), list(steps))
    body = loop.write()
    arguments = tuple(sorted(loop.arguments))
    text += f"\n@_entry_point\ndef loop({', '.join(arguments)}):\n" + "\n".join(body) + "\n"
    return Source(text, arguments, lines)


class _Loop:
    """The loop over events: invariant work once, each step once per variation of what it reads."""

    def __init__(self, names: Names, prepared: list[Prepared], steps: list[Step]) -> None:
        self.names = names
        self.prepared = {f"{p.collection}.{p.name}": p for p in prepared}
        self.steps = {s.name: s for s in steps}
        self.named = dict.fromkeys(d for s in steps for d in (*s.requires, *s.optional))
        self.arguments: set[str] = {"_events"}

    def use(self, *arguments: str) -> None:
        self.arguments.update(arguments)

    def write(self) -> list[str]:
        write = _Writer()
        for name in self.named:
            if self.steps[name].varied:
                self.use(f"_has__{name}", f"_values__{name}")
        write(1, "for _entry in range(_events):")
        for c in self.collections():
            self.use(f"_offsets__{c}")
            write(2, f"_at__{c} = _offsets__{c}[_entry]")
            write(2, f"_n__{c} = _offsets__{c}[_entry + 1] - _at__{c}")
        for name in self.names.event:
            self.use(f"_column__{name}")
            value = f"_column__{name}[_entry]"
            cast = self.names.casts.get(f"event.{name}")
            write(2, f"_event__{name} = {value if cast is None else f'{cast}({value})'}")
        for column in self.prepared.values():
            write(2, f"_ready__{column.key} = False")
            if not column.varied:
                write(2, f"_row__{column.key} = 0")
        write(2, "_nominal = True")
        for step in self.steps.values():
            self.write_step(write, step)
        return write.lines

    def collections(self) -> list[str]:
        """The collections that the loop needs, in a fixed order."""
        return sorted({c.partition(".")[0] for c in (*self.names.columns, *self.prepared)} | self._counted())

    def _counted(self) -> set[str]:
        arguments = {
            a for f in (*self.names.helpers.values(), *(s.function for s in self.steps.values())) for a in f.arguments
        }
        return {a.removeprefix("_n__") for a in arguments if a.startswith("_n__")}

    def needed(self, function: Rewritten) -> list[Prepared]:
        """The prepared columns behind a function, those that others are derived from first."""
        found: dict[str, Prepared] = {}

        def visit(key: str) -> None:
            column = self.prepared[key]
            for inner in sorted(column.derive.prepared) if column.derive else ():
                visit(inner)
            found.setdefault(key, column)

        for key in sorted(function.prepared):
            visit(key)
        return list(found.values())

    def call(self, function: Rewritten, *numbers: str) -> str:
        """A call with the shared names it needs; those that are arguments of the loop itself are noted."""
        for a in function.arguments:
            if a.startswith(
                ("_raw__", "_p__", "_axis__", "_sums__", "_var__", "_memo__", "_kept__", "_factor_sums__")
            ) or a in (
                "_cuts",
                "_counters",
                "_factors",
                "_fault",
            ):
                self.use(a)
        return f"{function.name}({', '.join([*function.arguments, *numbers])})"

    def write_prepare(self, write: _Writer, depth: int, column: Prepared) -> None:
        """Fill the rows of a prepared column, once per event, when a step first needs it."""
        key, c = column.key, column.collection
        self.use(f"_var__{key}")
        write(depth, f"if not _ready__{key}:")
        write(depth + 1, f"_ready__{key} = True")
        each = f"for _i in range(_n__{c}):"
        if column.derive is not None:
            depth += 1
            to = "_i"
            if column.varied:
                self.use(f"_route__{key}__to")
                write(depth, f"for _r in range(_route__{key}__to.size):")
                depth += 1
                write(depth, f"_to = _route__{key}__to[_np.uint64(_r)]")
                to = "_to + _i"
                for inner in sorted(column.derive.prepared):
                    if self.prepared[inner].varied:
                        route = f"_route__{key}__{self.prepared[inner].key}"
                        self.use(route)
                        write(depth, f"_row__{self.prepared[inner].key} = {route}[_np.uint64(_r)]")
            write(depth, each)
            write(depth + 1, f"_var__{key}[_np.uint64({to})] = {self.call(column.derive, '_i')}")
            return
        self.use(f"_raw__{key}")
        # Objects outside, shifts inside: what a maker computes `once` for an object serves all its shifts.
        write(depth + 1, each)
        write(depth + 2, f"_var__{key}[_np.uint64(_i)] = _np.float64(_raw__{key}[_np.uint64(_at__{c} + _i)])")
        for maker in column.makers:
            to, shift = f"_to__{maker.name}", f"_shift__{maker.name}"
            self.use(to, shift)
            write(depth + 2, f"for _r in range({to}.size):")
            write(depth + 3, "_u = _np.uint64(_r)")
            write(depth + 3, f"_var__{key}[_np.uint64({to}[_u] + _i)] = {self.call(maker, '_i', f'{shift}[_u]')}")

    def write_step(self, write: _Writer, step: Step) -> None:
        name, depth = step.name, 2
        write(depth, f"# {name}")
        if name in self.named:
            write(depth, f"_any__{name} = False")
            if not step.varied:
                write(depth, f"_of__{name} = {self.nothing(step)}")
        if step.requires:
            write(depth, f"if {' and '.join(f'_any__{d}' for d in step.requires)}:")
            depth += 1
        for needed in self.needed(step.function):
            self.write_prepare(write, depth, needed)
        if step.varied:
            self.write_varied(write, depth, step)
            return
        for h in step.function.fills:
            write(depth, f"_row__{h} = 0")
        for d in step.optional:
            write(depth, f"_is__{d} = _any__{d}")
        self.write_call(write, depth, step, f"_any__{name}", f"_of__{name}")

    def nothing(self, step: Step) -> str:
        values = step.function.values
        return "0.0" if values == 1 else f"({', '.join(['0.0'] * values)},)"

    def write_call(self, write: _Writer, depth: int, step: Step, present: str, value: str) -> None:
        call = self.call(step.function)
        if step.name not in self.named:
            write(depth, call)
            return
        write(depth, f"_result = {call}")
        write(depth, f"{present} = _result[0]")
        write(depth, f"{value} = {'_result[1]' if step.function.values == 1 else '_result[1:]'}")

    def write_varied(self, write: _Writer, depth: int, step: Step) -> None:
        """One call per variation; where a required step is absent in a variation, this one is, too."""
        name = step.name
        self.use(f"_states__{name}")
        write(depth, "_u = _np.uint64(0)")
        self.write_state(write, depth, step)
        write(depth, f"for _k in range(1, _states__{name}):")
        write(depth + 1, "_nominal = False")
        write(depth + 1, "_u = _np.uint64(_k)")
        self.write_state(write, depth + 1, step)
        write(depth, "_nominal = True")

    def write_state(self, write: _Writer, depth: int, step: Step) -> None:
        """The call for variation `_u` of the step."""
        name = step.name
        for key in sorted(step.function.prepared):
            column = self.prepared[key]
            if column.varied:
                self.use(f"_route__{name}__{column.key}")
                write(depth, f"_row__{column.key} = _route__{name}__{column.key}[_u]")
        for h in step.function.fills:
            self.use(f"_route__{name}__{h}")
            write(depth, f"_row__{h} = _route__{name}__{h}[_u]")
        for d in (*step.requires, *step.optional):
            if self.steps[d].varied:
                self.use(f"_route__{name}__{d}")
                write(depth, f"_s = _np.uint64(_route__{name}__{d}[_u])")
                write(depth, f"_is__{d} = _any__{d} and _has__{d}[_s]")
                values = [f"_values__{d}[_s, {i}]" for i in range(self.steps[d].function.values)]
                write(depth, f"_of__{d} = {values[0] if len(values) == 1 else '(' + ', '.join(values) + ',)'}")
            else:
                write(depth, f"_is__{d} = _any__{d}")
        if name in self.named:
            write(depth, f"_has__{name}[_u] = False")
        if gate := [f"_is__{d}" for d in step.requires if self.steps[d].varied]:
            write(depth, f"if {' and '.join(gate)}:")
            depth += 1
        call = self.call(step.function)
        if name not in self.named:
            write(depth, call)
        else:
            write(depth, f"_result = {call}")
            write(depth, "if _result[0]:")
            write(depth + 1, f"_any__{name} = True")
            write(depth + 1, f"_has__{name}[_u] = True")
            for i in range(step.function.values):
                write(depth + 1, f"_values__{name}[_u, {i}] = _result[{i + 1}]")
