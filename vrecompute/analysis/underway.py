"""How far a text came: which of its statements have ended, which may have been done in part, which have not begun.

A module whose import has ended has done all. A script or a notebook's cell that calls `Client.run` has a frame: the
statement that it is in is under way, those above have ended, those below have not begun. Functions that were called and
have not returned are under way too. A script that raised goes on where Python is interactive, or in another thread:
Python keeps the traceback of the last error that was not caught.
"""

from __future__ import annotations

import ast
import itertools
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

__all__ = ["ENDED", "RUNNING", "Course", "Place", "ended", "frames_of", "script_course", "start_of", "text_course"]

#: A line, and the bytes before it in that line, as `ast` counts them.
Place = tuple[int, int]
RUNNING = "which is still running"
_NOWHERE, _EVERYWHERE = (0, -1), (sys.maxsize, 0)


@dataclass(frozen=True)
class Course:
    """What ends before `first` has ended, what begins after `last` has not begun; `why` says what is between.

    `where` names the text where nothing is known of its statements, as `a cell`.
    """

    why: str = ""
    first: Place = _EVERYWHERE
    last: Place = _NOWHERE
    where: str = ""

    @classmethod
    def at(cls, place: Place, why: str) -> Course:
        """Of a text that came to a place."""
        return cls(why, place, place)

    @classmethod
    def within(cls, line: int, why: str) -> Course:
        """Of a text that came to some place of a line."""
        return cls(why, (line, 0), (line, sys.maxsize))

    @classmethod
    def unknown(cls, where: str, why: str) -> Course:
        """Of a text that may have come anywhere."""
        return cls(why, _NOWHERE, _EVERYWHERE, where)


ENDED = Course()


def frames_of(members: dict[str, Any]) -> list[FrameType]:
    """The frames of the module with these members, innermost first: of this thread, and of one that runs its text."""
    found = []
    tops = sys._current_frames()
    while tops:  # taken out one by one: this function's own frame is among them, and would keep itself and its callers
        thread, top = tops.popitem()
        frames = [frame for frame in _chain(top) if frame.f_globals is members]
        del top
        if thread == threading.get_ident() or any(map(_is_text, frames)):
            found += frames
    return found


def text_course(frames: Sequence[FrameType]) -> Course:
    """Of a module's text, or of a notebook's last cell, by the frames that are of it."""
    frame = next((frame for frame in reversed(frames) if _is_text(frame)), None)
    return ENDED if frame is None else Course.at(_place(frame, frame.f_lasti, frame.f_lineno), RUNNING)


def script_course(members: dict[str, Any]) -> Course:
    """Of a script that is under way no more: it has ended, or raised."""
    trace: TracebackType | None = getattr(sys, "last_traceback", None)
    interactive = sys.flags.interactive or sys.flags.inspect
    if trace is not None and interactive:
        # At the prompt any later error takes the place of the script's.
        course = Course.unknown("a script", "of which Python does not know any more whether it raised")
    else:
        course = ENDED
    while trace is not None:
        if trace.tb_frame.f_globals is members and _is_text(trace.tb_frame):
            raised = getattr(sys, "last_type", None)
            why = f"which raised {getattr(raised, '__name__', 'an error')}"
            return Course.at(_place(trace.tb_frame, trace.tb_lasti, trace.tb_lineno), why)
        trace = trace.tb_next
    return course


def start_of(statement: ast.stmt) -> Place:
    """Where a statement begins, with its decorators."""
    above = getattr(statement, "decorator_list", None) or [statement]
    return above[0].lineno, min(statement.col_offset, above[0].col_offset)


def ended(body: Sequence[ast.stmt], course: Course) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """The statements of a text that have ended, and those that may have been done in part, or not."""
    done = [node for node in body if (node.end_lineno or 0, node.end_col_offset or 0) <= course.first]
    return done, [node for node in body[len(done) :] if start_of(node) <= course.last]


def _place(frame: FrameType, instruction: int, line_no: int) -> Place:
    line, _, column, _ = next(itertools.islice(frame.f_code.co_positions(), instruction // 2, None))
    return line or line_no, column or 0


def _chain(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_text(frame: FrameType) -> bool:
    """Whether it is of a file or a cell, not of what `exec` or a prompt was given with the same members."""
    name, file = frame.f_code.co_name, frame.f_code.co_filename
    return (name == "<module>" or name.startswith("<cell line")) and (file[:1] != "<" or file.startswith("<ipython"))
