"""What a kernel's status means, as an error that names the file, the column and where in it."""

from __future__ import annotations

from vrecompute.errors import CorruptFile
from vrecompute.reader import kernels

__all__ = ["decode_error"]

_COMPLAINTS = {
    kernels.BAD_KEY: "the basket's key does not agree with the tree",
    kernels.BAD_BLOCK: "a compressed block has an impossible header",
    kernels.BAD_STREAM: "a compressed block cannot be decompressed",
    kernels.BAD_CHECKSUM: "the data differ from their checksum",
    kernels.BAD_LENGTH: "there are more or fewer values than the entries and counts need",
    kernels.UNKNOWN_CODEC: "a block is compressed by an unknown algorithm",
    kernels.BAD_COUNT: "the lengths of lists are negative, or do not agree with the number of values",
}


def decode_error(path: str, column: str, status: int, first: int, count: int, what: str = "entries") -> CorruptFile:
    """The error for a kernel's status about entries (or elements) [first, first + count) of a column."""
    return CorruptFile(path, f"column {column!r}, {what} [{first}, {first + count}): {_COMPLAINTS[status]}")
