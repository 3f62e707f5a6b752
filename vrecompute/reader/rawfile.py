"""`RawFile`: a ROOT file as bytes: its identity from the header alone, and coalesced reads."""

from __future__ import annotations

import threading
import uuid as uuids
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import CorruptFile
from vrecompute.reader.bytesource import ByteSource, look_at
from vrecompute.reader.identity import sampled_content
from vrecompute.reader.kernels import AT, BYTES, SEEK
from vrecompute.reader.memory import buffer

__all__ = ["RawFile", "forget_raw", "open_raw"]

_OPEN_FILES = 32
_GAP_BYTES = 16 * 1024  # reading this much more is cheaper than another request

_cache: OrderedDict[tuple[str | int, ...], RawFile] = OrderedDict()
_cache_lock = threading.Lock()


class RawFile:
    """An open file. `uuid`, `size` and `content` identify it; reading is by position, from any thread."""

    def __init__(self, path: str, source: ByteSource) -> None:
        self.path = path
        self.source = source
        self.size = source.size
        self.uuid = self._identify()

    def _identify(self) -> str:
        if not self.size:
            raise CorruptFile(self.path, "is empty (0 bytes)")
        header = self.read([(0, min(75, self.size))]).tobytes()
        if header[:4] != b"root" or len(header) < 63:
            raise CorruptFile(self.path, "is not a ROOT file")
        # files beyond 2 GB have 8-byte positions, which their version number tells by an added million
        large = int.from_bytes(header[4:8], "big") >= 1_000_000
        end = int.from_bytes(header[12:20] if large else header[12:16], "big")
        if end > self.size:
            raise CorruptFile(self.path, f"is truncated: its header says {end} bytes, it has {self.size}")
        at = 59 if large else 47
        return str(uuids.UUID(bytes=header[at : at + 16]))

    @cached_property
    def content(self) -> str:
        """See `sampled_content`; read once for each opening. Raises UnreadableFile."""
        return sampled_content(self.source)

    def read(self, ranges: Sequence[tuple[int, int]]) -> NDArray[np.uint8]:
        """The bytes [start, stop) of all ranges, one after another. Raises UnreadableFile."""
        pieces = np.array(ranges, dtype=np.int64).reshape(-1, 2)
        data = np.empty(int(np.sum(pieces[:, 1] - pieces[:, 0])), dtype=np.uint8)
        self.source.read_ranges(pieces, data)
        return data

    def gather(self, pieces: NDArray[np.int64], extra: bytes = b"") -> NDArray[np.uint8]:
        """Read all pieces, in order of position and adjacent ones together, and set their AT column.

        Returns this thread's buffer with their bytes, then `extra`, to which pieces with SEEK < 0 point:
        piece -1 - n is at its byte n. Raises UnreadableFile.
        """
        bare = pieces[:, SEEK] < 0
        starts, sizes = pieces[~bare, SEEK], pieces[~bare, BYTES]
        order = np.argsort(starts, kind="stable")
        reach = np.maximum.accumulate((starts + sizes)[order])
        opens = np.ones(len(order), dtype=bool)
        opens[1:] = starts[order[1:]] > reach[:-1] + _GAP_BYTES
        begin, end = starts[order[opens]], reach[np.roll(opens, -1)]
        into = np.r_[0, np.cumsum(end - begin)]
        extra = extra if bare.any() else b""
        raw = buffer("raw", int(into[-1]) + len(extra))
        self.source.read_ranges(np.stack([begin, end], axis=1), raw[: into[-1]])
        raw[into[-1] : into[-1] + len(extra)] = np.frombuffer(extra, dtype=np.uint8)
        run_of = np.searchsorted(begin, starts, side="right") - 1
        pieces[~bare, AT] = starts - begin[run_of] + into[run_of]
        pieces[bare, AT] = into[-1] - 1 - pieces[bare, SEEK]
        return raw


def open_raw(path: str) -> RawFile:
    """The open file, from a cache while nothing tells that it changed.

    Raises UnreadableFile where it is absent or may not be read, CorruptFile where it is no ROOT file
    or shorter than its own header says.
    """
    source = look_at(path)
    key = (path, *source.stamp)
    with _cache_lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    file = RawFile(path, source)
    with _cache_lock:
        _cache[key] = file
        while len(_cache) > _OPEN_FILES:
            _cache.popitem(last=False)  # closes with its last reference
    return file


def forget_raw(path: str) -> None:
    """Open the file anew next time: a descriptor of a network file system may be stale for good."""
    with _cache_lock:
        for key in [key for key in _cache if key[0] == path]:
            del _cache[key]
