"""What a statement carries out that is text: `%%time` and its like, `exec`, `%run FILE`, `%env NAME=VALUE`."""

from __future__ import annotations

import ast
import os
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path

from vrecompute import sourcetext

__all__ = ["Carried", "carried", "hides_errors", "without_magic"]

# Magics that carry out Python code; of the second kind it is seen whether it raised.
_CARRIES_OUT = frozenset({"capture", "debug", "lprun", "memit", "prun", "time", "timeit"})
_RAISES = frozenset({"time", "timeit"})
_SILENT = "--no-raise-error"
_ASSIGNMENT = re.compile(r"(\w+)(?:\s*=\s*|\s+)(.*)")


@dataclass(frozen=True)
class Carried:
    """A text that is carried out by what is called `title`, of `file` if it is one's; None where it is not known."""

    title: str
    text: str | None
    file: str = ""


def carried(call: ast.Call) -> Carried | None:
    """The text that a call carries out; None where it is no such call."""
    match call:
        case ast.Call(ast.Name("exec"), [given, *_]):
            return _of_expression("exec()", given)
        case ast.Call(ast.Name("eval"), [ast.Constant(str() as text), *_]):
            return Carried("eval()", text.strip())
        case ast.Call(ast.Attribute(ast.Name("runpy"), "run_path"), [ast.Constant(str() as file), *_]):
            return _of_file("run_path()", file)
        case ast.Call(ast.Attribute(ast.Name("runpy"), "run_path" | "run_module" as name)):
            return Carried(f"{name}()", None)
        case ast.Call(ast.Attribute(_, "run_line_magic"), [ast.Constant("run"), ast.Constant(str() as line), *_]):
            return _of_run(line)
        case ast.Call(ast.Attribute(ast.Call(ast.Name("get_ipython")), "run_cell" | "ex" as name), [given, *_]):
            return _of_expression(f"{name}()", given)
    return None


def without_magic(statement: ast.stmt) -> ast.stmt:
    """What a magic as `%%time` carries out, as a block: IPython has made a call of it that is given its text."""
    match statement:
        case ast.Expr(
            ast.Call(
                ast.Attribute(attr="run_cell_magic" | "run_line_magic" as kind),
                [ast.Constant(str() as name), ast.Constant(str() as first), *rest],
            )
        ):
            pass
        case _:
            return statement
    is_cell = kind == "run_cell_magic"
    if not is_cell and name in ("env", "set_env"):
        return _environment(statement, first) or statement
    if name not in _CARRIES_OUT or bool(rest) != is_cell:
        return statement
    text = str(rest[0].value) if is_cell and isinstance(rest[0], ast.Constant) else first
    if (inner := _parsed(text) if is_cell else _after_options(text)) is None:
        return statement
    body = ast.increment_lineno(inner, statement.lineno - 1 + is_cell).body
    silent = f" {_SILENT}" if name == "time" and _SILENT in first else ""
    named = ast.Constant(f"{'%%' if is_cell else '%'}{name}{silent}")
    return ast.copy_location(ast.If(named, body or [ast.Pass()], []), statement)


def hides_errors(statement: ast.stmt) -> bool:
    """Whether a block of `without_magic` ends without an error although what it carries out raised."""
    match statement:
        case ast.If(ast.Constant(str() as name)) if name.startswith("%"):
            magic, _, option = name.lstrip("%").partition(" ")
            return magic in _CARRIES_OUT - _RAISES or option == _SILENT
    return False


def _of_expression(title: str, given: ast.expr) -> Carried:
    match given:
        case ast.Constant(str() as text):
            return Carried(title, text)
        case ast.Call(ast.Name("compile"), [inner, *_]):
            return _of_expression(title, inner)
        case ast.Call(ast.Attribute(ast.Call(ast.Name("open"), [ast.Constant(str() as file), *_]), "read")):
            return _of_file(title, file)
        case ast.Call(ast.Attribute(ast.Call(_, [ast.Constant(str() as file)]), "read_text")):
            return _of_file(title, file)
    return Carried(title, None)


def _of_run(line: str) -> Carried:
    words = line.split()
    while words and words[0].startswith("-") and words[0] != "-m":
        words = words[1:]
    name = (words or [""])[0].strip("\"'")
    title = f"%run {Path(name).name}"
    file = name if name.endswith(".py") else f"{name}.py"
    return Carried(title, None) if name in ("", "-m") or name.endswith(".ipynb") else _of_file(title, file)


def _of_file(title: str, file: str) -> Carried:
    path = Path(file).expanduser()
    try:
        with tokenize.open(path) as opened:
            return Carried(title, opened.read(), path.name)
    except (OSError, SyntaxError, UnicodeDecodeError):
        return Carried(title, None)


def _environment(statement: ast.stmt, line: str) -> ast.stmt | None:
    """What `%env NAME=VALUE` sets, as a block; with the value of now where IPython filled in some of it."""
    if (found := _ASSIGNMENT.fullmatch(line.strip())) is None:
        return None
    name, value = found.groups()
    value = os.environ.get(name, "") if "$" in value or "{" in value else value
    inner = sourcetext.syntax_of(f"import os\nos.environ[{name!r}] = {value!r}")
    for node in ast.walk(inner):
        if hasattr(node, "lineno"):
            ast.copy_location(node, statement)
    return ast.copy_location(ast.If(ast.Constant("%env"), inner.body, []), statement)


def _after_options(line: str) -> ast.Module | None:
    """The code of a line magic, after its options and their values."""
    words = line.strip()
    while words:
        if (found := _parsed(words)) is not None and not words.startswith("-"):
            return found
        words = words.partition(" ")[2].lstrip()
        if not line.lstrip().startswith("-"):
            break
    return None


def _parsed(text: str) -> ast.Module | None:
    try:
        return sourcetext.syntax_of(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
