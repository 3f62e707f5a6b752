"""Standard output and error of a command, where they may be full, or closed early by their reader."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from vrecompute.errors import OutputError

__all__ = ["guarded_streams"]


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Trouble with stdout is an OutputError meanwhile, and trouble with stderr is none: progress is not worth a run.

    A reader of stdout that went away ends nothing: the command's exit code still says how it ended.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened would be taken for it
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    sys.stdout = _Guarded(sys.stdout, "standard output")  # a TextIO by delegation
    sys.stderr = _Guarded(sys.stderr, "")
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Guarded:
    """A stream whose writes and flushes fail in one way: an OutputError with this name, or without one not at all."""

    def __init__(self, stream: TextIO | None, name: str) -> None:
        self._stream = stream or open(os.devnull, "w")  # noqa: SIM115  # open until the process ends
        self._name = name
        self._trouble: OutputError | None = None

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._stream, attribute)

    def write(self, text: str) -> int:
        """As the stream does."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """As the stream does."""
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            # What is in its buffer would fail again when the process ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if self._name and not isinstance(error, BrokenPipeError):
                self._trouble = OutputError(f"{self._name} cannot be written: {error.strerror or error}")
        if self._trouble is not None:  # again and again: click writes to a stream, and ignores how that went
            raise self._trouble
