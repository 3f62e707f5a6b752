"""`DirStore`: a store in a directory, whose objects are files."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from typing import IO

from vrecompute.errors import AbsentObject, DamagedObject, StoreError, StoreFull, TransientStore
from vrecompute.regular_file import open_below, opened_folder
from vrecompute.retries import PASSING
from vrecompute.stores.base import NO_SPACE, Entry, aside_name, checked, damage, object_path
from vrecompute.stores.claims import NOT_SUPPORTED, is_taken, move_new
from vrecompute.stores.ownership import Owner, make_private, open_to_all, owner_by
from vrecompute.stores.requests import requested

__all__ = ["DirStore"]

# Larger objects whose sha256 is known are hashed before they are read: whatever lies there takes no memory.
_LARGE = 64 << 20
# Bytes of a file that are in memory while it is copied.
_PIECE = 1 << 20

_OF_ONE = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP})  # what one object, and no store, ends with
# How a file says that a link leads to it, or that it is none.
_ELSEWHERE = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EINVAL})
# What is known of event files: where it is lost or damaged, the file is asked again. Thousands are written at a time.
_REMEMBERED = "sources/"
# What says whose code a run runs, by its owner: nobody else may write it, in a shared store either. All else there may
# be written by the group, so that no object of a user, whose content may be another's, passes for one of these.
_OWNED = re.compile(r"runs/[^/]+/manifest\.json")
# The name of an object that is being written. No writer takes a day for one.
_TEMPORARY, _SWEEP_S = re.compile(r"\..*\.[0-9a-f]{16}\.tmp"), 86_400.0
# An object that was written less than this ago needs no refreshing.
_FRESH_S = 86_400.0


class DirStore:
    """A Store in a directory: objects are files, made whole by temporary file, fsync and link.

    `link` is the conditional create: it fails where the name exists, on local disks and NFS alike. Where a file
    system has none (EOS, CIFS, FUSE), see `claims`. The directory is made for its user alone, and what is in it has
    its permissions: `chmod 2770` on it shares a store with a group. Manifests of runs are written by their user alone.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()  # an analysis may go to another folder

    def __repr__(self) -> str:
        return f"DirStore({str(self.root)!r})"

    @property
    def url(self) -> str:
        """The absolute path of the directory."""
        return str(self.root.absolute())

    @requested
    def create(self, name: str, data: bytes) -> bool:
        """Make `data` durable under `name`; False, and nothing changed, where the name is taken.

        What is only remembered of event files may be lost with the machine's power, and is then found anew.
        """
        return self._create(name, io.BytesIO(data), len(data))

    @requested
    def replace(self, name: str, data: bytes) -> None:
        """Rename a new file onto the old one."""
        with self._beside(name, io.BytesIO(data), durable=False) as temporary:
            temporary.replace(self._path(name))

    @requested
    def put_file(self, name: str, path: Path) -> bool:
        """As `create`, with the content of a file."""
        with path.open("rb") as file:
            return self._create(name, file, os.fstat(file.fileno()).st_size)

    def _create(self, name: str, data: IO[bytes], size: int) -> bool:
        target, durable = self._path(name), not name.startswith(_REMEMBERED)
        if is_taken(target, size):
            return False
        with self._beside(name, data, durable=durable) as temporary:
            if not move_new(temporary, target, size):
                return False
            if durable:
                self._sync_directory(target.parent)
        return True

    @contextlib.contextmanager
    def _beside(self, name: str, data: IO[bytes], *, durable: bool) -> Iterator[Path]:
        """A temporary file with that content, in the folder of the object; StoreError for what fails meanwhile."""
        target = self._path(name)
        temporary = target.with_name(f".{target.name[:80]}.{secrets.token_hex(8)}.tmp")
        try:
            self._make_folder(target.parent)
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                shutil.copyfileobj(data, file, _PIECE)
                file.flush()
                self._share(file.fileno(), 0o644 if _OWNED.fullmatch(name) else 0o666)
                if durable:
                    os.fsync(file.fileno())
            yield temporary
        except OSError as error:
            # whatever keeps the folder itself from being made
            refused = error.errno in {errno.EACCES, errno.EPERM, errno.EROFS} or not os.path.isdir(self.root)
            if refused and error.errno not in NO_SPACE:
                raise StoreError(
                    f"the store {self.url} cannot be written ({name!r}: {error.strerror}); name another with "
                    "--store, $VRECOMPUTE_STORE or Client(store=...)"
                ) from error
            raise self._translate(error, name) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    @requested
    def get(self, name: str, *, sha256: str | None = None, most_bytes: int | None = None) -> bytes:
        """The object's bytes; DamagedObject where they are not what was asked for."""
        return self._read(name, self._open, sha256, most_bytes)

    @requested
    def get_owned(self, name: str, *, most_bytes: int | None = None) -> tuple[bytes, Owner]:
        """As `get`, and the owner of the very file that was read; what a link leads to has none."""
        owner = Owner()

        def opened(name: str) -> BufferedReader:
            nonlocal owner
            try:
                file = open_below(self.root, object_path("", name)[1:])
            except OSError as error:
                if error.errno not in _ELSEWHERE:
                    raise
                return self._open(name)
            owner = owner_by(os.fstat(file.fileno()))
            return file

        return self._read(name, opened, None, most_bytes), owner

    def _read(
        self, name: str, opened: Callable[[str], BufferedReader], sha256: str | None, most_bytes: int | None
    ) -> bytes:
        try:
            with opened(name) as file:
                size = os.fstat(file.fileno()).st_size
                if most_bytes is not None and size > most_bytes:
                    raise DamagedObject(
                        f"{self.url}: {name!r} has {size} bytes, more than vrecompute writes under such a name"
                    )
                if sha256 is not None and size > _LARGE:
                    if (found := hashlib.file_digest(file, "sha256").hexdigest()) != sha256:
                        raise damage(self.url, name, sha256, found)
                    file.seek(0)
                data = file.read()
        except FileNotFoundError as error:
            if self._path(name).is_symlink():
                raise DamagedObject(f"{self.url}: {name!r} is damaged: it is a link to nothing") from error
            raise AbsentObject(f"{self.url}: there is no object {name!r}") from error
        except OSError as error:
            raise self._translate(error, name) from error
        return checked(self.url, name, data, sha256)

    @requested
    def get_file(self, name: str, path: Path, *, sha256: str | None = None) -> None:
        """Copy the file, piece by piece."""
        part = path.with_name(f".{path.name[:80]}.{secrets.token_hex(8)}.part")
        try:
            with self._open(name) as source, part.open("wb") as file:
                shutil.copyfileobj(source, file, _PIECE)
            if sha256 is not None and (found := _sha256(part)) != sha256:
                raise damage(self.url, name, sha256, found)
            part.replace(path)
        except FileNotFoundError as error:
            raise AbsentObject(f"{self.url}: there is no object {name!r}") from error
        except OSError as error:
            raise self._translate(error, name) from error
        finally:
            part.unlink(missing_ok=True)

    @requested
    def stat(self, name: str) -> Entry | None:
        """What the file system says of the file."""
        try:
            status = self._path(name).lstat()
            if stat.S_ISDIR(status.st_mode) and os.listdir(self._path(name)):
                return None  # what lies in it has names; an empty folder in the place of an object is damage
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._translate(error, name) from error
        return Entry(name, status.st_size, status.st_mtime)

    @requested
    def digest(self, name: str) -> str | None:
        """The sha256 of the object's bytes, read piece by piece; None where absent or unreadable."""
        try:
            with self._open(name) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            if error.errno in PASSING:
                raise self._translate(error, name) from error
        except DamagedObject:
            pass
        return None

    @requested
    def set_aside(self, name: str) -> str:
        """Rename the file, or whatever else it is."""
        aside = aside_name(name)
        try:
            self._make_folder(self._path(aside).parent)
            with contextlib.suppress(FileNotFoundError):
                self._path(name).rename(self._path(aside))
        except OSError as error:
            raise self._translate(error, name) from error
        return aside

    def exists(self, name: str) -> bool:
        """Whether the name is taken."""
        return self.stat(name) is not None

    @requested
    def names(self, prefix: str) -> Iterator[str]:
        """Names below `prefix`, sorted, through no link; unfinished temporaries are not among them, and go in a day."""
        base = self._path(prefix) if prefix else self.root

        def unreadable(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                raise self._translate(error, prefix)

        found = []
        for directory, _, files in [] if prefix and os.path.islink(base) else os.walk(base, onerror=unreadable):
            relative = Path(directory).relative_to(self.root)
            found += [(relative / f).as_posix() for f in files if not f.startswith(".")]
            _sweep(Path(directory, f) for f in files if _TEMPORARY.fullmatch(f))
        yield from sorted(found)

    @requested
    def children(self, prefix: str) -> list[str]:
        """What lies in the folder."""
        try:
            return sorted(n for n in os.listdir(self._path(prefix)) if not n.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._translate(error, prefix) from error

    @requested
    def entries(self, prefix: str) -> Iterator[Entry]:
        """As `names`, with what the file system says of each."""
        for name in self.names(prefix):
            with contextlib.suppress(FileNotFoundError):
                status = self._path(name).lstat()
                yield Entry(name, status.st_size, status.st_mtime)

    @requested
    def delete(self, name: str) -> None:
        """Remove an object; absent is fine."""
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            raise self._translate(error, name) from error

    def refresh(self, name: str) -> None:
        """Set the file's time of modification to now; a file system that refuses leaves it to what runs need."""
        path = self._path(name)
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _FRESH_S:
                os.utime(path)

    @requested
    def retire(self, name: str, before: float) -> bool:
        """Remove an old file; folders that are empty then stay."""
        path = self._path(name)
        try:
            old = path.lstat().st_mtime < before
            if old:
                path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._translate(error, name) from error
        return old

    def local_path(self, name: str) -> Path | None:
        """The object's own file."""
        return self._path(name)

    def exposed(self) -> str:
        """What to do where every user of the machine can write in it; empty where they cannot."""
        if (place := open_to_all(self.root)) is None:
            return ""
        below = "-R " if place == self.root.resolve() else ""
        return (
            f"every user of this machine can write in {place}, and so change what the store {self.url} holds; "
            f"`chmod {below}o-w {place}` keeps it from them"
        )

    @cached_property
    def _mode(self) -> int:
        """The permissions of the directory itself, made now if need be."""
        if not os.path.isdir(self.root):  # is_dir() raises where the name is too long
            make_private(self.root)
        return stat.S_IMODE(self.root.stat().st_mode)

    def _make_folder(self, folder: Path) -> None:
        _ = self._mode
        if os.path.isdir(folder):
            return
        self._make_folder(folder.parent)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            with contextlib.suppress(OSError), opened_folder(folder) as descriptor:
                self._share(descriptor, 0o7777)

    def _share(self, descriptor: int, bits: int) -> None:
        """Give what is new the directory's permissions, whatever the umask; some file systems know none.

        What is open: in a shared folder others may have put something else under its name by now.
        """
        if self._mode & 0o7077:
            with contextlib.suppress(OSError):
                os.fchmod(descriptor, self._mode & bits)

    def _path(self, name: str) -> Path:
        return Path(object_path(str(self.root), name))

    def _open(self, name: str) -> BufferedReader:
        """The file, which must be one: a FIFO may have no writer, and a device never ends."""
        descriptor = os.open(self._path(name), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        file = os.fdopen(descriptor, "rb") if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
        if file is None:
            os.close(descriptor)
            raise DamagedObject(f"{self.url}: {name!r} is damaged: what is there is not a regular file")
        return file

    def _translate(self, error: OSError, name: str) -> StoreError:
        if error.errno in NO_SPACE:
            return StoreFull(
                f"{self.url}: no space left while writing {name!r}; everything written before is durable: "
                "free some space and run again, finished work is reused"
            )
        kind: type[StoreError] = DamagedObject if error.errno in _OF_ONE else StoreError
        kind = TransientStore if error.errno in PASSING else kind
        return kind(f"{self.url}: {name!r}: {error.strerror or error}")

    @staticmethod
    def _sync_directory(directory: Path) -> None:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in NOT_SUPPORTED:
                raise
        finally:
            os.close(descriptor)


def _sweep(temporaries: Iterable[Path]) -> None:
    """Remove what writers that were killed left behind."""
    for path in temporaries:
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _SWEEP_S:
                path.unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
