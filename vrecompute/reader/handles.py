"""`Handle`: one open ROOT file; a small per-process cache of them, and what their failures mean."""

from __future__ import annotations

import errno
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, TypeVar

import numpy as np

from vrecompute.errors import CorruptFile, MissingTree, VrecomputeError
from vrecompute.nearest import nearest
from vrecompute.reader.listframes import bound_list_frames
from vrecompute.reader.rawfile import RawFile, forget_raw, open_raw
from vrecompute.reader.retry import unreadable

__all__ = ["USUAL_TREES", "Handle", "Kind", "damage", "forget", "listed", "open_file"]

Kind = Literal["ttree", "rntuple"]
T = TypeVar("T")

_KINDS: dict[str, Kind] = {"TTree": "ttree", "TNtuple": "ttree", "TNtupleD": "ttree", "ROOT::RNTuple": "rntuple"}
#: The tree of these that a file has is read where none is named: the first of them, however many there are.
USUAL_TREES = ("Events", "CollectionTree", "nominal", "events", "EventData")
_OPEN_FILES = 16
_BLOCK_BYTES = 32 * 1024

_cache: OrderedDict[tuple[str | int, ...], Handle] = OrderedDict()
_cache_lock = threading.Lock()


@contextmanager
def damage(path: str, what: str) -> Iterator[None]:
    """Turn whatever decoding raises into CorruptFile naming `what`; failures of the file system into UnreadableFile.

    A damaged file makes uproot fail in any of a dozen ways (struct.error, IndexError, AssertionError,
    a decompressor's own class ...), so every exception but memory exhaustion counts as damage here.
    """
    try:
        yield
    except (VrecomputeError, MemoryError):
        raise
    except OSError as error:
        if error.errno in (None, errno.EINVAL, errno.EOVERFLOW):  # the latter for a position that cannot be
            raise CorruptFile(path, f"{what} cannot be decoded: {_first_line(error)}") from error
        raise unreadable(path, "cannot be read", error) from error
    except Exception as error:
        raise CorruptFile(path, f"{what} cannot be decoded: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """What a library says first; uproot's messages go on with whole listings of the file."""
    return str(error).strip().split("\n", 1)[0].rstrip(",") or type(error).__name__


class Handle:
    """An open ROOT file. Trees are looked up once and kept; every method may be called from any thread."""

    def __init__(self, raw: RawFile, file: Any) -> None:
        self.path = raw.path
        self.size = raw.size
        self.uuid = raw.uuid
        self.raw = raw
        self.lock = threading.RLock()
        self._file = file
        self._trees: dict[str, tuple[Kind, Any]] = {}
        self._kinds: dict[str, Kind] | None = None
        self._kept: dict[Any, Any] = {}
        # uproot's objects refer to each other, so without this threads and descriptors would wait for the collector
        weakref.finalize(self, file.close)

    @property
    def content(self) -> str:
        """See `sampled_content`. Raises UnreadableFile."""
        return self.raw.content

    def kinds(self) -> dict[str, Kind]:
        """Trees of the file by name (the highest cycle of each), with their kind."""
        with self.lock:
            if self._kinds is None:
                with damage(self.path, "the list of keys"):
                    names = self._file.classnames(recursive=True, cycle=False)
                self._kinds = {name: _KINDS[c] for name, c in names.items() if c in _KINDS}
            return self._kinds

    def resolve(self, tree: str | None) -> str:
        """The name of the tree meant: the one given, the only one, or the first of the usual names.

        Raises MissingTree, listing the trees that are there.
        """
        kinds = self.kinds()
        if tree is not None:
            if tree in kinds:
                return tree
            near = nearest(tree, kinds)
            hint = f" (did you mean {near!r}?)" if near else ""
            raise MissingTree(self.path, f"has no tree {tree!r}{hint}; {_listing(kinds)}")
        if len(kinds) == 1:
            return next(iter(kinds))
        for name in USUAL_TREES:
            if name in kinds:
                return name
        raise MissingTree(self.path, f"{_listing(kinds)}; name one of them" if kinds else "holds no tree")

    def tree(self, name: str) -> tuple[Kind, Any]:
        """Kind and uproot object of a tree that `resolve` returned."""
        with self.lock:
            if name not in self._trees:
                with damage(self.path, f"tree {name!r}"):
                    self._trees[name] = (self.kinds()[name], self._file[name])
            return self._trees[name]

    def keep(self, key: Any, make: Callable[[], T]) -> T:
        """What `make` returned the first time that `key` was asked for: metadata that are slow to derive."""
        with self.lock:
            if key not in self._kept:
                self._kept[key] = make()
            kept: T = self._kept[key]
            return kept


def _listing(kinds: dict[str, Kind]) -> str:
    return f"it holds {listed(kinds) or 'no tree'}"


def listed(names: Iterable[str]) -> str:
    """Names of trees in a sentence; of many, twelve."""
    known = sorted(names)
    return ", ".join(map(repr, known[:12])) + (f" and {len(known) - 12} more" if len(known) > 12 else "")


def open_file(path: str) -> Handle:
    """The open file, from the cache while nothing tells that it changed.

    Raises UnreadableFile where it is absent or may not be read, CorruptFile where it is no ROOT file
    or shorter than its own header says.
    """
    raw = open_raw(path)
    key = (path, *raw.source.stamp)
    with _cache_lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    handle = _open(raw)
    with _cache_lock:
        kept = _cache.setdefault(key, handle)
        _cache.move_to_end(key)
        while len(_cache) > _OPEN_FILES:
            _cache.popitem(last=False)  # closes with its last reference: another thread may be reading from it
    return kept


def forget(path: str) -> None:
    """Open the file anew next time, here and in `rawfile`."""
    with _cache_lock:
        for key in [key for key in _cache if key[0] == path]:
            del _cache[key]
    forget_raw(path)


def _open(raw: RawFile) -> Handle:
    import uproot

    options: dict[str, Any] = {"handler": _uproot_source(), "object_cache": None, "array_cache": None}
    bound_list_frames()
    with damage(raw.path, "the file header"):
        return Handle(raw, uproot.open({raw.path: None}, custom_classes=_own_classes(), **options))


@cache
def _uproot_source() -> type[Any]:
    """Bytes for uproot, wherever they are: never more than the file is long, whatever length a damaged file says.

    They are read, never memory-mapped: a file that shrinks meanwhile would kill the process by SIGBUS.
    """
    import uproot
    from uproot.source.chunk import Chunk

    class Bytes(uproot.source.chunk.Source):  # type: ignore[misc]  # uproot is untyped
        def __init__(self, path: str, **options: Any) -> None:
            super().__init__()
            self._file_path = path
            self._raw: RawFile | None = open_raw(path)
            self._num_bytes = self._raw.size
            self._ahead = Chunk.wrap(self, np.empty(0, dtype=np.uint8))

        def chunk(self, start: int, stop: int) -> Any:
            """Metadata are many small pieces beside each other: a block of them is read at once."""
            stop = max(start, min(stop, self._num_bytes))
            ahead = self._ahead
            if (start, stop) not in ahead:
                (ahead,) = self._read([(start, max(stop, min(start + _BLOCK_BYTES, self._num_bytes)))])
                self._ahead = ahead
            return Chunk.wrap(self, ahead.raw_data[start - ahead.start : stop - ahead.start], start)

        def chunks(self, ranges: Sequence[tuple[int, int]], notifications: Any) -> Any:
            made = self._read([(start, max(start, min(stop, self._num_bytes))) for start, stop in ranges])
            for chunk in made:
                notifications.put(chunk)
            return made

        def _read(self, ranges: Sequence[tuple[int, int]]) -> list[Any]:
            if self._raw is None or any(start < 0 for start, _ in ranges):
                raise ValueError("it was closed, or asked for a position before its beginning")
            data, made, at = self._raw.read(ranges), [], 0
            for start, stop in ranges:
                made.append(Chunk.wrap(self, data[at : at + stop - start], start))
                at += stop - start
            return made

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            self._raw = None  # uproot's objects live on until they are collected; the file is closed without them

        @property
        def closed(self) -> bool:
            return self._raw is None

    return Bytes


def _own_classes() -> dict[str, Any]:
    """uproot's models of ROOT classes, apart from those that any other file uses.

    uproot adds models that it derives from a file's own description of its classes to a registry of the
    process: there one damaged file would make every later one undecodable.
    """
    import uproot

    return {
        name: type(cls.__name__, (cls,), {"known_versions": dict(vars(cls)["known_versions"])})
        if isinstance(cls, type) and issubclass(cls, uproot.model.DispatchByVersion)
        else cls
        for name, cls in dict(uproot.classes).items()
    }
