"""Which statements of a script, of a notebook's cell or of a module have been carried out so far.

A module whose import has ended has done all of them. One that runs now, as a script does that calls `Client.run`, has
a frame: what stands before the frame's line is done, what stands after it is not, and of a block that the line is in
as much as comes before it. Below a call, the same holds of the function that is called.
"""

from __future__ import annotations

import ast
import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FrameType
from typing import Any

from vrecompute import sourcetext
from vrecompute.analysis.coderange import is_user

__all__ = ["Repeated", "executed", "reduced", "stand"]

#: Frames of a user's code, from a module's on down to the last of its calls.
Stand = Sequence[FrameType]


class Repeated(Exception):
    """A statement in a loop that goes on: how often it was done, and what comes after it, cannot be said."""

    def __init__(self, statement: ast.stmt) -> None:
        super().__init__(statement)
        self.statement = statement


def stand(members: dict[str, Any]) -> Stand:
    """The frame that carries out the text of the module with these members, and those of users' calls below it.

    Empty where the text has ended; of a notebook it is that of the last cell.
    """
    for top in sys._current_frames().values():
        chain: list[FrameType] = []
        frame: FrameType | None = top
        while frame is not None:
            chain.append(frame)
            if _is_module(frame.f_code) and frame.f_globals is members:
                return [f for f in reversed(chain) if is_user(str(f.f_globals.get("__name__")))]
            frame = frame.f_back
    return ()


def _is_module(code: CodeType) -> bool:
    return code.co_name == "<module>" or code.co_name.startswith("<cell line")


def executed(body: Sequence[ast.stmt], at: Stand) -> Iterator[ast.stmt]:
    """The statements of `body` that are done, simple ones and whole blocks, in their order.

    Raises Repeated, with each statement of a loop that is under way.
    """
    if not at:
        yield from body
        return
    line = at[0].f_lineno
    for node in body:
        if (node.end_lineno or node.lineno) < line:
            yield node
        elif node.lineno <= line:
            yield from _within(node, at)
            return
        else:
            return


def _within(node: ast.stmt, at: Stand) -> Iterator[ast.stmt]:
    line = at[0].f_lineno
    if isinstance(node, ast.For | ast.AsyncFor | ast.While):
        if any(_has(part, line) for part in node.body):
            raise Repeated(node)
        yield from executed(node.orelse, at)
        return
    parts = [node.body] if isinstance(node, ast.With | ast.AsyncWith) else _branches(node)
    for part in parts:
        if any(_has(statement, line) for statement in part):
            yield from executed(part, at)
            return
        if isinstance(node, ast.Try) and part is node.body:
            yield from part  # the line is in what follows it
    if not parts and len(at) > 1 and (found := sourcetext.find(at[1].f_code)) is not None:
        if isinstance(found.node, ast.FunctionDef):
            yield from executed(found.node.body, at[1:])


def _branches(node: ast.stmt) -> list[list[ast.stmt]]:
    if isinstance(node, ast.If):
        return [node.body, node.orelse]
    if isinstance(node, ast.Try):
        return [node.body, *(handler.body for handler in node.handlers), node.orelse, node.finalbody]
    if isinstance(node, ast.Match):
        return [case.body for case in node.cases]
    return []


def _has(statement: ast.stmt, line: int) -> bool:
    return statement.lineno <= line <= (statement.end_lineno or statement.lineno)


def reduced(statement: ast.stmt, wanted: Callable[[ast.stmt], bool]) -> list[ast.stmt]:
    """What is left of a statement where only wanted ones are done: a block keeps its conditions, `with` is opened up."""
    if isinstance(statement, ast.With | ast.AsyncWith):
        return [kept for inner in statement.body for kept in reduced(inner, wanted)]
    if not _branches(statement) and not isinstance(statement, ast.For | ast.AsyncFor | ast.While):
        return [statement] if wanted(statement) else []
    left = copy.copy(statement)
    for name in ("body", "orelse", "finalbody"):
        inside = [kept for inner in getattr(left, name, ()) for kept in reduced(inner, wanted)]
        setattr(left, name, inside or ([ast.Pass()] if name == "body" else []))
    for name in ("handlers", "cases"):
        if hasattr(left, name):
            setattr(left, name, [_shallow(part, wanted) for part in getattr(left, name)])
    return [ast.fix_missing_locations(left)]


def _shallow(part: Any, wanted: Callable[[ast.stmt], bool]) -> Any:
    """A handler or a case with what is left of its body."""
    left = copy.copy(part)
    left.body = [kept for inner in part.body for kept in reduced(inner, wanted)] or [ast.Pass()]
    return left
