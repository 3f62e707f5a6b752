"""What a function looks up that its text does not name: the names of its module, the classes below a class, and what
Python knows of the process, as its command line.

Workers get the functions and values that code names, and have a command line of their own, so a run of code that looks
further would have other numbers there. It is refused. So is a text in which a library finds a name of the function's
module (`DataFrame.query("pt > @CUT")`), unless the function names that elsewhere too.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["lookups_of"]

_VALUE = "write the names themselves, or make the value a parameter"
_CLASSES = "write the classes into a list, and use that"
_PARAMETER = "make it a parameter, or read it outside functions, at import"
# By the full names of what is used: what workers have not, and what to do instead.
_NAMES = {
    "builtins.globals": ("looks names up in globals()", _VALUE),
    "builtins.eval": ("looks names up in eval()", _VALUE),
    "builtins.exec": ("looks names up in exec()", _VALUE),
    "sys.argv": ("reads sys.argv", _PARAMETER),
    "sys.flags": ("reads sys.flags", _PARAMETER),
    "sys.modules": ("looks modules up in sys.modules", "import the module by its name"),
    "sys.orig_argv": ("reads sys.orig_argv", _PARAMETER),
    "sys.path": ("reads sys.path", _PARAMETER),
}
# By the names of attributes, whatever they are of.
_ATTRIBUTES = {
    "__globals__": ("looks names up in __globals__", _VALUE),
    "__subclasses__": ("looks classes up by __subclasses__()", _CLASSES),
    "f_globals": ("looks names up in f_globals", _VALUE),
}
_OTHER = ", and workers have another content there"
_MAIN = ("imports __main__", "write the names of the script or notebook themselves")
# Methods that are given a text in which `@name` is a name of the caller, as pandas' are.
_TEXTS = frozenset({"eval", "query"})
_OF_CALLER = re.compile(r"@\s*([^\W\d]\w*)")
# Methods by which `process` makes a module of its own findable.
_ADDS = frozenset({"append", "extend", "insert", "remove"})


def lookups_of(
    tree: ast.AST, name_of: Callable[[ast.AST], str | None], thing_of: Callable[[ast.AST], Any]
) -> Iterator[tuple[ast.AST, str, str]]:
    """Each node that looks up what workers have not, with what it does, and what to do instead.

    `name_of` gives the full name of what a library has, `thing_of` what a name from outside is.
    """
    nodes = list(ast.walk(tree))
    own = {
        node.id if isinstance(node, ast.Name) else node.arg for node in nodes if isinstance(node, ast.Name | ast.arg)
    }
    harmless = {id(inner) for node in nodes for inner in _harmless(node, name_of)}
    for node in nodes:
        if id(node) in harmless:
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None), *(alias.name for alias in node.names)]
            if "__main__" in names[:1] or (isinstance(node, ast.Import) and "__main__" in names):
                yield node, _MAIN[0] + _OTHER, _MAIN[1]
        elif (known := _ATTRIBUTES.get(_attribute(node))) is not None:
            yield node, known[0] + _OTHER, known[1]
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            name = "sys.modules" if thing_of(node) is sys.modules else name_of(node)
            if name in _NAMES:
                yield node, _NAMES[name][0] + _OTHER, _NAMES[name][1]
        elif isinstance(node, ast.Call):
            if (inner := _of_sys(node, name_of)) in _NAMES:
                yield node, _NAMES[inner][0] + _OTHER, _NAMES[inner][1]
            for name in sorted(_in_texts(node, thing_of) - own):
                what = f"looks {name} up in a text, as @{name}, and workers get only what code names outside of texts"
                yield node, what, f"write `value = {name}` before, and @value"


def _harmless(node: ast.AST, name_of: Callable[[ast.AST], str | None]) -> Iterator[ast.AST]:
    """What of a node is the name of something that looks nothing up here."""
    if isinstance(node, ast.Attribute) and node.attr in _ADDS and name_of(node.value) == "sys.path":
        yield node.value
    elif isinstance(node, ast.Call) and name_of(node.func) in ("builtins.eval", "builtins.exec"):
        given = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "globals")]
        if given and not (isinstance(given[0], ast.Constant) and given[0].value is None):
            yield node.func  # in a namespace that is given


def _in_texts(call: ast.Call, thing_of: Callable[[ast.AST], Any]) -> set[str]:
    """The names of the caller that stand in the text which a method as `DataFrame.query` is given."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in _TEXTS:
        return set()
    given = [*call.args[:1], *(k.value for k in call.keywords if k.arg == "expr")]
    texts = [inner.value for each in given for inner in ast.walk(each) if isinstance(inner, ast.Constant)]
    texts += [thing_of(inner) for each in given for inner in ast.walk(each) if isinstance(inner, ast.Name)]
    return {name for text in texts if isinstance(text, str) for name in _OF_CALLER.findall(text)}


def _attribute(node: ast.AST) -> str:
    """The name of an attribute that a node takes, or a text that may be one."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return node.attr if isinstance(node, ast.Attribute) else ""


def _of_sys(call: ast.Call, name_of: Callable[[ast.AST], str | None]) -> str:
    """What `getattr(sys, "argv")` takes."""
    if name_of(call.func) == "builtins.getattr" and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
        return f"{name_of(call.args[0])}.{call.args[1].value!s}"
    return ""
