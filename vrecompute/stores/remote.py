"""`AccessStore`: a DirStore on another machine, spoken to through an Access; same names, same promises."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vrecompute.errors import AbsentObject, DamagedObject, StoreError, StoreFull
from vrecompute.sites.access import Access, Completed
from vrecompute.stores.base import NO_SPACE, Entry, aside_name, checked, object_path
from vrecompute.stores.ownership import Owner

__all__ = ["AccessStore"]

# $1 is the path, $2 where to. What is no file is not read: a FIFO may have no writer.
_SHA256 = '[ -f "$1" ] && sha256sum < "$1"'
_ASIDE = '[ ! -e "$1" ] && [ ! -L "$1" ] && exit; mkdir -p -- "${2%/*}" && mv -fT -- "$1" "$2"'
# A folder with anything in it is what names have in common; an empty one in the place of an object is damage.
_FOLDER = '[ -d "$1" ] && [ ! -L "$1" ] && [ -n "$(ls -A -- "$1")" ]'
_EXISTS = f'if {_FOLDER}; then exit 1; fi; [ -e "$1" ] || [ -L "$1" ]'
_CHILDREN = '[ -e "$1" ] || exit 0; cd -- "$1" && ls'
# $1 is the store's folder, $2 the name. Of one open file: its size, owner and mode, this user, and its bytes. Where a
# link led to it, it is nobody's: what /proc says is the path that was opened in the end.
_OWNED = (
    'root=$(cd -P -- "$1" 2> /dev/null && pwd -P) || exit 3; name="${root%/}/$2"; '
    '[ -e "$name" ] || [ -L "$name" ] || exit 3; [ -f "$name" ] || { echo "is no file" >&2; exit 1; }; '
    'exec 3< "$name" || exit 1; seen=$(readlink /proc/self/fd/3); '
    'printf "%s %s %s\\n" "$(stat -c "%s %u %f" - <&3)" "$(id -u)" "$([ "$seen" = "$name" ] && stat -c %U - <&3)"; '
    '[ -n "$3" ] && [ "$(stat -c %s - <&3)" -gt "$3" ] || cat <&3'
)
_OWNED_ABSENT = 3
_ENTRIES = (
    '[ -e "$1" ] || exit 0; cd -- "$1" && find . -name ".*.tmp" -type f -mtime +0 -delete && '
    'find . ! -type d ! -name ".*" -printf "%s %T@ %P\\n"'
)
# A day is long for one that is used again; $2 is a time in seconds since 1970.
_REFRESH = 'find "$1" -maxdepth 0 -mtime +0 -exec touch -c -- {} + 2> /dev/null; true'
_RETIRE = '[ -e "$1" ] || [ -L "$1" ] || exit 0; find "$1" -maxdepth 0 ! -newermt "@$2" -delete -print'
_STAT = f'if {_FOLDER}; then exit 0; fi; [ -e "$1" ] || [ -L "$1" ] || exit 0; stat -c "%s %Y" -- "$1"'
_SIZE = '[ ! -f "$1" ] || stat -L -c %s -- "$1"'


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
            raise self._unwritten(name, error) from error

    def replace(self, name: str, data: bytes) -> None:
        """Rename a new file onto the old one."""
        try:
            self.access.put(self._path(name), data)
        except OSError as error:
            raise self._unwritten(name, error) from error

    def put_file(self, name: str, path: Path) -> bool:
        """As `create`; the file is in memory for that."""
        return self.create(name, path.read_bytes())

    def get_file(self, name: str, path: Path, *, sha256: str | None = None) -> None:
        """As `get`; the object is in memory for that."""
        part = path.with_name(f".{path.name[:80]}.part")
        part.write_bytes(self.get(name, sha256=sha256))
        part.replace(path)

    def stat(self, name: str) -> Entry | None:
        """What the file system there says of the file."""
        said = self._sh(_STAT, name, self._path(name)).text.split()
        return Entry(name, int(said[0]), float(said[1])) if said else None

    def get(self, name: str, *, sha256: str | None = None, most_bytes: int | None = None) -> bytes:
        """The object's bytes; DamagedObject where they are not what was asked for."""
        if most_bytes is not None and int(self._sh(_SIZE, name, self._path(name)).text or 0) > most_bytes:
            raise DamagedObject(f"{self.access}: {name!r} is larger than what vrecompute writes under such a name")
        try:
            data = self.access.get(self._path(name))
        except OSError as error:
            raise DamagedObject(f"{self.access}: {name!r} cannot be read: {error}") from error
        if data is None:
            raise AbsentObject(f"{self.access}: {self.url} has no object {name!r}")
        return checked(f"{self.access}: {self.url}", name, data, sha256)

    def get_owned(self, name: str, *, most_bytes: int | None = None) -> tuple[bytes, Owner]:
        """As `get`, and the owner of the very file that was read; that is this user whom the site knows as such."""
        self._path(name)
        done = self._run(_OWNED, name, str(self.root), name, "" if most_bytes is None else str(most_bytes))
        if done.code == _OWNED_ABSENT:
            raise AbsentObject(f"{self.access}: {self.url} has no object {name!r}")
        if done.code != 0:
            raise DamagedObject(f"{self.access}: {name!r} cannot be read: {done.complaint or f'exit code {done.code}'}")
        said, _, data = done.stdout.partition(b"\n")
        match said.decode(errors="replace").split():
            case [size, uid, mode, me, *user] if user:
                if most_bytes is not None and int(size) > most_bytes:
                    raise DamagedObject(
                        f"{self.access}: {name!r} is larger than what vrecompute writes under such a name"
                    )
                others = bool(int(mode, 16) & (stat.S_IWGRP | stat.S_IWOTH))
                return data, Owner(uid if user == ["UNKNOWN"] else " ".join(user), uid == me, others)
        return self.get(name, most_bytes=most_bytes), Owner()

    def digest(self, name: str) -> str | None:
        """The sha256 of the object's bytes, taken there; None where absent or unreadable."""
        done = self._run(_SHA256, name, self._path(name))
        return done.text.split()[0] if done.code == 0 else None

    def set_aside(self, name: str) -> str:
        """Rename the file, or whatever else it is."""
        aside = aside_name(name)
        self._sh(_ASIDE, name, self._path(name), self._path(aside))
        return aside

    def exists(self, name: str) -> bool:
        """Whether the name is taken."""
        return self._run(_EXISTS, name, self._path(name)).code == 0

    def names(self, prefix: str) -> Iterator[str]:
        """Names below `prefix`, sorted."""
        folder = self._path(prefix) if prefix else str(self.root)
        try:
            found = self.access.names(folder)
        except OSError as error:
            raise StoreError(f"{self.access}: {prefix!r} cannot be listed: {error}") from error
        yield from (f"{prefix}/{name}" if prefix else name for name in found)

    def children(self, prefix: str) -> list[str]:
        """What lies in the folder."""
        return sorted(self._sh(_CHILDREN, prefix, self._path(prefix)).text.splitlines())

    def entries(self, prefix: str) -> Iterator[Entry]:
        """As `names`, with what the file system there says of each; temporaries of a day ago go."""
        folder = self._path(prefix) if prefix else str(self.root)
        found = (line.split(" ", 2) for line in self._sh(_ENTRIES, prefix, folder).text.splitlines())
        named = sorted((f"{prefix}/{name}" if prefix else name, int(size), float(at)) for size, at, name in found)
        yield from (Entry(*entry) for entry in named)

    def delete(self, name: str) -> None:
        """Remove an object; absent is fine."""
        try:
            self.access.delete(self._path(name))
        except OSError as error:
            raise StoreError(f"{self.access}: {name!r} cannot be removed: {error}") from error

    def refresh(self, name: str) -> None:
        """Set the file's time of modification to now."""
        self._sh(_REFRESH, name, self._path(name))

    def retire(self, name: str, before: float) -> bool:
        """Remove an old file."""
        return bool(self._sh(_RETIRE, name, self._path(name), f"{before:.3f}").text)

    def local_path(self, name: str) -> Path | None:
        """None: the files are elsewhere."""
        return None

    def _unwritten(self, name: str, error: OSError) -> StoreError:
        kind = StoreFull if error.errno in NO_SPACE else StoreError
        return kind(f"{self.access}: {name!r} cannot be written: {error}")

    def _run(self, script: str, name: str, *paths: str) -> Completed:
        try:
            return self.access.run(["sh", "-c", script, "sh", *paths], timeout_s=600)
        except OSError as error:
            raise StoreError(f"{self.access}: {name!r}: no command can be run there: {error}") from error

    def _sh(self, script: str, name: str, *paths: str) -> Completed:
        done = self._run(script, name, *paths)
        if done.code != 0:
            raise StoreError(f"{self.access}: {name!r}: {done.complaint or f'exit code {done.code}'}")
        return done

    def _path(self, name: str) -> str:
        return object_path(str(self.root), name)
