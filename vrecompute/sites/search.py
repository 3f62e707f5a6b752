"""Where site files are looked for, and under which names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from vrecompute.errors import SiteError
from vrecompute.nearest import did_you_mean

__all__ = ["display", "find_site_file", "is_own", "is_path", "list_site_files", "site_folders", "users_folder"]

_MACHINES = Path("/etc/vrecompute/sites")
_SUFFIXES = (".yaml", ".yml")


def site_folders() -> list[Path]:
    """`$VRECOMPUTE_SITES` (several by ':'), ./site_configs, the user's and the machine's; earlier ones win."""
    return [*_named_folders(), Path("site_configs"), users_folder(), _MACHINES]


def users_folder() -> Path:
    """The user's own, which may not be there."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or _home() / ".config") / "vrecompute" / "sites"


def is_own(path: Path) -> bool:
    """Whether a file lies in a folder that the user named, in the user's or in the machine's; links do not count."""
    return path.parent.resolve() in {folder.resolve() for folder in (*_named_folders(), users_folder(), _MACHINES)}


def _named_folders() -> list[Path]:
    return [Path(folder) for folder in os.environ.get("VRECOMPUTE_SITES", "").split(os.pathsep) if folder]


def is_path(name_or_path: str | Path) -> bool:
    """Whether this is a path rather than a name: it has a folder or the suffix of YAML."""
    text = str(name_or_path)
    return isinstance(name_or_path, Path) or os.sep in text or text.endswith(_SUFFIXES)


def list_site_files(folders: Iterable[Path] | None = None) -> list[Path]:
    """Every site file of the search path in its order; a leading `_` marks what is only there to be extended."""
    found: list[Path] = []
    for folder in site_folders() if folders is None else folders:
        if os.path.isdir(folder):
            try:
                entries = sorted(folder.iterdir())
            except OSError as error:
                raise SiteError(f"{display(folder)}: cannot be listed: {error.strerror}; check its mode") from error
            found += [path for path in entries if path.suffix in _SUFFIXES and path.name[0] not in "._"]
    return found


def find_site_file(name_or_path: str | Path, folders: Iterable[Path] | None = None) -> Path:
    """The file of a name, or the path itself; raises `SiteError` that says where was looked."""
    if is_path(name_or_path):
        return Path(name_or_path)
    searched = list(site_folders() if folders is None else folders)
    for folder in searched:
        for suffix in _SUFFIXES:
            # os.path says no, rather than raising, below folders that may not be entered
            if os.path.isfile(path := folder / f"{name_or_path}{suffix}"):
                return path
    known = sorted({path.stem for path in list_site_files(searched)})
    hint = did_you_mean(str(name_or_path), known) if known else "give the path of a YAML file"
    raise SiteError(f"no site '{name_or_path}' in {', '.join(display(folder) for folder in searched)}; {hint}")


def _home() -> Path:
    """The home folder, or `~` itself for a user without one, as in some containers."""
    return Path(os.path.expanduser("~"))


def display(path: Path) -> str:
    """The path as people see it: relative below the current folder, `~` for the home folder."""
    absolute = Path(os.path.abspath(path))
    for base, mark in ((Path.cwd(), ""), (_home(), "~/")):
        if absolute.is_relative_to(base) and absolute != base:
            return mark + str(absolute.relative_to(base))
    return str(absolute)
