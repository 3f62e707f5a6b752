"""Bytes of a file that a user named, or others may have put there: it may turn out to be a pipe, a device or a link."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

__all__ = ["files_below", "open_below", "open_regular", "opened_folder", "read_regular"]

# Without waiting for the writer of a pipe.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def open_regular(path: Path) -> BufferedReader:
    """A regular file, open for reading; raises OSError for any other, without waiting."""
    return _regular(os.open(path, _READ), path)


def open_below(folder: Path, name: str) -> BufferedReader:
    """The regular file of a relative name below a folder, which itself may be a link and nothing on the way from it.

    Raises OSError, with ELOOP or ENOTDIR where there is a link, and EINVAL for what is no regular file.
    """
    *folders, last = name.split("/")
    with contextlib.ExitStack() as opened:
        descriptor = opened.enter_context(opened_folder(folder, os.O_DIRECTORY))
        for each in folders:
            descriptor = opened.enter_context(opened_folder(each, within=descriptor))
        return _regular(os.open(last, _READ | os.O_NOFOLLOW, dir_fd=descriptor), folder / name)


@contextlib.contextmanager
def opened_folder(
    folder: Path | str, flags: int = os.O_DIRECTORY | os.O_NOFOLLOW, *, within: int | None = None
) -> Iterator[int]:
    """The descriptor of a folder, which is no link; a name is one `within` that descriptor. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def files_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files below a folder, sorted, also those that links lead to; and what is neither a file nor a folder.

    A link to a folder is not followed, and is no folder here.
    """
    files, others = [], []
    for path in sorted(folder.rglob("*")):
        if os.path.isfile(path):
            files.append(path)
        elif os.path.islink(path) or not os.path.isdir(path):
            others.append(path)
    return files, others


def _regular(descriptor: int, path: Path) -> BufferedReader:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, max_bytes: int) -> bytes:
    """The bytes of a regular file, at most one more than `max_bytes`; raises OSError for any other, without waiting."""
    with open_regular(path) as stream:
        return stream.read(max_bytes + 1)
