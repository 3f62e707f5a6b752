"""Rewrite a physicist's function into one over plain arrays: `muon.pt[i]`, `event.weight`, `mass.fill(m, w)`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any, NoReturn

from vrecompute.errors import UsageError
from vrecompute.kernels.loop.bounds import Site
from vrecompute.kernels.loop.outside import function_of, import_line, literal, value_of
from vrecompute.kernels.loop.source_map import Where, define, define_once, line_map, read_function
from vrecompute.sourcetext import expression_of as expr
from vrecompute.sourcetext import syntax_of

__all__ = ["Binding", "Names", "Rewritten", "rewrite"]


@dataclass(frozen=True)
class Binding:
    """What a parameter of a function stands for: its `kind` and the `name` of the thing in the loop.

    Kinds: collection, event, parameters, cut, count, histogram, step, optional-step, number.
    """

    kind: str
    name: str = ""


@dataclass
class Names:
    """Names that all generated functions of one loop share, and what was met while rewriting them.

    `prepared` are columns ("electron.pt") that are computed per event: varied or derived ones.
    `columns` are those read from the source, with the place of first use; `casts` the function that makes a number of
    one ("_np.float64" of a float32).
    """

    prepared: frozenset[str]
    casts: Mapping[str, str] = field(default_factory=dict)
    columns: dict[str, Where] = field(default_factory=dict)
    event: dict[str, Where] = field(default_factory=dict)
    parameters: dict[str, Where] = field(default_factory=dict)
    cuts: dict[tuple[str, str], int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    helpers: dict[tuple[Any, ...], Rewritten] = field(default_factory=dict)
    sites: dict[Site, int] = field(default_factory=dict)
    weighted: bool = False


@dataclass
class Rewritten:
    """One generated function: `arguments` are shared names that a caller passes first, then `numbers`.

    `lines` maps a line of `source`, from 1, to the place it comes from. `values` is how many numbers a
    step returns; `once` holds for a helper that is computed once per event and arguments.
    """

    name: str
    arguments: tuple[str, ...]
    numbers: tuple[str, ...]
    source: str
    lines: Mapping[int, Where]
    where: Where
    prepared: frozenset[str]
    fills: tuple[str, ...] = ()
    values: int = 0
    once: bool = False


def rewrite(
    function: Callable[..., Any],
    name: str,
    bindings: Mapping[str, Binding],
    names: Names,
    *,
    raw: bool = False,
    **kind: bool,
) -> Rewritten:
    """`function` over plain arrays, under `name`. `raw` reads prepared columns as the source has them.

    Raises UsageError with the file and line of what cannot be part of a loop.
    """
    definition, where = read_function(function)
    worker = _Rewriter(function, where, bindings, names, raw=raw, step=kind.get("step", False))
    body = worker.body(definition)
    arguments = tuple(sorted(worker.arguments))
    numbers = tuple(a for a, b in bindings.items() if b.kind == "number")
    made = define(name, (*arguments, *numbers), body)
    if kind.get("once"):
        made = define_once(made, name, arguments, numbers)
        arguments = tuple(dict.fromkeys([*arguments, f"_memo__{name}", f"_kept__{name}", "_entry"]))
    module = ast.fix_missing_locations(ast.Module(body=[*made], type_ignores=[]))
    source = ast.unparse(module)
    return Rewritten(
        name,
        arguments,
        numbers,
        source,
        line_map(module, source, where),
        where,
        frozenset(worker.prepared),
        tuple(dict.fromkeys(worker.fills)),
        worker.values or 0,
        kind.get("once", False),
    )


class _Rewriter(ast.NodeTransformer):
    """Rewrites one function body; collects the shared names that it needs from its caller."""

    def __init__(
        self,
        function: Callable[..., Any],
        where: Where,
        bindings: Mapping[str, Binding],
        names: Names,
        *,
        raw: bool,
        step: bool,
    ) -> None:
        self.file = where.file
        self.bindings = bindings
        self.names = names
        self.raw = raw
        self.step = step
        self.arguments: set[str] = set()
        self.prepared: set[str] = set()
        self.fills: list[str] = []
        self.values: int | None = None
        self.locals: set[str] = set()
        closure = inspect.getclosurevars(function)
        self.outside: dict[str, Any] = {**closure.builtins, **closure.globals, **closure.nonlocals}

    def body(self, definition: ast.FunctionDef) -> list[ast.stmt]:
        statements = definition.body
        first = statements[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            statements = statements[1:]
        for node in ast.walk(definition):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.locals.add(node.id)
        if taken := self.locals & {n for n, b in self.bindings.items() if b.kind != "number"}:
            self.fail(definition, f"assigns to {taken.pop()!r}, which is a parameter of the function; use another name")
        if self.step:
            self.values = self.count_values(definition)
        made = [self.visit(s) for s in statements] or [ast.Pass()]
        if self.step and self.values:
            made.append(ast.copy_location(self.absent(), statements[-1] if statements else definition))
        return made

    def fail(self, node: ast.AST, what: str) -> NoReturn:
        raise UsageError(f"{self.file}:{getattr(node, 'lineno', 0)}: {what}")

    def where(self, node: ast.AST) -> Where:
        return Where(self.file, getattr(node, "lineno", 0))

    def use(self, *arguments: str) -> None:
        self.arguments.update(arguments)

    def kind(self, node: ast.AST) -> Binding | None:
        """The binding of a bare parameter name, None for anything else."""
        return self.bindings.get(node.id) if isinstance(node, ast.Name) else None

    # What a step returns: nothing (absent), or one to many numbers, always as many.
    def count_values(self, definition: ast.FunctionDef) -> int:
        lengths = set()
        for node in ast.walk(definition):
            if isinstance(node, ast.Return) and not _returns_nothing(node):
                lengths.add(len(node.value.elts) if isinstance(node.value, ast.Tuple) else 1)
        if len(lengths) > 1:
            self.fail(
                definition,
                f"{definition.name!r} returns {min(lengths)} values in one place and {max(lengths)} in another",
            )
        return lengths.pop() if lengths else 0

    def absent(self) -> ast.Return:
        return ast.Return(expr("False, " + ", ".join(["0.0"] * (self.values or 0)) + ","))

    def visit_Return(self, node: ast.Return) -> ast.AST:
        if not self.step or not self.values:
            return self.generic_visit(node)
        if _returns_nothing(node):
            return ast.copy_location(self.absent(), node)
        assert node.value is not None
        values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        given = [ast.Call(expr("_np.float64"), [self.visit(v)], []) for v in values]
        return ast.copy_location(ast.Return(ast.Tuple([ast.Constant(True), *given], ast.Load())), node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        call = node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            bound = self.kind(call.func.value)
            if bound is not None and bound.kind in ("cut", "count", "histogram"):
                do = {"cut": self.do_cut, "count": self.do_count, "histogram": self.do_histogram}[bound.kind]
                return ast.copy_location(do(call, bound), node)
        return self.generic_visit(node)

    def do_cut(self, call: ast.Call, bound: Binding) -> ast.stmt:
        assert isinstance(call.func, ast.Attribute)
        text = call.args[0] if len(call.args) == 1 else None
        if not isinstance(text, ast.Constant) or not isinstance(text.value, str):
            self.fail(call, f'write {ast.unparse(call.func)}("name of the cut")')
        slot = self.names.cuts.setdefault((call.func.attr, str(text.value)), len(self.names.cuts))
        self.use("_nominal", "_cuts")
        return syntax_of(f"if _nominal:\n    _cuts[{slot}] += 1").body[0]

    def do_count(self, call: ast.Call, bound: Binding) -> ast.stmt:
        assert isinstance(call.func, ast.Attribute)
        slot = self.names.counters.setdefault(call.func.attr, len(self.names.counters))
        self.use("_nominal", "_counters", "_fault")
        made = syntax_of(f"if _nominal:\n    _add(_counters, {slot}, 0, _fault)").body[0]
        assert isinstance(made, ast.If)
        assert isinstance(made.body[0], ast.Expr)
        assert isinstance(made.body[0].value, ast.Call)
        made.body[0].value.args[2] = self.visit(call.args[0]) if call.args else ast.Constant(1)
        return made

    def do_histogram(self, call: ast.Call, bound: Binding) -> ast.stmt:
        assert isinstance(call.func, ast.Attribute)
        if call.func.attr != "fill" or not 1 <= len(call.args) <= 2 or call.keywords:
            self.fail(call, f"write {ast.unparse(call.func.value)}.fill(value) or .fill(value, weight)")
        h = bound.name
        self.fills.append(h)
        self.use(f"_axis__{h}", f"_sums__{h}", f"_row__{h}")
        values = [self.visit(a) for a in call.args]
        weight = values[1] if len(values) == 2 else ast.Constant(1.0)
        if self.names.weighted:
            self.use("_nominal", "_factors", "_entry", f"_factor_sums__{h}")
            text = f"_fill_all(_axis__{h}, _sums__{h}, _row__{h}, 0, 0, _nominal, _factor_sums__{h}, _factors, _entry)"
        else:
            text = f"_fill(_axis__{h}, _sums__{h}, _row__{h}, 0, 0)"
        made = expr(text)
        assert isinstance(made, ast.Call)
        made.args[3:5] = [values[0], weight]
        return ast.Expr(made)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        value = node.value
        if isinstance(value, ast.Attribute):
            bound = self.kind(value.value)
            if bound is not None and bound.kind == "collection":
                return ast.copy_location(self.element(bound.name, value, node), node)
        # numba checks an index that is written as a number.
        written = node.slice.operand if isinstance(node.slice, ast.UnaryOp) else node.slice
        if isinstance(node.ctx, ast.Load) and not isinstance(written, ast.Constant | ast.Slice):
            site = self.site(node)
            return ast.Call(expr("_item"), [self.visit(value), self.visit(node.slice), *site], [])
        return self.generic_visit(node)

    def site(self, node: ast.Subscript, collection: str | None = None) -> list[ast.expr]:
        """Arguments by which the loop notes that the index is outside; numba compiles anew for a number as such."""
        site = Site(self.where(node), ast.unparse(node.value), ast.unparse(node.slice), collection)
        self.use("_fault", "_entry")
        number = self.names.sites.setdefault(site, len(self.names.sites))
        return [expr("_fault"), expr(f"_np.int64({number})"), expr("_entry")]

    def element(self, collection: str, column: ast.Attribute, node: ast.Subscript) -> ast.expr:
        """`muon.pt[i]`: one element, as `Names.casts` has it; unsigned indices save numpy's test for negative ones."""
        full, text = f"{collection}.{column.attr}", ast.unparse(node)
        if not isinstance(node.ctx, ast.Load):
            self.fail(node, f"{text}: a column cannot be written; keep the value under a name of your own")
        if isinstance(node.slice, ast.UnaryOp) and isinstance(node.slice.op, ast.USub):
            self.fail(node, f"{text}: the objects of an event count from 0, up to len - 1")
        if isinstance(node.slice, ast.Slice | ast.Tuple):
            self.fail(node, f"{text}: give one index, {ast.unparse(column)}[i]")
        if full in self.names.prepared and not self.raw:
            array, base = f"_var__{collection}__{column.attr}", f"_row__{collection}__{column.attr}"
            self.prepared.add(full)
            cast = None
        else:
            array, base = f"_raw__{collection}__{column.attr}", f"_at__{collection}"
            self.names.columns.setdefault(full, self.where(column))
            cast = self.names.casts.get(full)
        self.use(array, base, f"_n__{collection}")
        number = [expr(f"_n__{collection}"), *self.site(node, ast.unparse(column.value))]
        index = ast.Call(expr("_inside"), [self.visit(node.slice), *number], [])
        position = ast.Call(expr("_np.uint64"), [ast.BinOp(expr(base), ast.Add(), index)], [])
        made = ast.Subscript(expr(array), position, ast.Load())
        return made if cast is None else ast.Call(expr(cast), [made], [])

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        bound = self.kind(node.value)
        if bound is None:
            return self.outside_attribute(node)
        if bound.kind == "collection":
            self.fail(node, f"{ast.unparse(node)} is a column: give it an index, {ast.unparse(node)}[i]")
        if bound.kind not in ("event", "parameters"):
            self.fail(node, f"{ast.unparse(node)} cannot be used like this in an event loop")
        seen, prefix = (self.names.event, "_event") if bound.kind == "event" else (self.names.parameters, "_p")
        seen.setdefault(node.attr, self.where(node))
        self.use(f"{prefix}__{node.attr}")
        return ast.copy_location(ast.Name(f"{prefix}__{node.attr}", ast.Load()), node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        bound = self.kind(node.left)
        if bound is not None and bound.kind == "optional-step":
            operator, other = node.ops[0], node.comparators[0]
            if isinstance(other, ast.Constant) and other.value is None and isinstance(operator, ast.Is | ast.IsNot):
                self.use(f"_is__{bound.name}")
                present = f"_is__{bound.name}"
                return ast.copy_location(expr(present if isinstance(operator, ast.IsNot) else f"not {present}"), node)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id not in self.locals:
            first = self.kind(node.args[0]) if len(node.args) == 1 else None
            if node.func.id == "len" and first is not None and first.kind == "collection":
                self.use(f"_n__{first.name}")
                return ast.copy_location(ast.Name(f"_n__{first.name}", ast.Load()), node)
        if (function := function_of(self.value_of(node.func))) is not None:
            return ast.copy_location(self.helper(node, function), node)
        return self.generic_visit(node)

    def helper(self, node: ast.Call, function: FunctionType) -> ast.expr:
        """A call of another of the physicist's functions: its own copy for the collections it is given here."""
        parameters = list(inspect.signature(function).parameters)
        if node.keywords or len(node.args) != len(parameters):
            self.fail(node, f"{function.__name__} takes {', '.join(parameters)}: give each by position")
        bindings = {p: self.kind(a) or Binding("number") for p, a in zip(parameters, node.args, strict=True)}
        things = {p: b for p, b in bindings.items() if b.kind != "number"}
        key = (function, tuple(things.items()), self.raw)
        if key not in self.names.helpers:
            collections = "_".join(b.name for b in things.values() if b.kind == "collection")
            name = f"{function.__name__}__{collections or 'of'}_{len(self.names.helpers)}"
            once = getattr(function, "vrecompute_once", False)
            made = rewrite(function, name, bindings, self.names, raw=self.raw, once=once)
            if once and (made.prepared or made.fills or "_nominal" in made.arguments):
                self.fail(
                    node,
                    f"{function.__name__} is computed once per event, so it may not read "
                    f"{', '.join(sorted(made.prepared)) or 'what'} that varies or count",
                )
            self.names.helpers[key] = made
        made = self.names.helpers[key]
        self.use(*made.arguments)
        self.prepared |= made.prepared
        self.fills.extend(made.fills)
        numbers = [self.visit(a) for p, a in zip(parameters, node.args, strict=True) if bindings[p].kind == "number"]
        shared: list[ast.expr] = [ast.Name(a, ast.Load()) for a in made.arguments]
        return ast.Call(ast.Name(made.name, ast.Load()), [*shared, *numbers], [])

    def visit_Name(self, node: ast.Name) -> ast.AST:
        bound = self.bindings.get(node.id)
        if bound is not None:
            return self.bound_name(node, bound)
        if node.id in self.locals or not isinstance(node.ctx, ast.Load):
            return node
        if node.id not in self.outside:
            self.fail(node, f"{node.id!r} is not defined")
        return ast.copy_location(self.outside_name(node, self.outside[node.id]), node)

    def bound_name(self, node: ast.Name, bound: Binding) -> ast.AST:
        if bound.kind == "number":
            return node
        if bound.kind not in ("step", "optional-step"):
            self.fail(node, f"{node.id!r} cannot be used by itself in an event loop: name a column of it")
        self.use(f"_of__{bound.name}")
        return ast.copy_location(ast.Name(f"_of__{bound.name}", ast.Load()), node)

    def value_of(self, node: ast.AST) -> Any:
        """Of a name, or an attribute of one, that is none of the function's own."""
        known = {n: v for n, v in self.outside.items() if n not in self.locals and n not in self.bindings}
        return value_of(node, known)

    def outside_attribute(self, node: ast.Attribute) -> ast.AST:
        """`cuts.pt_min_gev` as the number it is; what a library has stays by name."""
        value = self.value_of(node)
        if (text := literal(value)) is not None:
            return ast.copy_location(expr(text), node)
        if value is not None and not callable(value) and not isinstance(value, ModuleType):
            self.cannot_hold(node, value)
        return self.generic_visit(node)

    def outside_name(self, node: ast.Name, value: Any) -> ast.expr:
        """A module, a number or a library function that the physicist's module names."""
        if (text := literal(value)) is not None:
            return expr(text)
        if getattr(value, "__module__", None) == "builtins":
            return node
        if (line := import_line(value, node.id)) is None:
            self.cannot_hold(node, value)
        if self.names.imports.setdefault(node.id, line) != line:
            self.fail(node, f"{node.id!r} has two different values in the functions of this loop; rename one")
        return node

    def cannot_hold(self, node: ast.Name | ast.Attribute, value: Any) -> NoReturn:
        """The loop holds numbers: of other things its machine code would keep the value of its first run."""
        name, last = ast.unparse(node), node.id if isinstance(node, ast.Name) else node.attr
        kind = "class" if isinstance(value, type) else type(value).__name__
        self.fail(node, f"{name!r} is a {kind}, which a compiled loop cannot hold: pass p.{last}, or make it a tuple")


def _returns_nothing(node: ast.Return) -> bool:
    return node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None)
