"""Which paths in the text of a function mean another file in another working directory.

Workers run where they were started, and another process that reuses what they computed runs elsewhere.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Protocol

__all__ = ["absolute_of", "is_relative"]

_MAKERS = frozenset({"abspath", "realpath"})
_METHODS = frozenset({"absolute", "resolve"})
_PATH_MODULES = frozenset({"genericpath", "ntpath", "os", "posix", "posixpath"})
# What gives a path that begins as its first argument does.
_FIRST = frozenset({"expandvars", "fspath", "join", "normpath", "str"})
# Of a path, what begins as it does.
_KEEPS = frozenset({"joinpath", "parent", "with_name", "with_stem", "with_suffix"})


class _Names(Protocol):
    """What the names in the text of a function are."""

    @property
    def bound(self) -> Mapping[str, list[ast.AST]]:
        """What each name of the function's own is bound to."""

    @property
    def parameters(self) -> set[str]:
        """The names of its parameters."""

    def name_of(self, node: ast.AST) -> str | None:
        """The full name of what a library has."""

    def thing_of(self, node: ast.AST) -> Any:
        """What a name from outside the function is."""

    def is_users(self, node: ast.AST, method: str) -> bool:
        """Whether it is an object of the user's, with that method."""


def absolute_of(call: ast.Call, names: _Names) -> list[ast.expr]:
    """The path that a call makes absolute by the working directory; none where it is absolute, or is no such call."""
    name = names.name_of(call.func)
    if name is not None:
        top, _, last = name.rpartition(".")
        is_one = last in _MAKERS and top.partition(".")[0] in _PATH_MODULES
        given = [*call.args[:1], *(k.value for k in call.keywords if k.arg in ("path", "filename"))] if is_one else []
        if top.partition(".")[0] == "pathlib" and last in _METHODS:  # Path.resolve(path)
            given = call.args[:1]
    elif isinstance(call.func, ast.Attribute) and call.func.attr in _METHODS and not call.args:
        of = call.func.value
        is_path = _is_path(of, names, frozenset()) or (call.func.attr == "resolve" and not _is_known(of, names))
        given = [of] if is_path else []
    else:
        given = []
    return [path for path in given if _begins(path, names, frozenset()) != "absolute"]


def is_relative(path: ast.AST, names: _Names) -> bool:
    """Whether an expression is known for a path that is relative."""
    return _begins(path, names, frozenset()) == "relative"


def _begins(path: ast.AST, names: _Names, within: frozenset[str]) -> str:
    """Whether a path is `absolute` or `relative`; empty where that is not known."""
    match path:
        case ast.Constant(value=str() | bytes() as text):
            return _of_text(os.fsdecode(text))
        case ast.JoinedStr(values=[first, *_]) | ast.BinOp(left=first, op=ast.Div() | ast.Add() | ast.Mod()):
            return _begins(first, names, within)
        case ast.Attribute(value=of, attr=attribute) if attribute in _KEEPS:
            return _begins(of, names, within)
        case ast.Name(id=name) if name in names.bound and name not in {*names.parameters, *within}:
            found = {_begins(value, names, within | {name}) for value in names.bound[name]}
            return "relative" if "relative" in found else "absolute" if found == {"absolute"} else ""
        case ast.Call():
            return _of_call(path, names, within)
    thing = names.thing_of(path)
    return _of_text(str(thing)) if isinstance(thing, str | PurePath) else ""


def _of_call(call: ast.Call, names: _Names, within: frozenset[str]) -> str:
    name = names.name_of(call.func) or ""
    top, last = name.partition(".")[0], name.rpartition(".")[2]
    if absolute_of(call, names) or last in ("cwd", "getcwd"):
        return "absolute"  # which is told itself
    if (top == "pathlib" and last.endswith("Path")) or last in _FIRST:
        return _begins(call.args[0], names, within) if call.args else "relative"
    if isinstance(call.func, ast.Attribute) and call.func.attr in _KEEPS | _METHODS:
        return _begins(call.func.value, names, within)
    return ""


def _of_text(text: str) -> str:
    return "absolute" if os.path.isabs(text) or "://" in text else "relative"


def _is_path(node: ast.AST, names: _Names, within: frozenset[str]) -> bool:
    """Whether it is made by pathlib."""
    match node:
        case ast.Call():
            name = names.name_of(node.func) or ""
            of_path = isinstance(node.func, ast.Attribute) and _is_path(node.func.value, names, within)
            return of_path or (name.partition(".")[0] == "pathlib" and name.endswith("Path"))
        case ast.BinOp(left=first, op=ast.Div()) | ast.Attribute(value=first, attr="parent"):
            return _is_path(first, names, within)
        case ast.Name(id=name) if name in names.bound and name not in within:
            return any(_is_path(value, names, within | {name}) for value in names.bound[name])
    return isinstance(names.thing_of(node), PurePath)


def _is_known(node: ast.AST, names: _Names) -> bool:
    """Whether it is known for something that is no path."""
    return names.thing_of(node) is not None or names.name_of(node) is not None or names.is_users(node, "resolve")
