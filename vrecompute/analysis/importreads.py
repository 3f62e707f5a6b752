"""Which files are read while a module is imported, as Python's audit events say: a table of cuts beside FILE.py."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from vrecompute.analysis.coderange import is_library_file

__all__ = ["files_read", "stamp_of"]

# Code is looked at by its text; the others are no files, or of no user.
_CODE = frozenset({".py", ".pyc", ".so", ".pyd", ".dylib"})
_SYSTEM = ("/proc/", "/sys/", "/dev/")
_here = threading.local()


@contextlib.contextmanager
def files_read() -> Iterator[dict[str, Any]]:
    """The files that this thread reads meanwhile, with their stamps at that time; libraries' own do not count."""
    _listen()
    outer = getattr(_here, "files", None)
    _here.files = {}
    try:
        yield _here.files
    finally:
        _here.files = outer


def stamp_of(file: str) -> list[int] | None:
    """What changes when a file is written; None where there is none."""
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ino]


@cache
def _listen() -> None:
    """Once, as no audit hook can be taken back."""
    sys.addaudithook(_heard)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or (files := getattr(_here, "files", None)) is None:
        return
    given, mode, *_ = arguments
    if not isinstance(given, str | os.PathLike) or (mode is not None and not {"w", "a", "x"}.isdisjoint(mode)):
        return
    file = os.path.abspath(given)
    path = Path(file)
    hidden = any(part.startswith(".") for part in path.parts)
    if not (path.suffix in _CODE or hidden or file.startswith(_SYSTEM) or is_library_file(file)):
        files.setdefault(file, stamp_of(file))
