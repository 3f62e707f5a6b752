"""Environment variables: which of them code reads, by its text, and which the session has set since vrecompute came.

Workers have the environment in which they were started. What is set later, by whatever means, is brought to them where
code reads it.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator
from typing import Any

__all__ = ["ANY", "set_since", "variables_of", "written_to"]

#: Stands for a variable whose name the text does not say.
ANY = "*"
_BY_NAME = frozenset({"get", "pop", "setdefault", "__getitem__", "__contains__"})
# Of `os.environ`, what sets variables and tells nothing, where its result is not used.
_SETTERS = frozenset({"__delitem__", "__setitem__", "clear", "pop", "popitem", "setdefault", "update"})
_IN_TEXT = re.compile(r"\$\{?(\w+)")

_set: set[str] = set()


def written_to(node: ast.AST) -> Iterator[ast.AST]:
    """What a node sets something in and reads nothing of: `x["a"] = 1`, `x |= more`, `x.setdefault("a", 1)` alone."""
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        yield node.value
    elif isinstance(node, ast.AugAssign):
        yield node.target
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield from (n.value for n in [node.value.func] if isinstance(n, ast.Attribute) and n.attr in _SETTERS)


def variables_of(
    tree: ast.AST, is_environment: Callable[[ast.AST], bool], thing_of: Callable[[ast.AST], Any]
) -> set[str]:
    """The names of variables that are read; `ANY` where one is not known."""
    found: set[str] = set()
    named: set[int] = set()
    for node in ast.walk(tree):
        for environment, name in _named(node):
            if is_environment(environment):
                named.add(id(environment))
                found |= _texts(name, thing_of)
    unnamed = any(is_environment(node) and id(node) not in named for node in ast.walk(tree))
    return found | ({ANY} if unnamed else set())


def _named(node: ast.AST) -> Iterator[tuple[ast.AST, ast.expr]]:
    """What may be the environment, or reads of it, with what says which variable."""
    if isinstance(node, ast.Subscript):
        yield node.value, node.slice
    elif isinstance(node, ast.Compare) and len(node.comparators) == 1:
        yield node.comparators[0], node.left
    elif isinstance(node, ast.Call) and node.args:
        yield node.func, node.args[0]  # os.getenv("A")
        if isinstance(node.func, ast.Attribute) and node.func.attr in _BY_NAME:
            yield node.func.value, node.args[0]


def _texts(name: ast.expr, thing_of: Callable[[ast.AST], Any]) -> set[str]:
    value = name.value if isinstance(name, ast.Constant) else thing_of(name)
    if not isinstance(value, str | bytes):
        return {ANY}
    text = os.fsdecode(value)
    return set(_IN_TEXT.findall(text)) or {text}


def set_since(names: Collection[str]) -> dict[str, str | None]:
    """Those of these variables that were set since, as they are now; None for one that is not there any more."""
    wanted = _set if ANY in names else _set & {*names}
    return {name: os.environ.get(name) for name in sorted(wanted)}


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("os.putenv", "os.unsetenv"):
        _set.add(os.fsdecode(arguments[0]))


sys.addaudithook(_heard)
