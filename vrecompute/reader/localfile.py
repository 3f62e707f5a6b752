"""`LocalFile`: a file of this machine's file systems as a `ByteSource`."""

from __future__ import annotations

import os
import stat
import weakref
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import CorruptFile, TransientRead, UnreadableFile
from vrecompute.reader.retry import unreadable
from vrecompute.traffic import fetched

__all__ = ["LocalFile", "stamp_of"]


def stamp_of(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a local file does: size, inode, times of modification and of change in ns.

    A program can put the time of modification back; none can put back the time of change.
    """
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


class LocalFile:
    """The file as `look` found it; it is opened when it is read, and closed with the last reference."""

    def __init__(self, path: str, status: os.stat_result) -> None:
        self.path = path
        self.size = status.st_size
        self.stamp = stamp_of(status)

    @classmethod
    def look(cls, path: str) -> LocalFile:
        """Raises UnreadableFile where there is none, it may not be seen, or is something else: a pipe has no end."""
        try:
            status = os.stat(path)
        except OSError as error:
            raise unreadable(path, "cannot be opened", error) from error
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableFile(path, f"is {_kind(status.st_mode)}, and no file")
        return cls(path, status)

    @cached_property
    def _descriptor(self) -> int:
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise unreadable(self.path, "cannot be opened", error) from error
        weakref.finalize(self, os.close, descriptor)
        if os.fstat(descriptor).st_size != self.size:
            raise TransientRead(self.path, "changed while it was opened")
        return descriptor

    def read_ranges(self, pieces: NDArray[np.int64], into: NDArray[np.uint8]) -> None:
        """See `ByteSource`."""
        whole, at = into.data, 0
        for start, stop in pieces.tolist():
            end = at + stop - start
            self._read(whole[at:end], start)
            at = end
        fetched("file://", at, len(pieces))

    def _read(self, view: memoryview, position: int) -> None:
        descriptor = self._descriptor
        try:
            while view:
                done = os.preadv(descriptor, [view], position)
                if not done and os.fstat(descriptor).st_size > position:
                    raise TransientRead(self.path, f"gave nothing at byte {position}, before its end")
                if not done:
                    raise CorruptFile(self.path, f"ends at byte {position}, in the middle of its data")
                view, position = view[done:], position + done
        except OSError as error:
            raise unreadable(self.path, f"cannot be read at byte {position}", error) from error


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
