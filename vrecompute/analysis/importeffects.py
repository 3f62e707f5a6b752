"""What the user's modules do to libraries when they are imported: `np.seterr(...)`, `ak.behavior[...] = ...`.

Workers import no module of the user's: they get functions by value. So such statements of each module that is reached,
and of those that it imports, become functions that travel and count like any other; a worker calls each once, before
it does anything for the run.

A statement is one where it assigns to what a library has, or calls a function of a library and uses nothing of what
that gives. A script and a notebook do much besides (`plt.show()`), so there it is a call only by its name. What it
does to the user's own objects travels with these, so a statement that does both is an error.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import contextvars
import re
import sys
import threading
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import resolve_name
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from vrecompute import sourcetext
from vrecompute.analysis.coderange import is_user
from vrecompute.analysis.executed import Repeated, Stand, executed, reduced, stand
from vrecompute.errors import AnalysisError

__all__ = ["Effects", "apply", "effects_of"]

# They draw, print, wait, or are at work where the run is started: no number comes from them.
_ELSEWHERE = frozenset(
    {"IPython", "argparse", "atexit", "dask", "distributed", "faulthandler", "gc", "ipywidgets", "logging"}
    | {"matplotlib", "mplhep", "pathlib", "plotly", "pprint", "requests", "rich", "seaborn", "shutil", "signal"}
    | {"subprocess", "tempfile", "threading", "time", "tqdm", "urllib", "vrecompute"}
)
# Most of their functions do something to files, terminals or this process; what is set counts all the same.
_SYSTEM = frozenset({"os", "sys", "builtins"})
_PROCESS = frozenset({"argv", "path", "stdin", "stdout", "stderr", "excepthook", "displayhook", "ps1", "ps2"})
_SETS = re.compile(
    r"set(?!diff|xor)\w*|seed|register\w*|simplefilter|filterwarnings|resetwarnings|enable\w*|disable\w*|patch\w*"
    r"|install\w*|configure\w*|putenv|unsetenv|umask|overload\w*|mixin_class|update|pop|clear|append|insert"
)
_REGISTERS = re.compile(r"register\w*|overload\w*|mixin_class")
_GENERATORS = frozenset(
    {"seed", "default_rng", "Generator", "SeedSequence", "PCG64", "Philox", "Random", "SystemRandom"}
)
_SHARED_GENERATOR = (
    "its code draws from a random generator that all threads of a process share, and chunks are computed in any order; "
    "draw from numpy.random.default_rng([SEED, events.start]) in `process`"
)
_lock = threading.Lock()
# What this process has done, by what a run's modules do; and the context variables that it set.
_done: dict[str, dict[contextvars.ContextVar[Any], Any]] = {}


@dataclass(frozen=True)
class Effects:
    """`functions` do what importing did, in its order; `unnamed` says why chunks are not to be reused."""

    functions: tuple[FunctionType, ...] = ()
    unnamed: tuple[str, ...] = ()


def effects_of(modules: Iterable[str]) -> Effects:
    """Those of the user's modules that are reached, and of those that they import.

    AnalysisError for a statement that changes a library and an object of the user's.
    """
    found: dict[str, FunctionType] = {}
    texts: list[_Text] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in seen or not is_user(name) or not isinstance(module := sys.modules.get(name), ModuleType):
            return
        seen.add(name)
        own = _texts(module)
        imports = {name: where for text in own for name, where in text.imports.items()}
        for text in own:
            texts.append(text)
            for imported in sorted(_imported(text.tree, module)):
                visit(imported)
            at = stand(vars(module)) if text is own[-1] else ()
            for statement, function in _found(text, imports, vars(module), at, script=name == "__main__"):
                found.pop(statement, None)  # a notebook's cell may have been run again
                found[statement] = function

    for name in sorted(modules):
        visit(name)
    functions = tuple(found.values())
    seeded = any(f.__name__.endswith("_seed") for f in functions) and any(map(_draws, texts))
    return Effects(functions, (_SHARED_GENERATOR,) if seeded else ())


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
                "run's do not; run it with another Client()"
            )
        if not functions:
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


class _Text:
    """A module's text, or that of a notebook's cell; `imports` has the module behind each name that it imports."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        try:
            self.tree = sourcetext.syntax_of(text)
        except (SyntaxError, ValueError, RecursionError):  # a cell with magic
            self.tree = ast.Module([], [])
        self.imports = _imports_of(self.tree)


def _imports_of(tree: ast.AST) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in _here(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.partition(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {alias.asname or alias.name: str(node.module) for alias in node.names}
    return found


@lru_cache(maxsize=256)
def _text(name: str, text: str) -> _Text:
    return _Text(name, text)


def _texts(module: ModuleType) -> list[_Text]:
    if module.__name__ == "__main__" and "get_ipython" in vars(module):
        return [_text("the notebook", cell) for cell in vars(module).get("In", ()) if isinstance(cell, str)]
    if (file := getattr(module, "__file__", None)) is None:
        return []
    # A file's own module stays as it was loaded, whatever others were loaded from that file since.
    text = getattr(getattr(module.__spec__, "loader", None), "text", None)
    if text is None:
        try:
            with tokenize.open(file) as opened:
                text = opened.read()
        except (OSError, SyntaxError, UnicodeDecodeError):
            text = sourcetext.kept(file) or ""
    return [_text(Path(file).name, text)]


def _imported(tree: ast.AST, module: ModuleType) -> set[str]:
    """Modules that a text imports, anywhere, with the packages they are in."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                with contextlib.suppress(ImportError):
                    base = resolve_name("." * node.level + base, module.__package__ or module.__name__)
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return {".".join(name.split(".")[: n + 1]) for name in names for n in range(name.count(".") + 1)}


def _found(
    text: _Text, imports: Mapping[str, str], members: dict[str, Any], at: Stand, *, script: bool
) -> Iterator[tuple[str, FunctionType]]:
    """The statements of a text that have changed libraries, and functions that do what they did."""
    for node in _done_so_far(text, imports, members, at, script=script):
        if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            registers = [d for d in node.decorator_list if _REGISTERS.fullmatch(_chain(d)[-1])]
            statements = [_registration(node, decorator) for decorator in registers]
        else:
            # a block of a script may hold all of it, the run as well
            statements = reduced(node, _Look(imports, members, script).matters) if script else [node]
        for statement in statements:
            look = _Look(imports, members, script)
            look.at(statement)
            if not look.foreign:
                continue
            if look.own:
                raise AnalysisError(
                    f"{text.name}:{node.lineno} changes {look.foreign[0]} and {look.own[0]} when it is imported; "
                    "workers do not import it, and get only the second: change them in two statements"
                )
            yield ast.unparse(statement), _function(text, node.lineno, statement, look.foreign[0], members)


def _done_so_far(
    text: _Text, imports: Mapping[str, str], members: dict[str, Any], at: Stand, *, script: bool
) -> Iterator[ast.stmt]:
    try:
        yield from executed(text.tree.body, at)
    except Repeated as loop:
        look = _Look(imports, members, script)
        look.at(loop.statement)
        if look.foreign:
            raise AnalysisError(
                f"{text.name}:{loop.statement.lineno} changes {look.foreign[0]} in a loop that starts runs, and workers "
                "cannot follow it: give `process` what changes as a Parameter, or change it before the loop"
            ) from None


def _registration(node: ast.FunctionDef | ast.ClassDef, decorator: ast.expr) -> ast.stmt:
    called = ast.Call(decorator, [ast.Name(node.name, ast.Load())], [])
    return ast.fix_missing_locations(ast.copy_location(ast.Expr(called), decorator))


def _function(text: _Text, line: int, statement: ast.stmt, what: str, members: dict[str, Any]) -> FunctionType:
    name = "on_import_" + re.sub(r"\W+", "_", what).strip("_")
    body = "\n".join(f"    {each}" for each in ast.unparse(statement).splitlines())
    written = f"def {name}():\n{body}\n"
    file = f"<{text.name}:{line}, {what}>"
    sourcetext.keep(file, written)
    code = next(c for c in compile(written, file, "exec").co_consts if hasattr(c, "co_code"))
    return FunctionType(code, members)


@dataclass
class _Look:
    """What a statement changes: `foreign`, of libraries, and `own`, of the user's modules, by name without values."""

    imports: Mapping[str, str]
    members: Mapping[str, Any]
    script: bool
    foreign: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    _local: set[str] = field(default_factory=set)
    _seen: set[int] = field(default_factory=set)

    def at(self, statement: ast.AST) -> None:
        """Look at a statement and those in it; functions and classes that it defines are only defined."""
        self.imports = {**self.imports, **_imports_of(statement)}
        for node in _here(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self._local.add(node.id)
            elif isinstance(node, ast.Global):
                self.own += node.names
            elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
                self._changed(node)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                self._called(node.value, alone=True)
            elif isinstance(node, ast.Call):
                self._called(node, alone=False)

    def matters(self, statement: ast.stmt) -> bool:
        """Whether it changes a library, or may make a name that one which does so needs."""
        look = _Look(self.imports, self.members, self.script)
        look.at(statement)
        makes = isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Import | ast.ImportFrom)
        calls = [node.func for node in _here(statement) if isinstance(node, ast.Call)]
        return bool(look.foreign) or (makes and not any(look._kind(called)[0] == "own" for called in calls))

    def _changed(self, target: ast.expr) -> None:
        kind, top = self._kind(target)
        names = _chain(target)
        process = top == "sys" and not _PROCESS.isdisjoint(names)
        if kind == "library" and top not in _ELSEWHERE and not process:
            self.foreign.append(".".join(names))
        elif kind == "own":
            self.own.append(".".join(names))

    def _called(self, call: ast.Call, *, alone: bool) -> None:
        kind, top = self._kind(call.func)
        names = _chain(call.func)
        if kind == "builtin" and names[0] in ("setattr", "delattr") and call.args:
            self._changed(call.args[0])
        elif kind == "library" and top not in _ELSEWHERE:
            sets = _SETS.fullmatch(names[-1]) is not None
            process = top == "sys" and not _PROCESS.isdisjoint(names)
            if not process and (sets or (alone and not self.script and top not in _SYSTEM)):
                self.foreign.append(".".join(names) + "()")
        elif kind == "own" and alone and isinstance(call.func, ast.Name):
            self._within(self.members.get(call.func.id))
        elif kind == "own" and alone:
            self.own.append(".".join(names))

    def _within(self, function: Any) -> None:
        """What a function of the user's does that is called."""
        if not isinstance(function, FunctionType) or id(function) in self._seen:
            return
        self._seen.add(id(function))
        if (found := sourcetext.find(function.__code__)) is None or isinstance(found.node, ast.Lambda):
            return
        imports = _text(Path(found.file).name, found.text).imports
        inner = _Look(imports, function.__globals__, self.script, _seen=self._seen)
        inner._local |= set(function.__code__.co_varnames)
        for statement in found.node.body:
            inner.at(statement)
        self.foreign += inner.foreign
        self.own += inner.own

    def _kind(self, value: ast.expr) -> tuple[str, str]:
        """Whose the object is that a chain of attributes, items and calls begins with, and its topmost module."""
        name = _chain(value)[0]
        held = self.members.get(name)
        if isinstance(held, ModuleType):
            module = held.__name__
        elif name in self.imports:
            module = self.imports[name]
            module = str(getattr(held, "__module__", None) or module) if callable(held) else module
        elif name in self._local or not name:
            return "local", ""
        elif name not in self.members and hasattr(builtins, name):
            return "builtin", "builtins"
        else:
            return "own", ""
        return ("own" if is_user(module) else "library"), module.partition(".")[0]


def _here(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all in it that are carried out when it is: not the bodies of functions and classes."""
    yield node
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
        for child in ast.iter_child_nodes(node):
            yield from _here(child)


def _chain(value: ast.expr) -> list[str]:
    """Names of a chain such as `np.random.seed`, without what is in brackets; the first is empty for another object."""
    names: list[str] = []
    while not isinstance(value, ast.Name):
        if isinstance(value, ast.Attribute):
            names.append(value.attr)
            value = value.value
        elif isinstance(value, ast.Subscript):
            value = value.value
        elif isinstance(value, ast.Call):
            value = value.func
        else:
            return ["", *reversed(names)]
    return [value.id, *reversed(names)]


def _draws(text: _Text) -> bool:
    """Whether a text calls functions of the random generators that a process shares."""
    for node in ast.walk(text.tree):
        if isinstance(node, ast.Call):
            first, *rest = _chain(node.func)
            module = ".".join([text.imports.get(first, first), *rest[:-1]])
            name = rest[-1] if rest else first if first in text.imports else ""  # `from random import gauss`
            if module in ("random", "numpy.random") and name and name not in _GENERATORS:
                return True
    return False
