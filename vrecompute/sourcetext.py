"""The source text that a loaded function was compiled from, whatever its file says by now.

A file may be edited while a session holds what it said before, and a worker may have no such file. So a text
counts as a function's only where it compiles to that very function; it is then kept for as long as the process lives.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import linecache
import sys
import threading
import tokenize
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

__all__ = [
    "Found",
    "canonical",
    "expression_of",
    "file_title",
    "find",
    "find_of",
    "keep",
    "kept",
    "line_of",
    "rebuilt",
    "syntax_of",
]

Written = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
# `from __future__` statements of the text, which a compiled function remembers.
_FUTURE = 0xFFF0000
_IGNORED = frozenset({"ctx", "kind", "type_comment"})
# Line numbers of a text are below this; above it they number its lambdas.
_LINES = 0xFFFF
_texts: dict[str, list[str]] = {}
_found: dict[int, tuple[CodeType, Found]] = {}
# Python 3.11 counts how deep it is in one number for all threads, and gives SystemError where two of them parse.
_parsing = threading.Lock()
_PARSING_TRIES = 5


def file_title(filename: str) -> str:
    """The name of a file, as its user knows it: IPython compiles a cell as a file of a number."""
    path = Path(filename)
    return "notebook cell" if path.parent.name.startswith("ipykernel_") or "<ipython-" in filename else path.name


class Found(NamedTuple):
    """A function in its text: `place` tells it from all others there, `qualname` is what it is called there."""

    file: str
    text: str
    node: Written
    place: int
    qualname: str


def syntax_of(text: str) -> ast.Module:
    """`ast.parse`, for any number of threads; raises what that does."""
    with _parsing:
        for _ in range(_PARSING_TRIES - 1):
            with contextlib.suppress(SystemError):  # a thread that is not ours parses too
                return ast.parse(text)
        return ast.parse(text)


def expression_of(text: str) -> ast.expr:
    """The syntax of one expression."""
    statement = syntax_of(text.strip()).body[0]
    assert isinstance(statement, ast.Expr)
    return statement.value


def keep(file: str, text: str) -> None:
    """Remember what a file said when it was loaded, for functions and for tracebacks."""
    texts = _texts.setdefault(file, [])
    if text not in texts[-1:]:
        texts.append(text)
    if not linecache.getlines(file):
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)


def kept(file: str) -> str | None:
    """What a file said when it was last seen to be a loaded function's, if it was."""
    return _texts[file][-1] if file in _texts else None


def find(code: CodeType) -> Found | None:
    """Where a function's code is written; None where no text that can be had compiles to it."""
    if (known := _found.get(id(code))) and known[0] is code:
        return known[1]
    for text, apart in _candidates(code.co_filename):
        named = [w for w in _written(text, code.co_flags & _FUTURE, apart) if w.code.co_name == code.co_name]
        # of several that do the same, as methods of two classes may, the one that stands where this one does
        named.sort(key=lambda w: (w.code.co_qualname != code.co_qualname, w.line != code.co_firstlineno))
        for written in named:
            if _same(written.code, code):
                keep(code.co_filename, text)
                found = Found(
                    code.co_filename, text, written.node, written.code.co_firstlineno, written.code.co_qualname
                )
                _found[id(code)] = (code, found)
                return found
    return None


def find_of(function: FunctionType) -> Found | None:
    """The same of a function, which knows its module's file where its code does not, as what autoreload made."""
    code, file = function.__code__, function.__globals__.get("__file__")
    if (found := find(code)) is None and code.co_filename == "<string>" and isinstance(file, str):
        found = find(named := code.replace(co_filename=file))
        if found is not None:
            _found.pop(id(named), None)
            _found[id(code)] = (code, found)
    return found


def rebuilt(file: str, text: str, flags: int, name: str, place: int) -> CodeType:
    """The code of a function, compiled here from the text it was found in; `find` knows that text of it."""
    keep(file, text)
    for code, node in _written(text, flags & _FUTURE, False):
        if (code.co_name, code.co_firstlineno) == (name, place):
            made = _placed(code, file)
            _found[id(made)] = (made, Found(file, text, node, place, code.co_qualname))
            return made
    raise ValueError(f"{file} does not define {name!r} in Python {sys.version.split()[0]}")


def line_of(node: ast.AST) -> int:
    """The line of a node of a function's text; lambdas have numbers that tell those of one line apart."""
    return getattr(node, "lineno", 0) & _LINES


def canonical(value: Any) -> Any:
    """A syntax tree as data, equal for texts that differ in comments, docstrings or formatting, in every Python."""
    if isinstance(value, list):
        return [canonical(item) for item in value if not _says_nothing(item)]
    if not isinstance(value, ast.AST):
        return [type(value).__name__, repr(value)]
    if isinstance(value, ast.JoinedStr):  # cut into pieces differently by different Pythons
        return ["JoinedStr", *_joined(value.values)]
    fields = ((name, field) for name, field in ast.iter_fields(value) if name not in _IGNORED)
    return [type(value).__name__, *([n, canonical(f)] for n, f in fields if f is not None and f != [])]


def _says_nothing(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _joined(pieces: list[ast.expr]) -> list[Any]:
    made: list[Any] = []
    for piece in pieces:
        if isinstance(piece, ast.Constant) and made and isinstance(made[-1], str):
            made[-1] += str(piece.value)
        elif isinstance(piece, ast.Constant):
            made.append(str(piece.value))
        else:
            made.append(canonical(piece))
    return [piece for piece in made if piece != ""]


class _Function(NamedTuple):
    code: CodeType
    node: Written

    @property
    def line(self) -> int:
        """Where it really stands, see `_written`."""
        return self.code.co_firstlineno & _LINES


@lru_cache(maxsize=512)
def _written(text: str, flags: int, apart: bool) -> tuple[_Function, ...]:
    """All functions of a text, compiled and as syntax; none where it is no Python.

    `apart` compiles each statement of the top level by itself, as IPython does with a cell: functions that call what a
    statement above them imports become other instructions then.
    Several lambdas may begin on one line: each is compiled as if it stood on a separate line, far below.
    """
    try:
        tree = syntax_of(text)
        lambdas = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
        for number, each in enumerate(lambdas, 1):  # those inside come after those around them
            for node in ast.walk(each):
                if isinstance(node, ast.expr):
                    node.lineno = (node.lineno & _LINES) + number * (_LINES + 1)
                    node.end_lineno = (node.end_lineno or 0) % (_LINES + 1) + number * (_LINES + 1)
        options = flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        pieces = [ast.Module([node], []) for node in tree.body] if apart else [tree]
        compiled = [compile(piece, "", "exec", flags=options, dont_inherit=True) for piece in pieces]
    except (SyntaxError, ValueError, RecursionError):
        return ()
    nodes: dict[tuple[str, int], Written] = {("<lambda>", each.lineno): each for each in lambdas}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            nodes[node.name, node.decorator_list[0].lineno if node.decorator_list else node.lineno] = node
    codes = [code for piece in compiled for code in _codes(piece)]
    found = ((code, nodes.get((code.co_name, code.co_firstlineno))) for code in codes)
    return tuple(_Function(code, node) for code, node in found if node is not None)


def _placed(code: CodeType, file: str) -> CodeType:
    """A code of `_written` where it really stands."""
    inner = tuple(_placed(c, file) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.replace(co_filename=file, co_firstlineno=code.co_firstlineno & _LINES, co_consts=inner)


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _candidates(file: str) -> Iterator[tuple[str, bool]]:
    """Texts that may be a file's or a cell's, and whether each statement of it was compiled by itself."""
    texts = list(reversed(_texts.get(file, [])))
    try:
        with tokenize.open(file) as opened:
            texts.append(opened.read())
    except (OSError, SyntaxError, UnicodeDecodeError):
        if lines := linecache.getlines(file):
            texts.append("".join(lines))
    return itertools.product(dict.fromkeys(texts), (False, True))


def _same(one: CodeType, other: CodeType) -> bool:
    """Whether two codes do the same, wherever they stand."""
    if _shape(one) != _shape(other) or len(one.co_consts) != len(other.co_consts):
        return False
    return all(
        _same(a, b)
        if isinstance(a, CodeType) and isinstance(b, CodeType)
        else type(a) is type(b) and (repr(a) == repr(b) or (isinstance(a, frozenset) and a == b))
        for a, b in zip(one.co_consts, other.co_consts, strict=True)
    )


def _shape(code: CodeType) -> tuple[Any, ...]:
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return (code.co_code, *counts, *names)
