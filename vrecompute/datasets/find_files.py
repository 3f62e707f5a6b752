"""Which files an address names, on this machine or behind an `Access`: the same rule and the same answer for both.

    data/a.root        that file, whether it is there or not: preflight reports what is not
    data               every file *.root below it, at any depth
    data/*/x?.root     a pattern of files: `*`, `?` and `[...]` within one name, `**` for any number of folders
    scheme://a/b.root  that file, which is not looked for
    scheme://a/b/      every file *.root below it, where the scheme's servers list folders
    scheme://a/*.root  a pattern, in which `?` begins a query

Symbolic links are followed, to files and to folders; a folder is not entered again below itself. Names that begin
with a dot match only where the pattern has the dot. What cannot be listed is an error; a folder that a pattern
matches is not left out: preflight says that it is no file.
"""

from __future__ import annotations

import errno
import fnmatch
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import TypeVar
from urllib.parse import quote, unquote

from vrecompute.addresses import path_of
from vrecompute.errors import BadInput, DatasetError
from vrecompute.plugins import serving
from vrecompute.sites.access import Access

__all__ = ["DESCRIPTION", "Afar", "Disk", "Entry", "Here", "There", "all_of", "find_files", "is_pattern", "is_url"]

_T = TypeVar("_T")

#: The name under which a folder describes its files itself.
DESCRIPTION = "dataset.yaml"
_FOLDER = "*.root"


def is_url(address: str) -> bool:
    """Whether an address has a scheme, and is no path."""
    return "://" in address


def is_pattern(address: str) -> bool:
    """Whether a path has one of the letters of a pattern."""
    return bool(set(address) & set("*?["))


@dataclass(frozen=True)
class Entry:
    """A path; `folder` tells one folder from another however it is named, and is empty for anything else."""

    path: str
    folder: str = ""
    is_there: bool = True
    above: Entry | None = None

    @property
    def name(self) -> str:
        """Its last step."""
        return self.path.rpartition("/")[2]

    @property
    def is_below_itself(self) -> bool:
        """Whether it is a folder that has been entered on the way to it."""
        place = self.above
        while place is not None and place.folder != self.folder:
            place = place.above
        return place is not None


class Disk(ABC):
    """A file system that can be looked at; every question is about many paths, since one may take a second."""

    @abstractmethod
    def look(self, paths: Sequence[str]) -> list[Entry]:
        """What is at these paths, absolute, in their order."""

    @abstractmethod
    def entries(self, folders: Sequence[Entry]) -> list[Entry]:
        """What the folders hold; raises DatasetError where one cannot be listed."""


class Here(Disk):
    """This machine."""

    def look(self, paths: Sequence[str]) -> list[Entry]:
        """What is at these paths."""
        here, found = os.getcwd(), []
        for path in (_without_steps_up(str(PurePosixPath(here, path))) for path in paths):
            folder = _identity(path) if os.path.isdir(path) else ""
            found.append(Entry(path, folder, is_there=bool(folder) or os.path.lexists(path)))
        return found

    def entries(self, folders: Sequence[Entry]) -> list[Entry]:
        """What the folders hold."""
        found = []
        for folder in folders:
            try:
                with os.scandir(folder.path) as listing:
                    for entry in listing:
                        found.append(Entry(entry.path, _identity(entry.path) if _is_dir(entry) else "", above=folder))
            except OSError as error:
                raise DatasetError(f"folder {folder.path} cannot be listed: {error.strerror or error}") from error
        return found


def _without_steps_up(path: str) -> str:
    """The same path without `..`, so that one file has one address; as it is where that leads behind a link."""
    if ".." not in path.split("/"):
        return path
    short = os.path.normpath(path)
    try:
        return short if os.path.samefile(short, path) else path
    except OSError:
        return path


def _identity(folder: str) -> str:
    status = os.stat(folder)
    return f"{status.st_dev}:{status.st_ino}"


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        # a link to itself leads nowhere; what lies behind any other must not be left out
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            return False
        raise DatasetError(f"{entry.path} cannot be followed: {error.strerror or error}") from error


# Paths come by stdin, each ended by a NUL, and may be too many for one command.
_EACH = ["xargs", "-0", "-r", "sh", "-c"]
_LOOK = r"""
for path do
  case $path in /*) ;; *) path=$PWD/$path ;; esac
  case $path/ in
    */../*) short=$(realpath -s -- "$path" 2> /dev/null) && [ "$short" -ef "$path" ] && path=$short ;;
  esac
  if [ -d "$path" ]; then kind=$(stat -L -c %d:%i -- "$path") || exit 1
  elif [ -e "$path" ] || [ -L "$path" ]; then kind=f
  else kind=-
  fi
  printf '%s %s\0' "$kind" "$path"
done
"""
_ENTRIES = r"""find -H "$@" -mindepth 1 -maxdepth 1 -printf '%y%Y %D:%i %p\0'"""

_STAMPS = r"""stat -L --printf '%s %i %.9Y %.9Z %n\0' -- "$@" 2> /dev/null; true"""


@dataclass(frozen=True)
class There(Disk):
    """The machine behind an Access, where relative paths begin in the home folder."""

    access: Access

    def look(self, paths: Sequence[str]) -> list[Entry]:
        """What is at these paths."""
        found = []
        for kind, path in (answer.split(" ", 1) for answer in self._ask(_LOOK, paths)):
            found.append(Entry(str(PurePosixPath(path)), kind if ":" in kind else "", is_there=kind != "-"))
        return found

    def entries(self, folders: Sequence[Entry]) -> list[Entry]:
        """What the folders hold."""
        by_path = {folder.path: folder for folder in folders}
        found, links = [], []
        for kind, identity, path in (a.split(" ", 2) for a in self._ask(_ENTRIES, list(by_path))):
            above = by_path[path.rpartition("/")[0] or "/"]
            if kind == "l?":
                raise DatasetError(f"{self.access}: {path} cannot be followed: check its permissions")
            if kind == "ld":
                links.append((path, above))
            else:
                found.append(Entry(path, identity if kind == "dd" else "", above=above))
        for entry, (_, above) in zip(self.look([path for path, _ in links]), links, strict=True):
            found.append(Entry(entry.path, entry.folder, above=above))
        return found

    def stamps(self, paths: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Of those that are there: size, inode, times of modification and of change in ns."""
        found = {}
        for size, inode, modified, changed, path in (said.split(" ", 4) for said in self._ask(_STAMPS, paths)):
            times = (int(time.replace(".", "")) for time in (modified, changed))
            found[path] = (int(size), int(inode), *times)
        return found

    def _ask(self, script: str, paths: Sequence[str]) -> list[str]:
        if not paths:
            return []
        asked = b"".join(os.fsencode(path) + b"\0" for path in paths)
        done = self.access.run([*_EACH, script, "sh"], stdin=asked, timeout_s=600)
        if done.code != 0:
            raise DatasetError(f"{self.access}: files cannot be listed: {done.complaint or f'exit code {done.code}'}")
        return [os.fsdecode(answer) for answer in done.stdout.split(b"\0")[:-1]]


class Afar(Disk):
    """The folders of a server, by paths of which `address` makes addresses."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        before, mark, self._query = rest.partition("?")
        place, _, path = before.partition("/")
        # root://host//path has two slashes, of which one is not the path's
        self.path = "/" + path.lstrip("/")
        self._base = f"{scheme}://{place}" + "/" * (len(path) - len(path.lstrip("/")))
        self._query, self._quoted = mark + self._query, scheme in ("http", "https")
        self.path = unquote(self.path) if self._quoted else self.path
        self._serving = serving(scheme)
        self._listed: dict[str, list[Entry]] = {}

    def address(self, path: str) -> str:
        """The address of a path. Raises DatasetError where addresses of its scheme cannot say it."""
        if "?" in path and not self._quoted:
            raise DatasetError(
                f"{self._base}{path} cannot be addressed, for its options would begin at the '?'; rename it there, or "
                "name the other files and folders"
            )
        return self._base + (quote(path) if self._quoted else path) + self._query

    def look(self, paths: Sequence[str]) -> list[Entry]:
        """What is at these paths: a folder is what can be listed."""
        return [self._look(str(PurePosixPath(path))) for path in paths]

    def _look(self, path: str) -> Entry:
        try:
            self._list(path)
        except DatasetError:
            if path == "/":
                raise
            beside = self._list(path.rpartition("/")[0] or "/")
            return next((entry for entry in beside if entry.path == path), Entry(path, is_there=False))
        return Entry(path, path)

    def entries(self, folders: Sequence[Entry]) -> list[Entry]:
        """What the folders hold."""
        return [replace(entry, above=folder) for folder in folders for entry in self._list(folder.path)]

    def _list(self, folder: str) -> list[Entry]:
        if folder not in self._listed:
            address = self.address(folder.rstrip("/") + "/")
            if (listing := getattr(self._serving, "entries", None)) is None:
                raise DatasetError(f"{address}: folders of its scheme cannot be listed; name the files")
            try:
                names = [(name, inside) for name, inside in listing(address) if name not in ("", ".", "..")]
            except BadInput as error:
                raise DatasetError(f"folder {error}") from error
            if odd := next((name for name, _ in names if "/" in name or not name.isprintable()), None):
                raise DatasetError(f"folder {address} lists {odd!r}, which is not the name of a file")
            paths = [(f"{folder.rstrip('/')}/{name}", inside) for name, inside in names]
            self._listed[folder] = [Entry(path, path if inside else "") for path, inside in paths]
        return self._listed[folder]


def all_of(calls: Iterable[Callable[[], _T]]) -> list[_T]:
    """What each call gives. Raises one DatasetError, with a line of each call that raises one."""
    given, wrong = [], []
    for call in calls:
        try:
            given.append(call())
        except DatasetError as error:
            wrong.append(error)
    if wrong:
        raise wrong[0] if len(wrong) == 1 else DatasetError("\n".join(map(str, wrong))) from wrong[0]
    return given


def find_files(disk: Disk, addresses: Sequence[str]) -> list[tuple[list[str], str]]:
    """For each address its files, absolute and sorted, and the description of its folder where it has one.

    Raises DatasetError, which names all of them, where folders or patterns have no file.
    """
    entries = iter(disk.look([address for address in addresses if not is_url(address)]))
    asked = [(address, None if is_url(address) else next(entries)) for address in addresses]
    return all_of(partial(_found, disk, address, entry) for address, entry in asked)


def _found(disk: Disk, address: str, entry: Entry | None) -> tuple[list[str], str]:
    if entry is None:
        return _found_afar(address)
    if entry.folder:
        return _in_folder(disk, address, entry)
    if is_pattern(address) and not entry.is_there:
        return _matching(disk, address, entry.path), ""
    return [entry.path], ""


def _found_afar(address: str) -> tuple[list[str], str]:
    path = path_of(address)
    if not (path.endswith("/") or is_pattern(path)):
        return [address], ""
    afar, description = Afar(address), ""
    if is_pattern(path):
        found = _matching(afar, address, afar.path)
    else:
        place = afar.path.rstrip("/") or "/"
        found, description = _in_folder(afar, address, Entry(place, place))
    return [afar.address(file) for file in found], afar.address(description) if description else ""


def _in_folder(disk: Disk, address: str, folder: Entry) -> tuple[list[str], str]:
    if any(entry.name == DESCRIPTION for entry in disk.entries([folder])):
        return [], f"{folder.path.rstrip('/')}/{DESCRIPTION}"
    others = _walk(disk, [folder])[1]
    if described := next((entry.path for entry in others if entry.name == DESCRIPTION), None):
        raise DatasetError(
            f"folder {address}: {described} describes the files beside it; name that file, or the pattern "
            f"'{address.rstrip('/')}/**/{_FOLDER}' to take all files as one sample"
        )
    files = sorted(entry.path for entry in others if _matches(entry.name, _FOLDER))
    if not files:
        raise DatasetError(f"folder {address} holds no .root file")
    return files, ""


def _matching(disk: Disk, address: str, pattern: str) -> list[str]:
    steps = PurePosixPath(pattern).parts
    known = next(number for number, step in enumerate(steps) if is_pattern(step))
    found = disk.look([str(PurePosixPath(*steps[:known]))])
    for step in steps[known:]:
        folders = [entry for entry in found if entry.folder]
        if step == "**":
            found = _walk(disk, folders)[0]
        elif is_pattern(step):
            found = [e for e in disk.entries(folders) if _matches(e.name, step)]
        else:
            found = [e for e in disk.look([f"{f.path}/{step}" for f in folders]) if e.is_there]
    if steps[-1] == "**":
        found = [entry for entry in disk.entries(found) if _matches(entry.name, "*") and not entry.folder]
    if not found:
        raise DatasetError(f"no file matches {address!r}")
    return sorted({entry.path for entry in found})


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))


def _walk(disk: Disk, folders: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """The folders and all folders below them, and everything else in these."""
    entered, others = [], []
    level = list({folder.path: folder for folder in folders}.values())
    while level:
        entered += level
        inside = disk.entries(level)
        others += [entry for entry in inside if not entry.folder]
        level = [e for e in inside if e.folder and _matches(e.name, "*") and not e.is_below_itself]
    return entered, others
