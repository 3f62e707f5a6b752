"""`Store`: where runs live. Immutable objects under names; `DirStore` keeps them as files.

The commit protocol asks four things of a store and no more: an object appears whole or not at all,
creating an existing name changes nothing and says so, what was put can be got by whoever knows its
name, and a listing may lag. There are no locks and nothing is appended to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Protocol

from vrecompute.digest import sha256_of
from vrecompute.errors import StoreError, StoreFull

__all__ = ["DirStore", "Store", "object_path", "open_store"]

# What file systems say that have no hard links, or cannot make a directory durable by itself.
_NOT_SUPPORTED = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EINVAL}
)
# How long another writer's claim is respected, and how often it is looked at.
_CLAIM_S, _CLAIM_LOOK_S = 5.0, 0.05


class Store(Protocol):
    """Immutable named objects. Names are `/`-separated and relative; raises StoreError, StoreFull."""

    @property
    def url(self) -> str:
        """What `open_store` makes this store of, in another process too."""

    def create(self, name: str, data: bytes) -> bool:
        """Make `data` durable under `name`; False, and nothing changed, where the name is taken."""

    def get(self, name: str, *, sha256: str | None = None) -> bytes:
        """The object's bytes, checked against `sha256` if given; StoreError where absent or different."""

    def exists(self, name: str) -> bool:
        """Whether the name is taken."""

    def names(self, prefix: str) -> Iterator[str]:
        """Names below `prefix`, sorted; one created a moment ago elsewhere may be missing."""

    def delete(self, name: str) -> None:
        """Remove an object that was found damaged, or a retired run; absent is fine."""

    def local_path(self, name: str) -> Path | None:
        """A path to read the object from on this machine, where the store has one."""


class DirStore:
    """A Store in a directory: objects are files, made whole by temporary file, fsync and link.

    `link` is the conditional create: it fails where the name exists, on local disks and NFS alike. Where a file
    system has none (EOS, CIFS, FUSE), see `_claim`. The directory is made for its user alone, and what is in it has
    its permissions: `chmod 2770` on it shares a store with a group.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def __repr__(self) -> str:
        return f"DirStore({str(self.root)!r})"

    @property
    def url(self) -> str:
        """The absolute path of the directory."""
        return str(self.root.absolute())

    def create(self, name: str, data: bytes) -> bool:
        """Make `data` durable under `name`; False, and nothing changed, where the name is taken."""
        target = self._path(name)
        if _is_taken(target, data):
            return False
        temporary = target.with_name(f".{target.name[:80]}.{secrets.token_hex(8)}.tmp")
        try:
            self._make_folder(target.parent)
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                self._share(temporary, 0o666)
                os.fsync(file.fileno())
            if not _move(temporary, target, data):
                return False
            self._sync_directory(target.parent)
        except OSError as error:
            raise self._translate(error, name) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        return True

    def get(self, name: str, *, sha256: str | None = None) -> bytes:
        """The object's bytes, checked against `sha256` if given; StoreError where absent or different."""
        try:
            data = self._path(name).read_bytes()
        except FileNotFoundError as error:
            raise StoreError(f"{self.url}: there is no object {name!r}") from error
        except OSError as error:
            raise self._translate(error, name) from error
        if sha256 is not None and sha256_of(data) != sha256:
            raise StoreError(f"{self.url}: object {name!r} is damaged (its sha256 is not {sha256})")
        return data

    def exists(self, name: str) -> bool:
        """Whether the name is taken."""
        return self._path(name).exists()

    def names(self, prefix: str) -> Iterator[str]:
        """Names below `prefix`, sorted; unfinished temporaries are never among them."""
        base = self._path(prefix) if prefix else self.root
        found = []
        for directory, _, files in os.walk(base):
            relative = Path(directory).relative_to(self.root)
            found += [(relative / f).as_posix() for f in files if not f.startswith(".")]
        yield from sorted(found)

    def delete(self, name: str) -> None:
        """Remove an object; absent is fine."""
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            raise self._translate(error, name) from error

    def local_path(self, name: str) -> Path | None:
        """The object's own file."""
        return self._path(name)

    @cached_property
    def _mode(self) -> int:
        """The permissions of the directory itself, made now if need be."""
        if not self.root.is_dir():
            self.root.parent.mkdir(parents=True, exist_ok=True)
            self.root.mkdir(mode=0o700, exist_ok=True)
        return stat.S_IMODE(self.root.stat().st_mode)

    def _make_folder(self, folder: Path) -> None:
        _ = self._mode
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            self._share(folder, 0o7777)

    def _share(self, path: Path, bits: int) -> None:
        """Give what is new the directory's permissions, whatever the umask; some file systems know none."""
        if self._mode & 0o7077:
            with contextlib.suppress(OSError):
                path.chmod(self._mode & bits)

    def _path(self, name: str) -> Path:
        return Path(object_path(str(self.root), name))

    def _translate(self, error: OSError, name: str) -> StoreError:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return StoreFull(
                f"{self.url}: no space left while writing {name!r}; everything written before is durable: "
                "free some space and run again, finished work is reused"
            )
        return StoreError(f"{self.url}: {name!r}: {error.strerror or error}")

    @staticmethod
    def _sync_directory(directory: Path) -> None:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
        finally:
            os.close(descriptor)


def _is_taken(target: Path, data: bytes) -> bool:
    """Whether there is an object; an empty file where `data` is not empty is a claim, see `_claim`."""
    try:
        return target.stat().st_size > 0 or not data
    except OSError:
        return False


def _move(temporary: Path, target: Path, data: bytes) -> bool:
    """Give the file its name, unless the name is taken."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return not _is_taken(target, data) and _claim(temporary, target, data)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
        return _claim(temporary, target, data)
    return True


def _claim(temporary: Path, target: Path, data: bytes) -> bool:
    """As a link, where a file system has none: whoever makes an empty file of that name may rename onto it.

    For that moment a reader finds an empty object, which proves nothing and is not used. A writer that is killed
    then leaves its claim behind; another takes it over after a while.
    """
    deadline = time.monotonic() + _CLAIM_S
    while time.monotonic() < deadline:
        try:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            break
        except FileExistsError:
            if _is_taken(target, data):
                return False
            time.sleep(_CLAIM_LOOK_S)
    temporary.rename(target)
    return True


def object_path(root: str, name: str) -> str:
    """The path of an object below `root`; StoreError for a name that would leave it, or hide in it."""
    if any(not part or part.startswith(".") for part in name.split("/")):
        raise StoreError(f"{name!r} is not a name of a store object")
    return f"{root}/{name}"


def open_store(url: str | Path) -> Store:
    """The store that `url` names; StoreError for a scheme that no store serves."""
    text = str(url)
    scheme, separator, _ = text.partition("://")
    if separator and scheme != "file":
        raise StoreError(f"{text}: stores of the scheme {scheme!r} are not available; give a directory")
    return DirStore(text.removeprefix("file://"))
