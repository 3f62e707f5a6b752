"""What a statement changes, of libraries and of the user's own, as its text says; and what else it does.

It changes a library where it assigns to what that has, or calls a function of it and uses nothing of what that gives.
A script and a notebook do much besides (`plt.show()`), so there it is a call only by its name.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, Literal

from vrecompute import sourcetext
from vrecompute.analysis.asking import attribute_of, is_a, module_of
from vrecompute.analysis.carriedtext import Carried, carried, without_magic
from vrecompute.analysis.coderange import is_user

__all__ = ["Change", "Look", "Text", "chain", "here", "text_of"]

# They draw, print, wait, or are at work where the run is started: no number comes from them.
_ELSEWHERE = frozenset(
    {"IPython", "argparse", "asyncio", "atexit", "dask", "distributed", "faulthandler", "gc", "ipywidgets", "logging"}
    | {"matplotlib", "mplhep", "multiprocessing", "pathlib", "plotly", "pprint", "requests", "rich", "seaborn"}
    | {"shutil", "signal", "subprocess", "tempfile", "threading", "time", "tqdm", "urllib", "vrecompute"}
)
# Most of their functions do something to files, terminals or this process; what is set counts all the same.
_SYSTEM = frozenset({"os", "sys", "builtins"})
_PROCESS = frozenset({"argv", "path", "stdin", "stdout", "stderr", "excepthook", "displayhook", "ps1", "ps2"})
_SETS = re.compile(
    r"set(?!diff|xor)\w*|seed|register\w*|simplefilter|filterwarnings|resetwarnings|enable\w*|disable\w*|patch\w*"
    r"|install\w*|configure\w*|putenv|unsetenv|umask|overload\w*|mixin_class"
)
# Methods that change what they are of; functions by such names, as `np.append`, give something new.
_METHODS = frozenset({"append", "clear", "insert", "pop", "update"})
# Of these a patch makes no number.
_NO_NUMBERS = _SYSTEM | {"socket", "ssl"}
# What may be done once more on a worker: builtins but for these, and these libraries.
_NOT_TWICE = frozenset({"__import__", "breakpoint", "compile", "eval", "exec", "exit", "input", "open", "quit"})
_TWICE = frozenset({"contextlib", "functools", "importlib", "itertools", "logging", "math", "re", "warnings"})
_PLAIN = (str, bytes, int, float, complex, list, tuple, dict, set, frozenset, type(None))
_SYSTEM_TWICE = frozenset({"cpu_count", "environ", "getcwd", "getenv", "path"})


@dataclass(frozen=True)
class Change:
    """A change of a library: `what` without values, and `text` as it is written, at a line of `file`.

    `alters`: whether what `process` computes may be another number by it. Of "no" either none, or decimal's context
    and numpy's floating-point errors, which go with a run wherever they were set; seeds are looked at apart.
    """

    what: str
    text: str
    file: str
    line: int
    alters: Literal["no", "maybe", "yes"]


class Text:
    """A module's text, or that of a notebook's cell; `imports` has the module behind each name that it imports."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        try:
            self.tree = sourcetext.syntax_of(text)
        except (SyntaxError, ValueError, RecursionError):
            self.tree = ast.Module([], [])
        self.tree.body = [without_magic(node) for node in self.tree.body]
        self.imports = _imports_of(self.tree)


@lru_cache(maxsize=256)
def text_of(name: str, text: str) -> Text:
    """A text that was looked at before is not parsed again."""
    return Text(name, text)


@dataclass
class Look:
    """What a statement of `file` does: changes of libraries, and of the user's `own` by name without values.

    `functions` are those that other statements were found to call, by what their own statements do.
    `carried` names what carries out a text that changes libraries, or one that is not known, as `exec` or `%run FILE`.
    `bound` names what a worker has not: vrecompute's own objects, as a Client is, and the command line. `besides` names
    calls that it may be wrong to do once more, `reads` what it takes from the module.
    """

    file: str
    imports: Mapping[str, str]
    members: Mapping[str, Any]
    script: bool
    functions: dict[tuple[int, bool], Look | None]
    changes: list[Change] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    carried: list[str] = field(default_factory=list)
    bound: list[str] = field(default_factory=list)
    besides: list[str] = field(default_factory=list)
    reads: set[str] = field(default_factory=set)
    _local: set[str] = field(default_factory=set)
    _calls: list[tuple[FunctionType, bool]] = field(default_factory=list)

    def at(self, statement: ast.AST) -> None:
        """Look at a statement, at those in it, and at functions of the user's that these call.

        Functions and classes that it defines are only defined.
        """
        self._at(statement)
        self._follow()

    def within(self, frame: FrameType) -> None:
        """Look at the function of the user's that a frame is of."""
        if (look := self._function(frame.f_code, frame.f_globals)) is not None:
            self._take(look, alone=True)
            self._calls += look._calls
            self._follow()

    def _at(self, statement: ast.AST) -> None:
        self.imports = {**self.imports, **_imports_of(statement)}
        alone = {id(node.value) for node in here(statement) if isinstance(node, ast.Expr)}
        for node in here(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self._local.add(node.id)
            elif isinstance(node, ast.Name):
                self._named(node)
            elif isinstance(node, ast.Global):
                self.own += node.names
            elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
                self._changed(node, node, self._thing(node.value) if isinstance(node, ast.Attribute) else None)
            elif isinstance(node, ast.Attribute) and node.attr == "argv" and self._kind(node) == ("library", "sys"):
                self.bound.append("sys.argv")
            elif isinstance(node, ast.Call):
                self._called(node, alone=id(node) in alone)

    def is_library(self, value: ast.expr) -> bool:
        """Whether an object is a library's, by the name that it is reached from."""
        return self._kind(value)[0] in ("library", "builtin")

    def _follow(self) -> None:
        """Take what functions do that are called, and those that they call, whose value is used where not `alone`."""
        seen: set[tuple[int, bool]] = set()
        while self._calls:
            function, alone = self._calls.pop(0)
            key = id(function.__code__), alone
            if key not in seen and (look := self._function(function.__code__, function.__globals__)) is not None:
                self._take(look, alone=alone)
                self._calls += [(called, alone and also) for called, also in look._calls]
            seen.add(key)

    def _take(self, look: Look, *, alone: bool) -> None:
        self.bound += look.bound
        self.carried += look.carried
        self.changes += [] if alone or not look.carried else look.changes
        self.reads |= look.reads - look._local if look.members is self.members else set()
        self.besides += look.besides if alone else look.besides + look.own
        if alone:
            self.changes += look.changes
            self.own += look.own

    def _function(self, code: CodeType, members: Mapping[str, Any]) -> Look | None:
        """What a function does itself; None where its text is not known."""
        key = id(code), self.script
        if key not in self.functions:
            self.functions[key] = None
            found = sourcetext.find(code)
            if found is not None and not isinstance(found.node, ast.Lambda):
                file = "the notebook" if "get_ipython" in members else Path(found.file).name
                imports = text_of(file, found.text).imports
                look = self.functions[key] = Look(file, imports, members, self.script, self.functions)
                look._local |= {*code.co_varnames, *code.co_cellvars}
                for statement in found.node.body:
                    look._at(statement)
        return self.functions[key]

    def _named(self, name: ast.Name) -> None:
        self.reads |= {name.id} if name.id in self.members else set()
        self.bound += [name.id] if self._is_bound(name.id) else []
        if (function := self._own_function(name)) is not None:  # be it an argument
            self._calls.append((function, False))

    def _changed(self, target: ast.expr, written: ast.expr, holder: Any) -> None:
        kind, top = self._kind(target)
        names = chain(target)
        process = top == "sys" and not _PROCESS.isdisjoint(names)
        if kind == "library" and top not in _ELSEWHERE and not process:
            patches = isinstance(holder, ModuleType | type) and top not in _NO_NUMBERS
            none = top == "warnings" or (top == "decimal" and "getcontext" in names)
            self._add(".".join(names), written, "no" if none else "yes" if patches else "maybe")
        elif kind == "own":
            self.own.append(".".join(names))

    def _add(self, what: str, written: ast.expr, alters: Literal["no", "maybe", "yes"]) -> None:
        self.changes.append(Change(what, ast.unparse(written), self.file, written.lineno, alters))

    def _called(self, call: ast.Call, *, alone: bool) -> None:
        kind, top = self._kind(call.func)
        names = chain(call.func)
        if (given := carried(call)) is not None and (kind != "own" or names[0] == "get_ipython"):
            self._carries(call, given)
        if kind == "builtin" and names[0] in ("setattr", "delattr") and call.args:
            self._changed(call.args[0], call, self._thing(call.args[0]))
        elif kind == "library" and self._sets(call.func, top, alone=alone):
            self._add(".".join(names) + "()", call, "no" if _is_harmless(call, top, names[-1]) else "maybe")
        elif kind == "own" and (function := self._own_function(call.func)) is not None:
            self._calls.append((function, alone))
        elif kind == "own" and alone and not isinstance(call.func, ast.Name):
            self.own.append(".".join(names))
        elif not self._may_be_done_twice(kind, top, names):
            self.besides.append(".".join(names) + "()")

    def _carries(self, call: ast.Call, given: Carried) -> None:
        """Look at a text that a call carries out."""
        if given.text is None:
            self.carried.append(given.title)
            self._add(given.title, call, "maybe")
            return
        key = hash(given.text), self.script
        if key not in self.functions:
            text = text_of(given.file or self.file, given.text)
            imports = {**self.imports, **text.imports}
            look = self.functions[key] = Look(given.file or self.file, imports, self.members, True, self.functions)
            for statement in text.tree.body:
                look.at(statement)
        if (known := self.functions[key]) is not None and known.changes:
            self.carried.append(given.title)
            self.changes += known.changes

    def _sets(self, function: ast.expr, top: str, *, alone: bool) -> bool:
        """Whether a call of what a library has changes it."""
        names = chain(function)
        if top in _ELSEWHERE or (top == "sys" and not _PROCESS.isdisjoint(names)):
            return False
        if alone and not self.script and top not in _SYSTEM:
            return True
        if names[-1] in _METHODS:
            return isinstance(function, ast.Attribute) and not isinstance(self._thing(function.value), ModuleType)
        return _SETS.fullmatch(names[-1]) is not None and (alone or not _is_of_new(function))

    def _may_be_done_twice(self, kind: str, top: str, names: list[str]) -> bool:
        if kind == "library":
            return top in _TWICE or (top in _SYSTEM and not _SYSTEM_TWICE.isdisjoint(names[:2]))
        if kind == "own":  # a method of plain data, as `settings.items()`
            return isinstance(self._held(names[0]), _PLAIN)
        if kind == "local":  # not what a name holds that is given
            return names[0] == "" or len(names) > 1
        return names[0] not in _NOT_TWICE

    def _held(self, name: str) -> Any:
        """What a name holds by now; None for a weak proxy, which may be dead and answers no question then."""
        held = self.members.get(name)
        return None if issubclass(type(held), weakref.ProxyTypes) else held

    def _kind(self, value: ast.expr) -> tuple[str, str]:
        """Whose the object is that a chain of attributes, items and calls begins with, and its topmost module."""
        if (given := _made_of(value)) is not None and (kind := self._kind(given)[0]) in ("own", "local"):
            return kind, ""
        name = chain(value)[0]
        held = self._held(name)
        if is_a(held, ModuleType):
            module = held.__name__
        elif name in self.imports:
            module = self.imports[name]
            module = str(attribute_of(held, "__module__") or module) if callable(held) else module
        elif name in self._local or not name:
            return "local", ""
        elif is_a(held, type) and held.__module__ != "builtins" and not is_user(held.__module__):
            module = held.__module__  # another name of a library's class
        elif name not in self.members and hasattr(builtins, name):
            return "builtin", "builtins"
        else:
            return "own", ""
        return ("own" if is_user(module) else "library"), module.partition(".")[0]

    def _thing(self, value: ast.expr) -> Any:
        """What a name, or an attribute of a module, is by now; None where that is not known."""
        if isinstance(value, ast.Attribute):
            holder = self._thing(value.value)
            return attribute_of(holder, value.attr) if is_a(holder, ModuleType) else None
        if not isinstance(value, ast.Name):
            return None
        known = self._held(value.id)
        return known if known is not None else sys.modules.get(self.imports.get(value.id, ""))

    def _own_function(self, value: ast.expr) -> FunctionType | None:
        thing = self._thing(value)
        return thing if is_a(thing, FunctionType) and is_user(str(thing.__module__)) else None

    def _is_bound(self, name: str) -> bool:
        """Whether a name leads to a Client, to what one gave, or to the class."""
        held = self._held(name)
        if held is None and (module := sys.modules.get(self.imports.get(name, ""))) is not None:
            held = getattr(module, name, module)
        if is_a(held, ModuleType):
            return held.__name__ == "vrecompute"
        if is_a(held, (type, FunctionType)):
            return held.__module__ == "vrecompute.client"
        return module_of(type(held)).partition(".")[0] == "vrecompute"


def _is_harmless(call: ast.Call, top: str, name: str) -> bool:
    """Whether what a call sets makes no number, or goes with a run by other means: see `Change.alters`."""
    if top == "warnings":
        first = call.args[0] if call.args else None
        return name == "resetwarnings" or (isinstance(first, ast.Constant) and first.value != "error")
    return name in ("seed", "set_printoptions") or (top, name) in {("numpy", "seterr"), ("decimal", "setcontext")}


def _made_of(value: ast.expr) -> ast.expr | None:
    """What a call in a chain makes something of that shares its content, as `np.asarray(mine)[0]` does."""
    while isinstance(value, ast.Attribute | ast.Subscript | ast.Call):
        if isinstance(value, ast.Call):
            name = chain(value.func)[-1]
            if value.args and not name.startswith("get") and name not in ("__import__", "import_module", "vars"):
                return value.args[0] if isinstance(value.args[0], ast.Name | ast.Attribute | ast.Subscript) else None
            value = value.func
        else:
            value = value.value
    return None


def _is_of_new(function: ast.expr) -> bool:
    """Whether it is a method of what another call has made: `pd.read_csv(file).set_index`, not `getcontext().set`."""
    inner = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    return any(not chain(each)[-1].startswith("get") for each in inner)


def _imports_of(tree: ast.AST) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in here(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.partition(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {alias.asname or alias.name: str(node.module) for alias in node.names}
    return found


def here(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all in it that are carried out when it is: not the bodies of functions and classes."""
    yield node
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
        for child in ast.iter_child_nodes(node):
            yield from here(child)


def chain(value: ast.expr) -> list[str]:
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
