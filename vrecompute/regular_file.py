"""Bytes of a file that a user named, which may turn out to be a pipe or a device."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

__all__ = ["open_regular", "read_regular"]


def open_regular(path: Path) -> BufferedReader:
    """A regular file, open for reading; raises OSError for any other, without waiting."""
    # the writer of a pipe must not be waited for
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, max_bytes: int) -> bytes:
    """The bytes of a regular file, at most one more than `max_bytes`; raises OSError for any other, without waiting."""
    with open_regular(path) as stream:
        return stream.read(max_bytes + 1)
