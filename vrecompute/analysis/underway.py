"""How far a module has come: which of its statements have ended, and what of it is under way.

A module whose import has ended has done all. A script or a notebook's cell that calls `Client.run` has a frame: the
statement at its line is under way, those above have ended, those below have not begun. Functions that were called and
have not returned are under way too.
"""

from __future__ import annotations

import ast
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

__all__ = ["ended", "frames_of", "line_of"]


def frames_of(members: dict[str, Any]) -> list[FrameType]:
    """The frames of the module with these members, innermost first: of this thread, and of one that runs its text."""
    found = []
    for thread, top in sys._current_frames().items():
        frames = [frame for frame in _chain(top) if frame.f_globals is members]
        if thread == threading.get_ident() or any(map(_is_text, frames)):
            found += frames
    return found


def line_of(frames: Sequence[FrameType]) -> int | None:
    """The line at which a module's text, or that of a notebook's last cell, is by now; None where it has ended."""
    return next((frame.f_lineno for frame in reversed(frames) if _is_text(frame)), None)


def ended(body: Sequence[ast.stmt], line: int | None) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """The statements of a text that have ended, and those that are under way at a line."""
    if line is None:
        return list(body), []
    done = [node for node in body if (node.end_lineno or node.lineno) < line]
    return done, [node for node in body if node.lineno <= line <= (node.end_lineno or node.lineno)]


def _chain(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_text(frame: FrameType) -> bool:
    """Whether it is of a file or a cell, not of what `exec` or a prompt was given with the same members."""
    name, file = frame.f_code.co_name, frame.f_code.co_filename
    return (name == "<module>" or name.startswith("<cell line")) and (file[:1] != "<" or file.startswith("<ipython"))
