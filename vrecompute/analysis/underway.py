"""How far a module has come: which of its statements have ended, and what of it is under way.

A module whose import has ended has done all. A script or a notebook's cell that calls `Client.run` has a frame: the
statement that it is in is under way, those above have ended, those below have not begun. Functions that were called and
have not returned are under way too.
"""

from __future__ import annotations

import ast
import itertools
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

__all__ = ["Place", "ended", "frames_of", "place_of"]

#: A line, and the bytes before it in that line, as `ast` counts them.
Place = tuple[int, int]


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


def place_of(frames: Sequence[FrameType]) -> Place | None:
    """Where a module's text, or that of a notebook's last cell, is by now; None where it has ended."""
    frame = next((frame for frame in reversed(frames) if _is_text(frame)), None)
    if frame is None:
        return None
    line, _, column, _ = next(itertools.islice(frame.f_code.co_positions(), frame.f_lasti // 2, None))
    return line or frame.f_lineno, column or 0


def ended(body: Sequence[ast.stmt], place: Place | None) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """The statements of a text that have ended, and the one under way, if any, at a place."""
    if place is None:
        return list(body), []
    done = [node for node in body if (node.end_lineno or 0, node.end_col_offset or 0) <= place]
    return done, [node for node in body[len(done) :][:1] if (node.lineno, node.col_offset) <= place]


def _chain(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_text(frame: FrameType) -> bool:
    """Whether it is of a file or a cell, not of what `exec` or a prompt was given with the same members."""
    name, file = frame.f_code.co_name, frame.f_code.co_filename
    return (name == "<module>" or name.startswith("<cell line")) and (file[:1] != "<" or file.startswith("<ipython"))
