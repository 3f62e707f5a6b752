"""`AccessStore`: a DirStore on another machine, spoken to through an Access; same names, same promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vrecompute.digest import sha256_of
from vrecompute.errors import StoreError, StoreFull
from vrecompute.sites.access import Access
from vrecompute.stores.base import object_path

__all__ = ["AccessStore"]


class AccessStore:
    """Objects are files below `root`, an absolute path there. On that machine itself it is a DirStore of `root`."""

    def __init__(self, access: Access, root: str) -> None:
        self.access = access
        self.root = PurePosixPath(root)

    def __repr__(self) -> str:
        return f"AccessStore({self.access!r}, {str(self.root)!r})"

    @property
    def url(self) -> str:
        """The directory, as machines of the site know it."""
        return str(self.root)

    def create(self, name: str, data: bytes) -> bool:
        """Make `data` durable under `name`; False, and nothing changed, where the name is taken."""
        try:
            return self.access.create(self._path(name), data)
        except OSError as error:
            kind = StoreFull if "No space left" in str(error) or "quota" in str(error).lower() else StoreError
            raise kind(f"{self.access}: {name!r} cannot be written: {error}") from error

    def get(self, name: str, *, sha256: str | None = None) -> bytes:
        """The object's bytes, checked against `sha256` if given; StoreError where absent or different."""
        try:
            data = self.access.get(self._path(name))
        except OSError as error:
            raise StoreError(f"{self.access}: {name!r} cannot be read: {error}") from error
        if data is None:
            raise StoreError(f"{self.access}: {self.url} has no object {name!r}")
        if sha256 is not None and sha256_of(data) != sha256:
            raise StoreError(f"{self.access}: object {name!r} is damaged (its sha256 is not {sha256})")
        return data

    def exists(self, name: str) -> bool:
        """Whether the name is taken."""
        return self.access.run(["test", "-e", self._path(name)]).code == 0

    def names(self, prefix: str) -> Iterator[str]:
        """Names below `prefix`, sorted."""
        folder = self._path(prefix) if prefix else str(self.root)
        yield from (f"{prefix}/{name}" if prefix else name for name in self.access.names(folder))

    def delete(self, name: str) -> None:
        """Remove an object; absent is fine."""
        try:
            self.access.delete(self._path(name))
        except OSError as error:
            raise StoreError(f"{self.access}: {name!r} cannot be removed: {error}") from error

    def local_path(self, name: str) -> Path | None:
        """None: the files are elsewhere."""
        return None

    def _path(self, name: str) -> str:
        return object_path(str(self.root), name)
