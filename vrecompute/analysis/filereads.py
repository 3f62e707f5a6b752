"""What a function reads when it is called that no audit event tells of: the environment, whether a file is there,
files that libraries open in C, and random numbers without a seed. No digest of code can hold it (law 4).

It is found in the text. What Python itself opens is heard of, under whatever name it is called: see `processreads`.
"""

from __future__ import annotations

import ast
import builtins
import functools
import os
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from vrecompute.analysis.asking import attribute_of, held_by, is_a
from vrecompute.analysis.coderange import counts
from vrecompute.analysis.lookups import lookups_of
from vrecompute.analysis.relativepaths import absolute_of, is_relative
from vrecompute.analysis.silentreaders import full_name, is_kept_open, library_name, opens_files, uses_of
from vrecompute.analysis.unseeded import INSTEAD, draws_of, seeds_of
from vrecompute.analysis.variables import variables_of, written_to
from vrecompute.errors import UsageError
from vrecompute.sourcetext import Found, file_title, line_of

__all__ = ["ENVIRONMENT_READ", "WORKING_DIRECTORY", "Reads"]

#: How what is told of an environment variable begins.
ENVIRONMENT_READ = "an environment variable is read"
#: What is in all that is told of code whose numbers depend on where it runs.
WORKING_DIRECTORY = "the working directory"

# Of the standard library, what looks at files without opening them.
_LOOKS = frozenset(
    {"access", "exists", "getatime", "getctime", "getmtime", "getsize", "is_dir", "is_file", "is_mount", "is_symlink"}
    | {"isdir", "isfile", "islink", "ismount", "lexists", "lstat", "readlink", "samefile", "stat"}
)
_PATHS = frozenset({"genericpath", "ntpath", "os", "pathlib", "posix", "posixpath"})
# Files that are in memory, or were written by `process` itself.
_OWN_FILES = (
    *("io.BytesIO", "io.StringIO", "pyarrow.BufferReader", "pyarrow.lib.BufferReader", "pyarrow.lib.py_buffer"),
    *("pyarrow.py_buffer", "tempfile."),
)
# Of an object whose class cannot be known from the text; those that look at a file have no arguments.
_METHODS = frozenset({"load_model"})
_LOOKING_METHODS = frozenset({"exists", "is_dir", "is_file", "is_mount", "is_symlink", "lstat", "stat"})
_WORKING_DIRECTORY = frozenset({"cwd", "getcwd", "getcwdb"})
_OPENERS = frozenset({"open", "read_bytes", "read_text"})
_AT_IMPORT = "make it a parameter, or read it outside functions, at import"
_FOLDER_INSTEAD = "write the whole path, or make it absolute outside functions, at import"
_ENVIRONMENT = frozenset({"environ", "environb", "expanduser", "expandvars", "getenv", "getenvb", "home"})


_CONTAINERS = (dict, list, tuple, set, frozenset, np.ndarray, property, staticmethod, classmethod)
# Methods that an object which is there already has behind it; and those of an analysis that come before `process`.
_MADE_BY = frozenset({"__init__", "__new__", "__post_init__"})
_BEFORE_PROCESS = _MADE_BY | {"columns", "needs", "open_directory", "resources"}


@dataclass
class Reads:
    """What the functions read that are called from a root, by way of all that one reaches from another.

    `own` is the analysis' package. `declared`: it declares the files that it reads. `looks`: whether it tells any.
    `seeds` are the modules whose shared random generator is given a seed, `variables` what is read of the environment.
    """

    own: str
    declared: bool
    looks: bool = True
    functions: dict[int, tuple[Found, dict[str, Any]]] = field(default_factory=dict)
    told: dict[int, list[str]] = field(default_factory=dict)
    reached: dict[int, set[tuple[int, str]]] = field(default_factory=dict)
    analyses: set[int] = field(default_factory=set)
    seeds: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)

    def edge(self, one: int, other: int, how: str) -> None:
        """`how` is the name of a class' member, `base`, or `instance` where an object is of a class."""
        self.reached.setdefault(one, set()).add((other, how))

    def function(self, function: FunctionType, found: Found, closure: Mapping[str, Any]) -> None:
        """A function, where it is written and what is in its closure."""
        self.functions[id(function)] = found, {**function.__globals__, **closure}

    def partial(self, held: functools.partial[Any]) -> None:
        """A reader with some of its arguments: what it reads when it is called is said in no text."""
        if opens_files(name := full_name(held.func)):
            self._keeps(id(held), "a functools.partial of", name)

    def kept(self, held: Any, holder: int) -> None:
        """What an object, a class or a container keeps: a reader of a library, or what one has opened."""
        if type(held) in _CONTAINERS:
            return
        if (opens := is_kept_open(held)) and not (holder in self.functions and callable(held)):  # which the text tells
            self._keeps(holder, "what is kept of", opens)

    def _keeps(self, holder: int, what: str, name: str) -> None:
        if not self.declared:
            told = f"{what} {name} may read a file when it is called, inside process; declare that file in"
            self.told.setdefault(holder, []).append(f"{told} resources(), or read it at import")

    def all(self, root: int) -> list[str]:
        """What is read when the root is called, or the `process` of one that is an analysis.

        UsageError where it looks up what no worker has.
        """
        waiting, seen, told = [(root, True)] if self.looks else [], set(), []
        while waiting:
            if (at := waiting.pop()) in seen:
                continue
            seen.add(at)
            one, is_called = at
            if one in self.functions:
                found, outside = self.functions.pop(one)
                names = _Function(found.node, outside, self.own)
                for node, what, instead in lookups_of(found.node, names.name_of, names.thing_of):
                    raise UsageError(f"{_line(found, node)} {what}; {instead}")
                self.seeds |= seeds_of(found.node, names)
                self.variables |= variables_of(found.node, names.is_environment, names.thing_of)
                self.told.setdefault(one, []).extend(_reads_of(found, names, declared=self.declared))
            told += self.told.get(one, [])
            skipped = _BEFORE_PROCESS if one in self.analyses else frozenset() if is_called else _MADE_BY
            for other, how in self.reached.get(one, ()):
                if how not in skipped:
                    waiting.append((other, is_called if how == "base" else how != "instance"))
        return sorted(set(told))


def _reads_of(found: Found, function: _Function, *, declared: bool) -> list[str]:
    """What a function reads, each with its place and what to do instead.

    Where an analysis has `declared` the files that it reads, a path that the function is given is taken for one of
    them.
    """
    told = {}
    heard = {id(inner) for node in ast.walk(found.node) for inner in function.heard_of(node)}
    for node in ast.walk(found.node):
        line = _line(found, node)
        if function.is_environment(node):
            told[line] = f"{ENVIRONMENT_READ} at {line}, inside process; make it a parameter"
        elif function.is_working_directory(node):
            told.setdefault(line, f"{WORKING_DIRECTORY} is asked for at {line}, inside process; {_FOLDER_INSTEAD}")
        elif isinstance(node, ast.Name) and node.id == "__file__" and id(node) not in heard:
            told.setdefault(line, f"the place of its file (__file__) is read at {line}, inside process; {_AT_IMPORT}")
        elif isinstance(node, ast.Call):
            if (made := absolute_of(node, function)) and not function.is_known(node, made, declared=declared):
                what = f"{_title(made)} is looked for in {WORKING_DIRECTORY}"
                told.setdefault(line, f"{what} at {line}, inside process; {_FOLDER_INSTEAD}")
            read = function.read_by(node)
            if read and not function.is_known(node, read, declared=declared):
                how = "looked for" if function.looks(node) else "read"
                instead = (
                    f"declare it in resources(), or {'look' if how != 'read' else how} outside functions, at import"
                )
                if any(is_relative(path, function) for path in read):
                    instead += f"; a relative path is of {WORKING_DIRECTORY}"
                told.setdefault(line, f"{_title(read)} is {how} at {line}, inside process; {instead}")
    for node, name, calls in uses_of(found.node, function):
        line = _line(found, node)
        known = [function.writes(c) or function.is_known(c, _arguments_of(c), declared=declared) for c in calls]
        if not (known and all(known)):
            title = _title([each for call in calls for each in _arguments_of(call)]) if calls else f"a file (by {name})"
            instead = "declare it in resources(), or read it outside functions, at import"
            told.setdefault(line, f"{title} is read at {line}, inside process; {instead}")
    for call, what in draws_of(found.node, function):
        line = _line(found, call)
        told.setdefault(line, f"{what} at {line}, inside process; {INSTEAD}")
    return list(told.values())


def _arguments_of(call: ast.Call) -> list[ast.expr]:
    """All that a call is given."""
    return [*call.args, *(k.value for k in call.keywords)]


def _line(found: Found, node: ast.AST) -> str:
    place = file_title(found.file)
    return place[1:].partition(",")[0] if place.startswith("<") else f"{place}:{line_of(node)}"


class _Function:
    """Where the names of a function come from; `outside` are its globals and closure."""

    def __init__(self, node: ast.AST, outside: Mapping[str, Any], own: str) -> None:
        self.own = own
        self.outside = {**vars(builtins), **outside}
        self.parameters: set[str] = set()
        self.bound: dict[str, list[ast.AST]] = {}
        self.filled: dict[str, list[ast.AST]] = {}  # `paths[0] = x` binds no name: `os` in `os.environ["A"] = x` stays
        self.imported: dict[str, str] = {}
        self.written: set[int] = set()
        for each in ast.walk(node):
            if isinstance(each, ast.arg):
                self.parameters.add(each.arg)
            elif isinstance(each, ast.Import):
                self.imported.update(
                    (a.asname or a.name.partition(".")[0], a.name if a.asname else a.name.partition(".")[0])
                    for a in each.names
                )
            elif isinstance(each, ast.ImportFrom):
                self.imported.update((a.asname or a.name, f"{each.module}.{a.name}") for a in each.names)
            else:
                self.written.update(map(id, written_to(each)))
            for target, value in _bindings(each):
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        names = self.bound if isinstance(name.ctx, ast.Store) else self.filled
                        names.setdefault(name.id, []).append(value)

    def is_environment(self, node: ast.AST) -> bool:
        """Whether it is `os.environ`, `os.getenv` or `os.path.expandvars`, and not written to."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "expanduser":
            return self.name_of(node.func) is None and not self.is_users(node.func.value, "expanduser")
        name = self._said_by(node) or ""
        is_one = name.rpartition(".")[2] in _ENVIRONMENT and name.partition(".")[0] in _PATHS
        return is_one and id(node) not in self.written

    def _said_by(self, node: ast.AST) -> str | None:
        """The full name also of `vars(os)["environ"]`, `getattr(os, "environ")`, and of a name that was given it."""
        match node:
            case ast.Subscript(
                value=ast.Call(func=ast.Name(id="vars"), args=[module]) | ast.Attribute(value=module, attr="__dict__"),
                slice=ast.Constant(value=str(name)),
            ) if base := library_name(module, self):
                return f"{base}.{name}"
            case ast.Name(id=own) if own not in {*self.parameters, *self.bound, *self.imported}:
                return self.name_of(node)
        return library_name(node, self)

    def is_working_directory(self, node: ast.AST) -> bool:
        """Whether it is `os.getcwd` or `Path.cwd`."""
        name = self._said_by(node) or "" if isinstance(node, ast.expr) else ""
        return name.rpartition(".")[2] in _WORKING_DIRECTORY and name.partition(".")[0] in _PATHS

    def heard_of(self, node: ast.AST) -> Iterator[ast.AST]:
        """All of a call that opens a file, which is heard of when it does, or that adds to `sys.path`."""
        if isinstance(node, ast.Call):
            opens = getattr(node.func, "attr", getattr(node.func, "id", "")) in _OPENERS
            if opens or (self.name_of(node.func) or "").startswith("sys.path."):
                yield from ast.walk(node)

    def is_outside(self, name: str) -> bool:
        """Whether a name is none of the function's own."""
        return name not in {*self.parameters, *self.bound, *self.imported}

    def looks(self, call: ast.Call) -> bool:
        """Whether a call asks whether a file is there, or what it is."""
        if (name := self.name_of(call.func)) is not None:
            return name.rpartition(".")[2] in _LOOKS and name.partition(".")[0] in _PATHS
        is_method = isinstance(call.func, ast.Attribute) and call.func.attr in _LOOKING_METHODS
        return is_method and not call.args and not {k.arg for k in call.keywords} - {"follow_symlinks"}

    def read_by(self, call: ast.Call) -> list[ast.expr]:
        """The expressions that say what is read, none where the call reads no file."""
        arguments, name = _arguments_of(call), self.name_of(call.func)
        if self.writes(call):
            return []
        if name is not None and (opens_files(name) or self.looks(call)):
            return arguments
        if isinstance(call.func, ast.Attribute) and name is None and (call.func.attr in _METHODS or self.looks(call)):
            return [] if self.is_users(call.func.value, call.func.attr) else [call.func.value, *arguments]
        named = [a for a in arguments if not is_a(self.thing_of(a), (ModuleType, type))]
        given = [a for a in named if opens_files(self.name_of(a) or "")]
        return [a for a in arguments if a not in given] if given else []  # map(pd.read_orc, paths)

    def writes(self, call: ast.Call) -> bool:
        """Whether a call says by a mode that it writes a file, and reads none."""
        is_named = self.name_of(call.func) is not None
        modes = [*call.args[is_named:][:1], *(k.value for k in call.keywords if k.arg == "mode")]
        texts = [m.value for m in modes if isinstance(m, ast.Constant) and isinstance(m.value, str)]
        return any(m[:1] in ("w", "a", "x") and len(m) < 4 and "+" not in m for m in texts)

    def is_users(self, node: ast.AST, method: str, within: frozenset[str] = frozenset()) -> bool:
        """Whether it is the object itself, or a thing of the user's, whose own functions are looked at."""
        if isinstance(node, ast.Call):  # of a class
            made = self.thing_of(node.func)
            return is_a(made, type) and self.is_own(held_by(made, method))
        if not isinstance(node, ast.Name):
            return False
        if node.id in self.bound and node.id not in {*self.parameters, *within}:
            return all(self.is_users(value, method, within | {node.id}) for value in self.bound[node.id])
        return node.id in ("self", "cls") or self.is_own(held_by(self.thing_of(node), method))

    def is_own(self, function: Any) -> bool:
        """Whether a function is the user's."""
        return counts(attribute_of(function, "__module__", ""), self.own)

    def thing_of(self, node: ast.AST) -> Any:
        """What a name from outside, or an attribute of a module, is by now; None where that is not known."""
        if isinstance(node, ast.Attribute):
            return attribute_of(base, node.attr) if is_a(base := self.thing_of(node.value), ModuleType) else None
        found = self.outside.get(node.id) if isinstance(node, ast.Name) and self.is_outside(node.id) else None
        return None if type(found) in weakref.ProxyTypes else found  # whose object may be gone

    def name_of(self, node: ast.AST) -> str | None:
        """The full name of what a library has, `numpy.load`; None for anything else."""
        if isinstance(node, ast.Attribute) and (base := self.name_of(node.value)) is not None:
            return f"{base}.{node.attr}"
        thing = self.thing_of(node)
        if isinstance(node, ast.Name) and node.id in self.imported and node.id not in {*self.parameters, *self.bound}:
            name = self.imported[node.id]
        elif thing is os.environ or thing is getattr(os, "environb", os):
            return "os.environ"
        elif is_a(thing, ModuleType):
            name = thing.__name__
        elif callable(thing):
            name = full_name(thing)
        else:
            return None
        modules = (name.rpartition(".")[0] or name, name.partition(".")[0])
        return None if any(counts(module, self.own) for module in modules) else name

    def is_known(self, call: ast.Call, read: list[ast.expr], *, declared: bool) -> bool:
        """Whether what is read is a resource, made by the function itself, opened before, or may be a declared file."""
        for node in self.origins(read):
            if isinstance(node, ast.Attribute) and node.attr == "resources":
                return True
            if isinstance(node, ast.Call) and (self.name_of(node.func) or "").startswith(_OWN_FILES):
                return True
            if isinstance(node, ast.Call) and node is not call and self.read_by(node):  # which is told itself
                return True
            if declared and isinstance(node, ast.Name) and node.id in self.parameters:
                return True
        return False

    def origins(self, expressions: list[ast.expr]) -> Iterator[ast.AST]:
        """All nodes of the expressions, and of what the names in them were bound to."""
        waiting: list[ast.AST] = [*expressions]
        seen: set[str] = set()
        while waiting:
            for node in ast.walk(waiting.pop()):
                yield node
                if isinstance(node, ast.Name) and node.id not in seen:
                    seen.add(node.id)
                    waiting += [*self.bound.get(node.id, []), *self.filled.get(node.id, [])]


def _bindings(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    if isinstance(node, ast.Assign):
        yield from ((target, node.value) for target in node.targets)
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value is not None:
        yield node.target, node.value
    elif isinstance(node, ast.For | ast.comprehension):
        yield node.target, node.iter
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield node.optional_vars, node.context_expr


def _title(read: list[ast.expr]) -> str:
    """The file by its name, if that is written there; else the expression."""
    texts = [n.value for r in read for n in ast.walk(r) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return texts[0] if any(texts[:1]) else f"a file ({ast.unparse(read[0])})"
