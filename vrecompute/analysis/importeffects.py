"""What the user's modules do to libraries when they are imported: `np.seterr(...)`, `ak.behavior[...] = ...`.

Workers import no module of the user's: they get functions by value. So such statements of each module that is reached,
and of those that it imports, become functions that travel and count like any other; a worker calls each once, before
it does anything for the run.

Of a script or a notebook these are the statements at its top level that have ended. A change inside what is under way,
or inside what cannot be done once more, as a loop that starts runs, is not done: where it alters numbers the run is
refused, and where it may, nothing of the run is reused. The same holds where it is not known whether a change was done:
in a statement or a cell that raised, in a module whose import raised, in a text that `exec` or `%run` was given. What
a statement does to the user's own objects travels with these, so a statement of a module that does both is an error.
"""

from __future__ import annotations

import ast
import contextvars
import re
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType, FunctionType, ModuleType
from typing import Any

from vrecompute import sourcetext
from vrecompute.analysis.carriedtext import hides_errors
from vrecompute.analysis.cells import is_notebook
from vrecompute.analysis.code import NOT_REPEATED
from vrecompute.analysis.coderange import is_user
from vrecompute.analysis.family import loaded
from vrecompute.analysis.librarychanges import Change, Look, Text, chain, here
from vrecompute.analysis.moduletexts import absent_text, imported_by, reloaded_by, texts_of
from vrecompute.analysis.underway import ENDED, RUNNING, Course, ended, frames_of, text_course
from vrecompute.errors import AnalysisError, UsageError

__all__ = ["Effects", "apply", "done_here", "effects_of"]

_REGISTERS = re.compile(r"register\w*|overload\w*|mixin_class")
_lock = threading.Lock()
# What this process has done, by what a run's modules do; and the context variables that it set.
_done: dict[str, dict[contextvars.ContextVar[Any], Any]] = {}


@dataclass(frozen=True)
class Effects:
    """`functions` do what importing did, in its order; `unnamed` says why chunks are not to be reused."""

    functions: tuple[FunctionType, ...] = ()
    unnamed: tuple[str, ...] = ()


def effects_of(modules: Iterable[str], scope: Mapping[str, Any]) -> Effects:
    """Those of the user's modules that are reached, and of those that they import, as code with globals `scope` does.

    UsageError for a change that alters numbers and that workers cannot repeat; AnalysisError for a statement of a
    module that changes a library and an object of the user's.
    """
    found = _Found()
    seen: set[str] = set()

    def visit(name: str) -> None:
        # A module that is not there is not asked where it would be: that imports the package it is in.
        if name in seen or not isinstance(module := loaded(name, scope), ModuleType) or not is_user(name):
            return
        seen.add(name)
        frames = frames_of(vars(module))
        own = texts_of(module, text_course(frames))
        imports = {name: where for text, _ in own for name, where in text.imports.items()}
        for number, (text, course) in enumerate(own, 1):
            for imported in sorted(imported_by(ast.walk(text.tree), module)):
                visit(imported)
            of_text = _OfText(text, imports, vars(module), name == "__main__")
            done, in_part = ended(text.tree.body, course)
            for node in done:
                of_text.add_ended(node, found)
                visit_raised(node, module)
            if course.why == RUNNING:
                of_text.add_under_way(in_part, frames if number == len(own) else (), found)
            else:
                of_text.add_raised(in_part, course, found)
            for node in in_part:
                visit_raised(node, module)
                for reloaded in reloaded_by(here(node), module):
                    for again, _ in texts_of(loaded(reloaded, scope), ENDED):
                        _OfText(again, again.imports, {}, script=False).add_absent(found, "reload")

    def visit_raised(node: ast.stmt, module: ModuleType) -> None:
        """Visit modules that a statement imported and that are not there: their import raised."""
        for name in sorted(imported_by(here(node), module) - sys.modules.keys() - seen):
            if (text := absent_text(name)) is not None:
                seen.add(name)
                for imported in sorted(imported_by(ast.walk(text.tree), module)):
                    visit(imported)
                _OfText(text, text.imports, {}, script=False).add_absent(found)

    for name in sorted(modules):
        visit(name)
    unnamed = found.not_repeated()
    return Effects(tuple(done.function for done in found.done.values()), tuple(unnamed))


def apply(key: str, functions: Sequence[FunctionType]) -> Mapping[contextvars.ContextVar[Any], Any]:
    """Do here what importing did, once a process; gives the context variables that it set, as `np.seterr` does.

    `key` tells runs apart. AnalysisError where this process has done what another run's modules do: that is not undone.
    """
    with _lock:
        if key in _done:
            return _done[key]
        if _done:
            raise AnalysisError(
                "workers have changed libraries as the modules of another run did when they were imported, and this "
                "run's do not; run it with another Client(), which starts other workers"
            )
        if not key:
            return {}
        context = contextvars.Context()
        for function in functions:
            # a decorator may look for the module of what it decorates
            name = str(function.__globals__.get("__name__"))
            absent = sys.modules.setdefault(name, placeholder := ModuleType(name)) is placeholder
            try:
                context.run(function)
            except Exception as error:
                raise AnalysisError(
                    f"{function.__code__.co_filename[1:-1]}, was done where the run was started, and cannot be done on "
                    f"a worker: {type(error).__name__}: {error}; do it in `process`, or not when the module is imported"
                ) from error
            finally:
                if absent:
                    del sys.modules[name]
        _done[key] = dict(context)
        return _done[key]


def done_here() -> tuple[str, ...]:
    """By which keys `apply` has done anything in this process."""
    with _lock:
        return tuple(_done)


@dataclass(frozen=True)
class _Done:
    """What a statement of the module with `members` did, as a function; it reads the user's `names`."""

    function: FunctionType
    members: Mapping[str, Any]
    names: frozenset[str]
    changes: Sequence[Change]


@dataclass(frozen=True)
class _Left:
    """A change that workers cannot repeat, `why`, and what to do `instead`; `statement` is its text."""

    change: Change
    why: str
    instead: str
    statement: str = ""

    def __str__(self) -> str:
        at, what = f"{self.change.file}:{self.change.line}", self.change.what
        does = "calls" if what.endswith("()") else "changes"
        return f"{at} {does} {what} {self.why}, {NOT_REPEATED}; {self.instead}"


@dataclass
class _Found:
    """What was `done`, by the text of its statement, in its order; and what is `left`. `functions` are for `Look`."""

    done: dict[str, _Done] = field(default_factory=dict)
    left: list[_Left] = field(default_factory=list)
    functions: dict[tuple[int, bool], Look | None] = field(default_factory=dict)

    def add(self, statement: ast.stmt, done: _Done) -> None:
        """A statement that was done, perhaps again, as a notebook's cell is; what was left, it may have mended."""
        text = ast.unparse(statement)
        self.done.pop(text, None)
        self.done[text] = done
        alone = isinstance(statement, ast.Assign | ast.Delete | ast.Expr)
        again = {change.text for change in done.changes if alone}
        self.left = [each for each in self.left if each.statement != text and each.change.text not in again]

    def bind(self, names: set[str], members: Mapping[str, Any], line: int) -> None:
        """Of what a statement read by one of these names, a worker would have what the name is now."""
        for text, done in list(self.done.items()):
            if done.members is members and (anew := done.names & names):
                del self.done[text]
                why = f"by {min(anew)}, which line {line} defines anew"
                self.left += [_Left(change, why, "write it once more, below that", text) for change in done.changes]

    def not_repeated(self) -> list[str]:
        """Why nothing of the run is to be reused; UsageError where it would give other numbers."""
        for each in self.left:
            if each.change.alters == "yes":
                raise UsageError(str(each))
        return list(dict.fromkeys(str(each) for each in self.left if each.change.alters == "maybe"))


@dataclass
class _OfText:
    """The statements of a module's text, or of a notebook's cell."""

    text: Text
    imports: Mapping[str, str]
    members: dict[str, Any]
    script: bool

    def add_ended(self, node: ast.stmt, found: _Found) -> None:
        """A statement that has ended: it can be done once more, or not."""
        found.bind(_bound(node), self.members, node.lineno)
        for part in self._parts(node):
            self._add(part, found)

    def add_under_way(self, nodes: Sequence[ast.stmt], frames: Sequence[FrameType], found: _Found) -> None:
        """Changes inside what is under way: whether they come before the run cannot be said."""
        for frame in frames:
            look = self._look(found, script=True)
            look.within(frame)
            self._leave(look, f"{frame.f_code.co_name}()", nodes, found)
        for node in nodes:
            found.bind(_bound(node), self.members, node.lineno)
            look = self._look(found, script=True)
            look.at(node)
            self._leave(look, _title(node), nodes, found)

    def add_raised(self, nodes: Sequence[ast.stmt], course: Course, found: _Found) -> None:
        """Statements that may have been done, in part or not: something raised there."""
        for node in nodes:
            found.bind(_bound(node), self.members, node.lineno)
            for part in self._parts(node):
                look = self._look(found, script=self.script)
                look.at(part)
                # Of several on the line that raised it is not known which did.
                if len(nodes) > 1 or course.where or not _is_all_or_nothing(part, look):
                    self._leave_unknown(look, f"inside {course.where or _title(part)}, {course.why}", part, found)

    def add_absent(self, found: _Found, what: str = "import") -> None:
        """A module whose import raised: any of its statements may have been done, and what they call too."""
        for node in ast.walk(self.text.tree):
            if isinstance(node, ast.stmt) and not hasattr(node, "body"):
                look = self._look(found, script=False)
                look.at(node)
                instead = f"write it where the {what} is, and alone"
                why = f"inside {self.text.name}, whose {what} raised"
                found.left += [_Left(change, why, instead, ast.unparse(node)) for change in look.changes]

    def _leave_unknown(self, look: Look, why: str, node: ast.stmt, found: _Found) -> None:
        instead = "write it once more in a cell, and alone"
        if not self._is_cell:
            start = "start that again" if self.script else "import that in a new process"
            instead = f"write it alone at the top level of {self.text.name}, and {start}"
        found.left += [_Left(change, why, instead, ast.unparse(node)) for change in look.changes]

    def _parts(self, node: ast.stmt) -> list[ast.stmt]:
        """What of a statement of the top level may change a library."""
        if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) and not self.script:
            return []
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            registers = [d for d in node.decorator_list if _REGISTERS.fullmatch(chain(d)[-1])]
            return [_registration(node, decorator) for decorator in registers]
        return [node]

    def _leave(self, look: Look, title: str, nodes: Sequence[ast.stmt], found: _Found) -> None:
        above = f", above line {nodes[0].lineno}" if nodes else ""
        instead = (
            "move it to a cell before" if self._is_cell else f"move it to the top level of {self.text.name}{above}"
        )
        known = {each.change for each in found.left}
        why = f"inside {title}, {RUNNING}"
        found.left += [_Left(change, why, instead) for change in look.changes if change not in known]

    def _look(self, found: _Found, *, script: bool) -> Look:
        return Look(self.text.name, self.imports, self.members, script, found.functions)

    @property
    def _is_cell(self) -> bool:
        return is_notebook(self.members)

    def _add(self, statement: ast.stmt, found: _Found) -> None:
        look = self._look(found, script=self.script)
        look.at(statement)
        if not look.changes:
            return
        if look.carried or hides_errors(statement):
            inside = look.carried[0] if look.carried else f"{_title(statement)}, which hides whether it raised"
            self._leave_unknown(look, f"inside {inside}", statement, found)
            return
        name, line = look.changes[0].what, statement.lineno
        if look.own and not self.script:
            raise AnalysisError(
                f"{self.text.name}:{line} changes {name} and {look.own[0]} when it is imported; "
                "workers do not import it, and get only the second: change them in two statements"
            )
        more = [*look.bound, *look.own, *([] if _is_simple(statement, look) else look.besides)]
        if look.bound or (self.script and more):
            why = f"inside {_title(statement)}, which also uses {more[0]}"
            where = "in a cell" if self._is_cell else f"at the top level of {self.text.name}"
            instead = f"write it alone {where}, with names for what it takes from elsewhere"
            found.left += [_Left(change, why, instead) for change in look.changes]
            return
        function = _function(self.text, line, statement, name, self.members)
        names = frozenset(look.reads - _bound(statement))
        found.add(statement, _Done(function, self.members, names, look.changes))


def _registration(node: ast.FunctionDef | ast.ClassDef, decorator: ast.expr) -> ast.stmt:
    called = ast.Call(decorator, [ast.Name(node.name, ast.Load())], [])
    return ast.fix_missing_locations(ast.copy_location(ast.Expr(called), decorator))


def _function(text: Text, line: int, statement: ast.stmt, what: str, members: dict[str, Any]) -> FunctionType:
    name = "on_import_" + re.sub(r"\W+", "_", what).strip("_")
    body = "\n".join(f"    {each}" for each in ast.unparse(statement).splitlines())
    written = f"def {name}():\n{body}\n"
    file = f"<{text.name}:{line}, {what}>"
    sourcetext.keep(file, written)
    code = next(c for c in compile(written, file, "exec").co_consts if hasattr(c, "co_code"))
    return FunctionType(code, members)


def _title(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        return f"{'.'.join(chain(statement.value))}()"
    if isinstance(statement, ast.If) and isinstance(statement.test, ast.Constant):  # see `Text`
        return f"the code after {statement.test.value!s}"
    if hasattr(statement, "body") or isinstance(statement, ast.Match):
        return f"the `{type(statement).__name__.removeprefix('Async').lower()}` block of line {statement.lineno}"
    return f"the statement of line {statement.lineno}"


def _is_all_or_nothing(statement: ast.stmt, look: Look) -> bool:
    """Whether nothing was changed where it raised: it has one target, or is one `setattr`, and changes that alone."""
    match statement:
        case ast.Assign(targets=[target]) | ast.AugAssign(target=target) | ast.Delete(targets=[target]):
            last: ast.expr = target
        case ast.Expr(ast.Call(ast.Name("setattr" | "delattr")) as last):
            pass
        case _:
            return False
    return not isinstance(last, ast.Tuple | ast.List) and {change.text for change in look.changes} <= {
        ast.unparse(last)
    }


def _is_simple(statement: ast.stmt, look: Look) -> bool:
    """Whether it is no block, and no call of a function of the user's, that does more than it changes."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        return look.is_library(statement.value.func)
    return not hasattr(statement, "body") and not isinstance(statement, ast.Match)


def _bound(statement: ast.stmt) -> set[str]:
    """The names of variables, functions and classes that a statement defines."""
    inner = {id(n) for each in here(statement) if isinstance(each, ast.comprehension) for n in ast.walk(each.target)}
    nodes = [node for node in here(statement) if id(node) not in inner]
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return names | {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
