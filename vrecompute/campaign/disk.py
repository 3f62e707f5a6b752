"""On what file system a path lies: locks of SQLite hold on a disk of this machine alone."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["network_file_system"]

# Types of /proc/self/mountinfo whose locks or shared memory do not hold between machines.
_NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "afs",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "glusterfs",
    "9p",
    "fuse.",
    "pvfs",
    "panfs",
)
# Of FUSE, those that are disks of this machine.
_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.ntfs", "fuse.exfat"})


def network_file_system(path: Path, mounts: str = "/proc/self/mountinfo") -> str:
    """The type of the network file system that a path, or the folder it will be in, lies on; empty for a disk."""
    place = os.path.realpath(path)
    best, kind = -1, ""
    try:
        lines = Path(mounts).read_text().splitlines()
    except OSError:
        return ""  # no Linux
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = fields[4].encode().decode("unicode_escape")
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:
            best, kind = len(point), after.split()[0]
    is_network = kind.startswith(_NETWORK) and kind not in _LOCAL_FUSE
    return kind if is_network else ""
