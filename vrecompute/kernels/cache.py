"""Compiled kernels, and the one folder where their machine code is kept: the reader's, ours, and event loops'.

    $VRECOMPUTE_CACHE or the user's cache folder
    └── compiled-<salt>/            versions of Python, numpy, numba, llvmlite; the processor; all our kernels' sources
        ├── *.nbi, *.nbc            what numba keeps
        └── vrecompute_loop_*.py    generated event loops

numba's own stamp covers the file of a function and nothing that it calls, so the salt covers the rest: an edited
helper or another library is never served stale code. A folder that cannot be written (in an image, or on a shared
file system) is copied once to this node's temporary folder and used there. Files appear by renaming, so processes
may race. What numba keeps are pickles, that is, code: the user's folder is made with mode 0700, and one that others
than its owner could write is neither loaded nor copied, whatever it holds; nor is a single file that others could
write in place. Event loops are run from the text that was generated, not from what the folder has.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import platform
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import IO, Any, TypeVar

import llvmlite
import numba
import numpy as np
from llvmlite.binding import get_host_cpu_name
from numba import njit
from numba.core import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _Cache, _CacheLocator

from vrecompute.kernels import CACHE_VARIABLE
from vrecompute.stores.ownership import make_private, only_ours, others_write, private_folder, written_by_others

__all__ = ["cache_folder", "compiled"]

F = TypeVar("F", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[F], F]:
    """`numba.njit` of a function that runs without the interpreter lock, its machine code kept in `cache_folder`.

    Nothing is written, read or compiled before the first call.
    """

    def decorate(function: F) -> F:
        made: F = njit(nogil=True, **options)(function)
        made._cache = _Kept(function)  # type: ignore[attr-defined]  # where numba's own `cache=True` puts its own
        return made

    return decorate


def cache_folder() -> Path:
    """The folder of this process' machine code, there and writable."""
    node = os.environ.get("VRECOMPUTE_TMPDIR") or tempfile.gettempdir()  # a job's own $TMPDIR goes with the job
    return _usable(os.environ.get(CACHE_VARIABLE, ""), os.environ.get("XDG_CACHE_HOME", ""), node)


@cache
def _usable(given: str, user: str, temporary: str) -> Path:
    root = Path(os.path.expanduser(Path(given) if given else Path(user or "~/.cache") / "vrecompute"))
    wanted = root / f"compiled-{_salt()}"
    with contextlib.suppress(OSError):
        if given:  # one in an image is for every user there
            root.mkdir(0o755, parents=True, exist_ok=True)
            wanted.mkdir(0o755, exist_ok=True)
        make_private(wanted)
    # a given one may belong to an administrator, another is the user's
    trusted = not written_by_others(wanted) and (bool(given) or only_ours(wanted))
    usable = trusted and only_ours(wanted) and os.access(wanted, os.W_OK | os.X_OK)
    return wanted if usable else _copied(wanted, temporary, empty=not trusted)


def _copied(wanted: Path, temporary: str, *, empty: bool) -> Path:
    """A copy of a folder on this node, made by whichever process comes first; `empty` where it cannot be trusted."""
    private = private_folder(Path(temporary) / f"vrecompute-{os.getuid() if hasattr(os, 'getuid') else 'user'}")
    local = private / f"{wanted.name}{'-own' if empty else ''}"
    if not local.is_dir():
        fresh = private / f".{secrets.token_hex(8)}"
        if wanted.is_dir() and not empty:
            shutil.copytree(wanted, fresh, copy_function=shutil.copyfile, ignore=_of_others)
            fresh.chmod(0o700)  # not the original's, which forbids writing
        else:
            fresh.mkdir(mode=0o700)
        try:
            fresh.rename(local)
        except OSError:  # another process was first
            shutil.rmtree(fresh, ignore_errors=True)
    return local


def _of_others(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if others_write(Path(folder, name))]


@cache
def _salt() -> str:
    """What machine code depends on besides the source of its function."""
    versions = f"{platform.python_version()} {np.__version__} {numba.__version__} {llvmlite.__version__}"
    digest = hashlib.sha256(f"{versions} {config.CPU_NAME or get_host_cpu_name()}".encode())
    package = Path(__file__).parent.parent
    for file in sorted([*package.glob("kernels/**/*.py"), *package.glob("reader/*.py")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:24]


@cache
def _digest(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


class _Locator(_CacheLocator):  # type: ignore[misc]  # numba is untyped
    """Tells numba's cache where the code of a function is kept, and which source it was made of."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._py_file = file
        self._stamp = _digest(file)
        self._line = function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        """The one folder."""
        return str(cache_folder())

    def get_source_stamp(self) -> str:
        """The content of the function's file: its place and its time change when it is copied."""
        return self._stamp

    def get_disambiguator(self) -> str:
        """Tells functions of one name apart."""
        return f"{self._stamp[:8]}-{self._line}"

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> _Locator:
        """Of a function."""
        return cls(function, file)


class _Implementation(CompileResultCacheImpl):  # type: ignore[misc]  # numba is untyped
    _locator_classes = (_Locator,)


class _File(IndexDataCacheFile):  # type: ignore[misc]  # numba is untyped
    """A kernel's files, which no other user could write in place, whatever the umask they were made with.

    The folder is safe, so what is at a path stays there, and only its owner may change its permissions.
    """

    def _load_index(self) -> Any:
        return {} if others_write(Path(self._index_path)) else super()._load_index()

    def _load_data(self, name: str) -> Any:
        path = Path(self._data_path(name))
        if others_write(path):
            path.unlink()
            raise OSError(f"{path} can be written by other users")  # a miss: it is compiled anew
        return super()._load_data(name)

    @contextlib.contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[IO[bytes]]:
        temporary = f"{filepath}.tmp.{secrets.token_hex(8)}"
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
                yield file
            os.replace(temporary, filepath)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


class _Function(FunctionCache):  # type: ignore[misc]  # numba is untyped
    _impl_class = _Implementation

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        locator = self._impl.locator
        self._cache_file = _File(locator.get_cache_path(), self._impl.filename_base, locator.get_source_stamp())


class _Kept(_Cache):  # type: ignore[misc]  # numba is untyped
    """numba's cache of one function, made when the function is first called.

    A cache that is damaged or cannot be written costs time, never a result.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        inspect.getfile(function)  # a function without a file has no place in a cache

    @cached_property
    def _real(self) -> _Function:
        return _Function(self._function)

    @property
    def cache_path(self) -> str:
        """The folder."""
        return str(self._real.cache_path)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was compiled for a signature, or None."""
        try:
            return self._real.load_overload(sig, target_context)
        except Exception:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled."""
        with contextlib.suppress(Exception):
            try:
                self._real.save_overload(sig, data)
            except OSError:
                raise
            except Exception:  # its index is damaged
                self._real.flush()
                self._real.save_overload(sig, data)

    def enable(self) -> None:
        """Use it."""
        self._real.enable()

    def disable(self) -> None:
        """Do not use it."""
        self._real.disable()

    def flush(self) -> None:
        """Forget what is kept."""
        self._real.flush()
