"""Modules that a function imports by a name which holds a text: `import_module(NAME)`, with NAME as it is now."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import FunctionType
from typing import Any

from vrecompute.analysis.asking import held_by, is_a
from vrecompute.analysis.coderange import Uses, absolute, package_of

__all__ = ["with_named"]


def with_named(
    uses: Uses, function: FunctionType, node: ast.AST, outside: Mapping[str, Any], owner: type | None
) -> Uses:
    """What a function uses, with the modules that it imports by names; `owner` is the class that has it.

    A name may be a global, a variable around the function, an argument with a default, one that the function binds to
    texts, or an attribute of a class or an object.
    """
    if not uses.named:
        return uses
    imports = {name: set(chains) for name, chains in uses.imports.items()}
    for held, chains in uses.named.items():
        for name in _texts(node, held, function, outside, owner):
            imports.setdefault(absolute(name, package_of(function.__globals__)), set()).update(chains)
    return replace(uses, imports=imports)


def _texts(
    node: ast.AST, chain: tuple[str, ...], function: FunctionType, outside: Mapping[str, Any], owner: type | None
) -> list[str]:
    first, *rest = chain
    held: list[Any] = []
    if first in outside:
        held = [outside[first]]
    elif not rest:
        held = [*_defaults(function).get(first, ()), *_bound(node, first)]
    elif owner is not None and first in function.__code__.co_varnames[:1]:  # self, or cls
        held = [owner]
    for name in rest:
        held = [held_by(each, name) for each in held]
    return sorted({each for each in held if is_a(each, str)})


def _defaults(function: FunctionType) -> dict[str, list[Any]]:
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    given = function.__defaults__ or ()
    found = {name: [value] for name, value in zip(names[len(names) - len(given) :], given, strict=True)}
    return found | {name: [value] for name, value in (function.__kwdefaults__ or {}).items()}


def _bound(node: ast.AST, name: str) -> Iterator[str]:
    for each in ast.walk(node):
        match each:
            case ast.Assign([ast.Name(bound)], value) | ast.For(ast.Name(bound), value) if bound == name:
                found = value.elts if isinstance(value, ast.Tuple | ast.List) else [value]
                yield from (e.value for e in found if isinstance(e, ast.Constant) and isinstance(e.value, str))
