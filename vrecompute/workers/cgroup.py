"""`ControlGroup`: the memory limit of this process' control group, and the kills for exceeding it.

Versions 1 and 2 of Linux control groups; read alone, by plain files. Elsewhere there is none.
Source: the kernel's documentation, admin-guide/cgroup-v1/memory and admin-guide/cgroup-v2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ControlGroup", "group_of", "own_group"]

# Version 1 writes "no limit" as the largest whole page below 2^63.
_NO_LIMIT = 1 << 62


@dataclass(frozen=True)
class ControlGroup:
    """The memory group whose files are in `folder`, below the group mounted at `top`; `version` is 1 or 2."""

    folder: Path
    top: Path
    version: int

    def kills(self) -> int:
        """How many processes of this very group the kernel has killed for memory."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        for line in _text(self.folder / name).splitlines():
            key, _, count = line.partition(" ")
            if key == "oom_kill" and count.isdigit():
                return int(count)
        return 0

    def peak_and_limit(self) -> tuple[int, int]:
        """(most bytes used together, bytes allowed) of the tightest of this group and those around it; 0 is unknown."""
        limited = [(limit, folder) for folder in self._around() if (limit := self._limit(folder))]
        if not limited:
            return 0, 0
        limit, folder = min(limited, key=lambda pair: pair[0])
        return self._number(folder, "memory.max_usage_in_bytes", "memory.peak"), limit

    def _around(self) -> Iterator[Path]:
        folder = self.folder
        yield folder
        while folder != self.top and self.top in folder.parents:
            folder = folder.parent
            yield folder

    def _limit(self, folder: Path) -> int:
        limit = self._number(folder, "memory.limit_in_bytes", "memory.max")
        return limit if limit < _NO_LIMIT else 0

    def _number(self, folder: Path, first: str, second: str) -> int:
        text = _text(folder / (first if self.version == 1 else second)).strip()
        return int(text) if text.isdigit() else 0  # "max" is no limit


def own_group() -> ControlGroup | None:
    """The memory group of this process, None where there is none to be read."""
    return group_of(_text(Path("/proc/self/cgroup")), _text(Path("/proc/self/mountinfo")))


def group_of(groups: str, mounts: str) -> ControlGroup | None:
    """The memory group named by `groups` (/proc/PID/cgroup), found where `mounts` (/proc/PID/mountinfo) has it.

    Version 1 is preferred: on mixed systems memory belongs to it.
    """
    names: dict[int, str] = {}
    for line in groups.splitlines():
        number, _, rest = line.partition(":")
        kinds, _, name = rest.partition(":")
        if "memory" in kinds.split(","):
            names[1] = name
        elif number == "0" and not kinds:
            names[2] = name
    for version, root, top in sorted(_mounted(mounts)):
        if version not in names:
            continue
        name = names[version]
        # A container may see a part of the tree: then its root is not "/", and names begin above it.
        inner = name.removeprefix(root) if root != "/" and f"{name}/".startswith(f"{root}/") else name
        folder = Path(top) / inner.strip("/")
        if folder.is_dir():
            return ControlGroup(folder, Path(top), version)
    return None


def _mounted(mounts: str) -> Iterator[tuple[int, str, str]]:
    """(version, root, mount point) of each hierarchy that may hold memory groups."""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup" and "memory" in kind[2].split(","):
            yield 1, fields[3], fields[4]
        elif kind[0] == "cgroup2":
            yield 2, fields[3], fields[4]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
