"""`Store`: where runs live. Immutable objects under names.

The commit protocol asks four things of a store and no more: an object appears whole or not at all,
creating an existing name changes nothing and says so, what was put can be got by any client that knows its
name, and a listing may lag. There are no locks and nothing is appended to. `replace` is for hints alone: what
nothing depends on, such as the head of a run. `vrecompute.testing.StoreContract` is this as tests.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from vrecompute.digest import sha256_of
from vrecompute.errors import DamagedObject, StoreError
from vrecompute.stores.ownership import Owner

__all__ = ["ASIDE", "NO_SPACE", "Entry", "Store", "aside_name", "checked", "damage", "is_name", "object_path"]

#: Below this name lies what was found damaged, until a person looks at it or removes it.
ASIDE = "aside"
#: Error numbers of a file system that takes no more data.
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_LONGEST = 255  # bytes in a part of a path


class Entry(NamedTuple):
    """An object in a listing: its size in bytes, and when it was written or last refreshed, in seconds since 1970."""

    name: str
    size: int
    written: float


class Store(Protocol):
    """Immutable named objects. Names are `/`-separated and relative. Whatever fails is a StoreError or StoreFull.

    One instance is shared by the threads of a process, which call it at the same time: what belongs to a thread, as
    connections of some libraries do, is made for each. Names differ by case, and by each of their characters
    (up to 255 bytes between two `/`); what names have in common before a `/` is no name of an object.
    """

    @property
    def url(self) -> str:
        """What `open_store` makes this store of, in another process too."""

    def create(self, name: str, data: bytes) -> bool:
        """Make `data` durable under `name`; False, and nothing changed, where the name is taken."""

    def replace(self, name: str, data: bytes) -> None:
        """Make `data` what is under `name`, whole at each moment, whatever was there; it may be lost with the power."""

    def put_file(self, name: str, path: Path) -> bool:
        """As `create`, with the content of a file; best in pieces, since a skim table may be larger than memory."""

    def get(self, name: str, *, sha256: str | None = None, most_bytes: int | None = None) -> bytes:
        """The object's bytes; AbsentObject where there is none.

        DamagedObject where they are no file, cannot be read, disagree with `sha256`, or are more than `most_bytes`.
        """

    def get_owned(self, name: str, *, most_bytes: int | None = None) -> tuple[bytes, Owner]:
        """As `get`, and the user whose object these bytes are; one without a name where the store does not know.

        Both by one look: what is under a name may be replaced between two.
        """

    def get_file(self, name: str, path: Path, *, sha256: str | None = None) -> None:
        """As `get`, into a file, which is there whole or not at all."""

    def stat(self, name: str) -> Entry | None:
        """Size and time of one object; None where absent."""

    def digest(self, name: str) -> str | None:
        """The sha256 of the object's bytes, taken where the store is; None where absent or unreadable."""

    def set_aside(self, name: str) -> str:
        """Move whatever is under the name below `aside/`, and say where; absent is fine."""

    def exists(self, name: str) -> bool:
        """Whether the name is taken."""

    def names(self, prefix: str) -> Iterator[str]:
        """Names below `prefix`, sorted; one created a moment ago elsewhere may be missing. StoreError if unreadable."""

    def children(self, prefix: str) -> list[str]:
        """What follows `prefix/` in names below it, up to the next `/`; sorted. StoreError where it cannot be read."""

    def entries(self, prefix: str) -> Iterator[Entry]:
        """As `names`, with sizes and times."""

    def delete(self, name: str) -> None:
        """Remove an object that was found damaged, or a retired run; absent is fine."""

    def refresh(self, name: str) -> None:
        """Make an object that is used again count as written today: `retire` leaves it; absent is fine."""

    def retire(self, name: str, before: float) -> bool:
        """Remove an object that was last written or refreshed before that time; whether it was."""

    def local_path(self, name: str) -> Path | None:
        """The object's own file on this machine, where the store has one: with its bytes as `get` gives them.

        There is nothing at it where the object is absent.
        """


def is_name(name: str) -> bool:
    """Whether an object may have this name: one that would not leave the store's folder, nor hide in it."""
    parts = name.split("/")
    return "\0" not in name and all(
        p and not p.startswith(".") and len(p.encode(errors="replace")) <= _LONGEST for p in parts
    )


def object_path(root: str, name: str) -> str:
    """The path of an object below `root`; StoreError for what is not a name of one."""
    if not is_name(name):
        raise StoreError(f"{name!r} is not a name of a store object")
    return f"{root}/{name}"


def aside_name(name: str) -> str:
    """A new name for what is set aside from `name`."""
    folder, _, last = name.rpartition("/")
    return "/".join(filter(None, (ASIDE, folder, f"{last[:200]}.{secrets.token_hex(4)}")))


def checked(url: str, name: str, data: bytes, sha256: str | None) -> bytes:
    """`data` itself; DamagedObject where they disagree with `sha256`."""
    if sha256 is not None and (found := sha256_of(data)) != sha256:
        raise damage(url, name, sha256, found)
    return data


def damage(url: str, name: str, sha256: str, found: str) -> DamagedObject:
    """That an object has another sha256 than it should."""
    return DamagedObject(f"{url}: object {name!r} is damaged (its sha256 is {found[:16]}..., not {sha256[:16]}...)")
