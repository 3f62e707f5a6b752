"""Who owns what lies in a folder, and folders that no other user can write: what is loaded may be code."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "Owner",
    "make_private",
    "only_ours",
    "open_to_all",
    "others_write",
    "owner_by",
    "private_folder",
    "written_by_others",
]

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_ENTER = stat.S_IXGRP | stat.S_IXOTH


class Owner(NamedTuple):
    """The user that an object or file belongs to, without a name where that is not known.

    `others_write`: its permissions let other users change it, so that the owner does not tell whose bytes these are.
    """

    name: str = ""
    is_me: bool = False
    others_write: bool = False

    def vouches(self, users: Collection[str] = ()) -> bool:
        """Whether this user, or one of `users` by name, and no other user, can have written it."""
        return bool(self.name) and not self.others_write and (self.is_me or self.name in users)


def owner_by(status: os.stat_result) -> Owner:
    """The owner of the open file whose status that is.

    An access control list that lets others write shows in the bits of the group, which are then its mask.
    """
    try:
        import pwd

        name = pwd.getpwuid(status.st_uid).pw_name
    except (ImportError, KeyError):
        name = str(status.st_uid)
    if not hasattr(os, "getuid"):  # where modes mean nothing
        return Owner(name, is_me=True)
    return Owner(name, status.st_uid == os.getuid(), bool(status.st_mode & _OTHERS))


def only_ours(folder: Path) -> bool:
    """Whether a folder is this user's, is no link, and neither its group nor other users can write in it."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    ours = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return stat.S_ISDIR(status.st_mode) and ours and not status.st_mode & _OTHERS


def others_write(path: Path) -> bool:
    """Whether users besides its owner can write a file in place, or what a link there leads to; not where absent."""
    try:
        return bool(path.stat().st_mode & _OTHERS) and hasattr(os, "getuid")
    except OSError:
        return False


def written_by_others(folder: Path) -> bool:
    """Whether users besides its owner could put something else where `folder` is: in it, or in place of it.

    What lies below a folder that only its owner can enter is safe. A sticky folder, as /tmp is, lets no user replace
    what another owns.
    """
    try:
        real = folder.resolve(strict=True)
        owner = real.stat().st_uid
        for place in [*reversed(real.parents), real]:
            status = place.stat()
            if status.st_uid not in {0, owner}:
                return True
            if status.st_mode & _OTHERS and (place == real or not status.st_mode & stat.S_ISVTX):
                return True
            if not status.st_mode & _ENTER:
                return False
    except OSError:
        return True
    return False


def open_to_all(folder: Path) -> Path | None:
    """The place where every user could put something else: `folder` or one above it; None where there is none."""
    with contextlib.suppress(OSError):
        real = folder.resolve(strict=True)
        for place in [*reversed(real.parents), real]:
            mode = place.stat().st_mode
            if not mode & stat.S_IXOTH:
                break
            if mode & stat.S_IWOTH and (place == real or not mode & stat.S_ISVTX):
                return place
    return None


def make_private(folder: Path) -> None:
    """Make `folder` and what is missing above it, for this user alone whatever the umask. Raises OSError."""
    for place in reversed([place for place in (folder, *folder.parents) if not os.path.exists(place)]):
        place.mkdir(mode=0o700, exist_ok=True)


def private_folder(folder: Path) -> Path:
    """`folder`, made if need be, if it is ours alone; else one of this process beside it, removed when it ends."""
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700)
    if only_ours(folder):
        return folder
    alone = tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent)
    atexit.register(shutil.rmtree, alone, ignore_errors=True)
    return Path(alone)
