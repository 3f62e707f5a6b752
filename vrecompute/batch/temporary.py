"""The temporary folder of one job on one node: `$TMPDIR`, which goes with the job.

    $VRECOMPUTE_TMPDIR/vre-UID-NODE.XXXXXX/     mode 0700; $VRECOMPUTE_TMPDIR is what TMPDIR was before

Processes of the job hold a lock (flock) on it. The shell that made it deletes it when it ends, or gets SIGTERM. One
whose shell was killed, or whose node died, is held by nothing: the user's next job on that node deletes it. The batch
system is not asked. Where flock is absent, nothing is swept.

Semaphores of the job's processes are named after the folder (`workers.daskworker`), and go with it: Python's own way
of deleting them is a process that is killed with the job.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import dask

from vrecompute.errors import UsageError
from vrecompute.stores.ownership import private_folder

__all__ = ["DELETE", "OWN_FOLDER", "on_nodes", "scratch_folder"]

_LOG = logging.getLogger(__name__)

#: Lines of bash that sweep, make and hold. A sweep may take a folder before it is held: then another is made.
OWN_FOLDER = r"""
export VRECOMPUTE_TMPDIR="${VRECOMPUTE_TMPDIR:-${TMPDIR:-/tmp}}"
[ -w "$VRECOMPUTE_TMPDIR" ] || VRECOMPUTE_TMPDIR=/tmp
node=$(uname -n) mine=$VRECOMPUTE_TMPDIR/vre-$UID-${node%%.*}
for left in "$mine".*; do
  [ ! -O "$left" ] || flock -n "$left" rm -rf -- "$left" "/dev/shm/sem.${left##*/}"-* 2> /dev/null
done
own=
until [ -d "$own" ]; do
  own=$(mktemp -d "$mine.XXXXXX") || exit 1
  { exec 9< "$own" && flock -s 9; } 2> /dev/null
done
export TMPDIR="$own" DASK_TEMPORARY_DIRECTORY="$own"
""".strip().splitlines()
#: What a trap does about it, before and after it is made.
DELETE = 'rm -rf -- ${own:+"$own" "/dev/shm/sem.${own##*/}"-*}'
# Told to end, it deletes at once: a step may be killed before its command has ended by itself. Where the input of the
# step begins with a line, its end ends the command: what starts steps may pass no signal on, and kill.
_ON_NODE = [
    *OWN_FOLDER,
    "exec 6<&0 < /dev/null",
    "watcher=",
    f"trap 'kill $watcher 2> /dev/null; {DELETE}' EXIT",
    '"$@" 6<&- &',
    "worker=$!",
    f"trap 'kill \"$worker\" 2> /dev/null; {DELETE}' TERM",
    '{ read -r begun && { read -r begun; kill "$worker"; }; } <&6 > /dev/null 2>&1 &',
    "watcher=$!",
    "exec 6<&-",
    'wait "$worker"',
    'wait "$worker"',
]


def on_nodes(step: Sequence[str], command: Sequence[str]) -> list[str]:
    """The command as `step` starts it, with another folder on each node: that of the job's script is on one.

    Where its input has a first line, the end of the input has the command get SIGTERM.
    """
    return ["env", "-u", "TMPDIR", *step, "bash", "-c", "\n".join(_ON_NODE), "bash", *command] if step else [*command]


def scratch_folder() -> Path:
    """Where a client's own Dask keeps files, below its `temporary-directory` or the system's; for this user alone."""
    try:
        folder = system = Path(tempfile.gettempdir())
    except OSError as error:
        raise UsageError(f"there is no folder for temporary files: {error.strerror}; set TMPDIR") from error
    if (given := dask.config.get("temporary-directory", None)) and not (folder := Path(given)).is_dir():
        _LOG.warning("Dask's temporary-directory %s is not a folder; workers keep their files in %s", folder, system)
        folder = system
    try:
        made = private_folder(folder / f"vrecompute-{os.getuid()}") / "dask"
        made.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot hold the workers' files: {error.strerror or error}; set TMPDIR") from error
    return made
