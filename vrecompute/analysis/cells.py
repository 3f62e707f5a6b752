"""The cells of a notebook in their order, and how far each came: IPython keeps which of them raised, and where."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from vrecompute import sourcetext
from vrecompute.analysis.underway import ENDED, Course, start_of

__all__ = ["cells_of", "is_notebook"]

# Before, `%%time` hid errors, and none were kept before 9.1.
_KEEPS_ERRORS = (9, 4)
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_CAUSES = re.compile(r"\n(?:During handling of the above|The above exception was the direct)")


def is_notebook(members: Mapping[str, Any]) -> bool:
    """Whether a module with these members is a notebook, or a prompt of IPython."""
    return "get_ipython" in members


def cells_of(members: Mapping[str, Any], running: Course) -> list[tuple[str, Course]]:
    """Texts of the cells that were run, the first first; `running` is how far the last came if it has not ended."""
    texts = [text for text in members.get("In", ()) if isinstance(text, str)]
    shell = members["get_ipython"]()
    history = getattr(shell, "history_manager", None)
    next_number = getattr(shell, "execution_count", sys.maxsize)
    numbers = _numbers(members, texts, getattr(history, "input_hist_raw", texts), next_number)
    errors = getattr(history, "exceptions", None) if _ipython() >= _KEEPS_ERRORS else None
    courses = [_course(text, number, errors) for text, number in zip(texts, numbers, strict=True)]
    if running is not ENDED:
        courses[-1:] = [running]
    return list(zip(texts, courses, strict=True))


def _ipython() -> tuple[int, ...]:
    return tuple(getattr(sys.modules.get("IPython"), "version_info", ())[:2])


def _numbers(
    members: Mapping[str, Any], texts: Sequence[str], raw: Sequence[str], next_number: int
) -> list[int | None]:
    """The number of each cell, by which IPython names what the user typed; None where that name was removed."""
    named = (int(name[2:]) for name in members if re.fullmatch(r"_i[1-9]\d*", name))
    known = sorted(number for number in named if number < next_number)  # others are left from before a reset
    numbers: list[int | None] = []
    for typed in reversed([*raw, *[""] * len(texts)][: len(texts)]):
        numbers.append(known.pop() if known and members[f"_i{known[-1]}"] == typed else None)
    return numbers[::-1]


def _course(text: str, number: int | None, errors: Mapping[int, Mapping[str, Any]] | None) -> Course:
    if not text:
        return ENDED
    if errors is None:
        return Course.unknown("a cell", "of which this IPython does not know whether it raised; 9.4 and later do")
    if number is None:
        return Course.unknown("a cell", "of which IPython does not know any more whether it raised")
    if number not in errors:
        return _compiled(text)
    kept = errors[number]
    why = f"which raised {kept.get('ename', 'an error')}"
    shown = _COLORS.sub("", "\n".join(map(str, kept.get("traceback", ()))))
    # The last of several errors is the one that ended the cell; in it the outermost frame comes first.
    found = re.search(rf"^Cell In\[{number}\], line (\d+)", _CAUSES.split(shown)[-1], re.MULTILINE)
    return Course.within(int(found[1]), why) if found else Course.unknown("a cell", why)


@lru_cache(maxsize=256)
def _compiled(text: str) -> Course:
    """How far a cell came that raised nothing: IPython compiles each statement after it has carried out those above."""
    try:
        body = sourcetext.syntax_of(text).body
    except (SyntaxError, ValueError, RecursionError):  # nothing of it was done
        return ENDED
    for node in body:
        try:
            compile(ast.Module([node], []), "", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError):
            line, column = start_of(node)
            return Course("which raised SyntaxError", (line, column), (line, column - 1))
    return ENDED
