"""`Handle`: one open ROOT file; a small per-process cache of them, and what their failures mean."""

from __future__ import annotations

import errno
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, TypeVar

from vrecompute.errors import CorruptFile, MissingTree, UnreadableFile, VrecomputeError
from vrecompute.nearest import nearest
from vrecompute.reader.identity import sampled_content, stamp_of
from vrecompute.reader.listframes import bound_list_frames
from vrecompute.reader.rawfile import forget_raw, is_local, open_raw
from vrecompute.reader.retry import unreadable

__all__ = ["Handle", "Kind", "damage", "forget", "open_file"]

Kind = Literal["ttree", "rntuple"]
T = TypeVar("T")

_KINDS: dict[str, Kind] = {"TTree": "ttree", "TNtuple": "ttree", "TNtupleD": "ttree", "ROOT::RNTuple": "rntuple"}
_USUAL_TREES = ("Events", "CollectionTree", "nominal", "events", "EventData")
_OPEN_FILES = 16

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

    def __init__(self, path: str, file: Any, size: int) -> None:
        self.path = path
        self.size = size
        self.uuid = str(file.file.uuid)
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
        if is_local(self.path):
            return open_raw(self.path).content
        return self.keep("content", self._sampled)

    def _sampled(self) -> str:
        source = self._file.file.source
        with damage(self.path, "the file"):
            return sampled_content(lambda start, stop: source.chunk(start, stop).raw_data.tobytes(), self.size)

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
        for name in _USUAL_TREES:
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
    if not kinds:
        return "it holds no tree"
    names = sorted(kinds)
    shown = ", ".join(repr(n) for n in names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return f"it holds {shown}"


def open_file(path: str) -> Handle:
    """The open file, from the cache while nothing tells that it changed.

    Raises UnreadableFile where it is absent or may not be read, CorruptFile where it is no ROOT file
    or shorter than its own header says.
    """
    remote = not is_local(path)
    try:
        stat = None if remote else os.stat(path)
    except OSError as error:
        raise unreadable(path, "cannot be opened", error) from error
    key: tuple[str | int, ...] = (path, *stamp_of(stat)) if stat else (path,)
    with _cache_lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    handle = _open(path, None if stat is None else stat.st_size)
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


def _open(path: str, size: int | None) -> Handle:
    import uproot

    # never memory-mapped: a file that shrinks while it is read would kill the process by SIGBUS
    options: dict[str, Any] = {} if size is None else {"handler": _local_source(), "num_workers": 1}
    options |= {"object_cache": None, "array_cache": None, "custom_classes": _own_classes()}
    if size == 0:
        raise CorruptFile(path, "is empty (0 bytes)")
    bound_list_frames()
    with damage(path, "the file header"):
        try:
            file = uproot.open({path: None}, **options)
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            raise UnreadableFile(path, f"cannot be opened: {error.strerror or error}") from error
        length = int(file.file.source.num_bytes) if size is None else size
        end = int(file.file.fEND)
    if end > length:
        raise CorruptFile(path, f"is truncated: its header says {end} bytes, it has {length}")
    return Handle(path, file, length)


@cache
def _local_source() -> type[Any]:
    """uproot's source of local files, but for memory: a damaged length never takes more than the file is long."""
    import uproot

    class LocalSource(uproot.MultithreadedFileSource):  # type: ignore[misc]  # uproot is untyped
        def chunk(self, start: int, stop: int) -> Any:
            return super().chunk(start, self._within(start, stop))

        def chunks(self, ranges: Sequence[tuple[int, int]], notifications: Any) -> Any:
            return super().chunks([(start, self._within(start, stop)) for start, stop in ranges], notifications)

        def _within(self, start: int, stop: int) -> int:
            return max(start, min(stop, int(self.num_bytes)))

    return LocalSource


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
