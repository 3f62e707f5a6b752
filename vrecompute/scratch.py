"""`scratch`: temporary folders of this program, of which none outlives its process for long, however that ended.

A folder is locked as long as its process lives. What a killed process left goes when the next process of its user
makes one in the same place, on the same machine or in a container that shares it.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

__all__ = ["process_scratch", "scratch"]

_PREFIX, _LOCK = "vrecompute-scratch-", ".lock"
# A folder is made before it is locked.
_YOUNG_S = 600.0
_swept: set[str] = set()


@contextlib.contextmanager
def scratch(what: str) -> Iterator[Path]:
    """An empty folder whose name tells `what` it is for; removed at the end. Raises OSError where none can be made."""
    folder, lock = _made(what)
    try:
        yield folder
    finally:
        _removed(folder, lock)


@lru_cache(maxsize=1)
def process_scratch() -> Path:
    """This process' own folder, removed when the process ends."""
    folder, lock = _made("process")
    atexit.register(_removed, folder, lock)
    return folder


def _made(what: str) -> tuple[Path, int]:
    """A folder, and the descriptor that holds its lock."""
    place = tempfile.gettempdir()
    if place not in _swept:
        _swept.add(place)
        _sweep(place)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{what}-", dir=place))
    try:
        (folder / "in").mkdir()
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    with contextlib.suppress(OSError):  # a file system without locks: nobody can take it for one that was left
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return folder / "in", lock


def _removed(folder: Path, lock: int) -> None:
    shutil.rmtree(folder.parent, ignore_errors=True)
    os.close(lock)


def _sweep(place: str) -> None:
    """Remove folders of this user whose process is gone."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(place):
            if entry.name.startswith(_PREFIX):
                with contextlib.suppress(OSError):
                    _sweep_one(entry)


def _sweep_one(entry: os.DirEntry[str]) -> None:
    status = entry.stat(follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or time.time() - status.st_mtime < _YOUNG_S:
        return
    try:
        lock = os.open(f"{entry.path}/{_LOCK}", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # its process was killed before it had one
        shutil.rmtree(entry.path, ignore_errors=True)
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(entry.path, ignore_errors=True)
    finally:
        os.close(lock)
