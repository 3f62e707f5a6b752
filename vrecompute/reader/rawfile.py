"""`RawFile`: a ROOT file as bytes: its identity from the header alone, and coalesced reads.

Pieces at most 16 KiB apart are read as one. Over a network the smallest gaps are closed first, and all that are closed
have at most a sixteenth of the bytes that are needed.
"""

from __future__ import annotations

import threading
import time
import uuid as uuids
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vrecompute.errors import CorruptFile, UnreadableFile
from vrecompute.reader.bytesource import ByteSource, look_at, scheme_of
from vrecompute.reader.identity import sampled_content
from vrecompute.reader.kernels import AT, BYTES, SEEK
from vrecompute.reader.memory import buffer

__all__ = ["RawFile", "forget_raw", "open_raw", "opened_raw"]

_OPEN_FILES = 32
_GAP_BYTES = 16 * 1024  # reading this much more is cheaper than another request
_GAPS_SHARE = 16
_MOST_AHEAD_BYTES = 64 << 20  # of one thread
_FRESH_S = 10.0

_cache: OrderedDict[tuple[str | int, ...], RawFile] = OrderedDict()
_cache_lock = threading.Lock()


class _Runs(NamedTuple):
    """Stretches [begin, end) of a file, and where each is put in memory: `into` has the end of the last one too."""

    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    into: NDArray[np.int64]

    @property
    def pieces(self) -> NDArray[np.int64]:
        return np.stack([self.begin, self.end], axis=1)


class _Ahead(NamedTuple):
    """What is being fetched before it is asked for, into other memory than the columns'."""

    runs: _Runs
    raw: NDArray[np.uint8]
    wait: Callable[[], None]


class RawFile:
    """An open file. `uuid`, `size` and `content` identify it; reading is by position, from any thread."""

    def __init__(self, path: str, source: ByteSource) -> None:
        self.path = path
        self.source = source
        self.size = source.size
        self.uuid = self._identify()
        self.looked = time.monotonic()
        self._ahead: dict[int, _Ahead] = {}

    def _identify(self) -> str:
        if not self.size:
            raise CorruptFile(self.path, "is empty (0 bytes)")
        header = self.read([(0, min(75, self.size))]).tobytes()
        if header[:4] != b"root" or len(header) < 63:
            raise CorruptFile(self.path, "is not a ROOT file")
        # files beyond 2 GB have 8-byte positions, which their version number tells by an added million
        version = int.from_bytes(header[4:8], "big")
        if version >= 2_000_000:  # a text that begins with the same word, such as a list of users
            raise CorruptFile(self.path, "is not a ROOT file")
        large = version >= 1_000_000
        end = int.from_bytes(header[12:20] if large else header[12:16], "big")
        if end > self.size:
            raise CorruptFile(self.path, f"is truncated: its header says {end} bytes, it has {self.size}")
        at = 59 if large else 47
        return str(uuids.UUID(bytes=header[at : at + 16]))

    @property
    def is_fresh(self) -> bool:
        """Whether it need not be looked at: it was lately, and each of its reads would tell that it changed."""
        return getattr(self.source, "proves_itself", False) and time.monotonic() < self.looked + _FRESH_S

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
        starts, stops = pieces[~bare, SEEK], pieces[~bare, SEEK] + pieces[~bare, BYTES]
        extra = extra if bare.any() else b""
        ahead = self._ahead.get(threading.get_ident()) if self._ahead else None
        if ahead is not None and (run_of := _covering(ahead.runs, starts, stops)) is not None:
            try:
                ahead.wait()
            except UnreadableFile:
                self.forget_ahead()
                raise
            runs, raw = ahead.runs, ahead.raw
        else:
            runs = self._runs(starts, stops)
            raw = buffer("raw", int(runs.into[-1]) + len(extra))
            self.source.read_ranges(runs.pieces, raw[: runs.into[-1]])
            run_of = np.searchsorted(runs.begin, starts, side="right") - 1
        raw[runs.into[-1] : runs.into[-1] + len(extra)] = np.frombuffer(extra, dtype=np.uint8)
        pieces[~bare, AT] = starts - runs.begin[run_of] + runs.into[run_of]
        pieces[bare, AT] = runs.into[-1] - 1 - pieces[bare, SEEK]
        return raw

    def fetch_ahead(self, pieces: NDArray[np.int64], extra: bytes = b"") -> None:
        """Begin to fetch what this thread will `gather` next, until `forget_ahead`, where it is of use."""
        begin = getattr(self.source, "begin_ranges", None)
        kept = pieces[pieces[:, SEEK] >= 0]
        runs = self._runs(kept[:, SEEK], kept[:, SEEK] + kept[:, BYTES])
        if begin is not None and 0 < runs.into[-1] <= _MOST_AHEAD_BYTES and np.all(runs.end <= self.size):
            raw = np.empty(int(runs.into[-1]) + len(extra), dtype=np.uint8)
            self._ahead[threading.get_ident()] = _Ahead(runs, raw, begin(runs.pieces, raw[: runs.into[-1]]))

    def forget_ahead(self) -> None:
        """This thread has read what was fetched ahead for it."""
        self._ahead.pop(threading.get_ident(), None)

    def _runs(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> _Runs:
        order = np.argsort(starts, kind="stable")
        reach = np.maximum.accumulate(stops[order])
        gaps = starts[order[1:]] - reach[:-1]
        closed = _GAP_BYTES
        if hasattr(self.source, "begin_ranges"):
            real = np.sort(gaps[gaps > 0])
            most = np.searchsorted(np.cumsum(real), int((stops - starts).sum()) // _GAPS_SHARE, side="right")
            closed = min(_GAP_BYTES, int(real[most]) - 1 if most < len(real) else _GAP_BYTES)
        opens = np.ones(len(order), dtype=bool)
        opens[1:] = gaps > closed
        begin, end = starts[order[opens]], reach[np.roll(opens, -1)]
        return _Runs(begin, end, np.r_[0, np.cumsum(end - begin)])


def _covering(runs: _Runs, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """In which run each of these pieces is; None where one is in none."""
    run_of = np.searchsorted(runs.begin, starts, side="right") - 1
    inside = bool(np.all(run_of >= 0)) and bool(np.all(stops <= runs.end[run_of]))
    return run_of if inside else None


def open_raw(path: str) -> RawFile:
    """The open file, from a cache while nothing tells that it changed.

    Raises UnreadableFile where it is absent or may not be read, CorruptFile where it is no ROOT file
    or shorter than its own header says.
    """
    if scheme_of(path) and (file := opened_raw(path)) is not None and file.is_fresh:
        return file
    source = look_at(path)
    key = (path, *source.stamp)
    with _cache_lock:
        if key in _cache:
            _cache.move_to_end(key)
            _cache[key].looked = time.monotonic()
            return _cache[key]
    file = RawFile(path, source)
    with _cache_lock:
        _cache[key] = file
        while len(_cache) > _OPEN_FILES:
            _cache.popitem(last=False)  # closes with its last reference
    return file


def opened_raw(path: str) -> RawFile | None:
    """The file as it was opened last, where it is open still; nothing is looked at."""
    with _cache_lock:
        return next((file for key, file in reversed(_cache.items()) if key[0] == path), None)


def forget_raw(path: str) -> None:
    """Open the file anew next time: a descriptor of a network file system may be stale for good."""
    with _cache_lock:
        for key in [key for key in _cache if key[0] == path]:
            del _cache[key]
