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
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from vrecompute.digest import sha256_of
from vrecompute.errors import StoreError, StoreFull

__all__ = ["DirStore", "Store", "object_path", "open_store"]


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

    `link` is the conditional create: it fails where the name exists, on local disks and NFS alike.
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
        if target.exists():
            return False
        temporary = target.with_name(f".{target.name[:80]}.{secrets.token_hex(8)}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, target)
            except FileExistsError:
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
        finally:
            os.close(descriptor)


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
