"""What a physicist has written: the syntax tree of a function, and the places its generated lines come from."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from vrecompute.errors import UsageError
from vrecompute.sourcetext import find, syntax_of

__all__ = ["Where", "define", "define_once", "line_map", "read_function"]


@dataclass(frozen=True)
class Where:
    """A place in the physicist's file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def read_function(function: Callable[..., Any]) -> tuple[ast.FunctionDef, Where]:
    """The syntax tree of a plain Python function, its lines those of its file; UsageError where there is no source."""
    if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
        raise UsageError(
            f"{function!r} is not a plain function: the event loop is made from functions written with def"
        )
    found = find(function.__code__)
    if found is None:
        raise UsageError(
            f"the source of {function.__name__!r} in {function.__code__.co_filename} cannot be found: define it in a "
            "file or a cell; where the file was edited since, reload its module or start anew"
        )
    # The tree is altered by who asked for it.
    definition = copy.deepcopy(found.node)
    where = Where(found.file, definition.lineno)
    if not isinstance(definition, ast.FunctionDef):
        raise UsageError(f"{where}: {function.__name__!r} is not a plain function")
    return definition, where


def define(name: str, arguments: Sequence[str], body: list[ast.stmt]) -> list[ast.stmt]:
    """A generated function of that body, inlined where it is called."""
    parsed = syntax_of(f"@_inline\ndef {name}({', '.join(arguments)}):\n    pass")
    definition = parsed.body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.body = body
    return [definition]


def define_once(made: list[ast.stmt], name: str, arguments: Sequence[str], numbers: Sequence[str]) -> list[ast.stmt]:
    """The function, and around it one that keeps its last value: `_memo__name` says of what."""
    definition = made[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.name = f"{name}__now"
    memo, kept = f"_memo__{name}", f"_kept__{name}"
    keys = ["_entry", *numbers]
    same = " and ".join(f"{memo}[{k}] == {key}" for k, key in enumerate(keys))
    keep = "\n        ".join(f"{memo}[{k}] = {key}" for k, key in enumerate(keys))
    outside = dict.fromkeys([*arguments, memo, kept, *keys])
    text = (
        f"@_inline\ndef {name}({', '.join(outside)}):\n"
        f"    if not ({same}):\n        {keep}\n"
        f"        {kept}[0] = {name}__now({', '.join([*arguments, *numbers])})\n    return {kept}[0]"
    )
    outer = syntax_of(text).body
    for node in outer:
        for inner in ast.walk(node):
            if hasattr(inner, "lineno"):
                inner.lineno = definition.lineno
    return [*made, *outer]


def line_map(module: ast.Module, source: str, where: Where) -> dict[int, Where]:
    """Generated line -> the physicist's: the unparsed text, parsed again, has the same nodes in the same order."""
    lines: dict[int, Where] = {}
    for ours, theirs in zip(ast.walk(syntax_of(source)), ast.walk(module), strict=False):
        if isinstance(ours, ast.stmt) and isinstance(theirs, ast.stmt) and not isinstance(ours, ast.FunctionDef):
            lines[ours.lineno] = Where(where.file, max(theirs.lineno, where.line))
    return lines
