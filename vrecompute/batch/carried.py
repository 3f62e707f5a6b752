"""Files that a job carries: a folder of the spool that is where the job runs, and comes back as the job left it.

Where jobs run in the spool it is the very folder. Elsewhere the batch system brings it there and back; what a job that
is killed wrote may then be lost, and what was there before it began is not.
"""

from __future__ import annotations

import io
import tarfile

from vrecompute.batch.contract import Job
from vrecompute.batch.shape import job_name
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Access

__all__ = ["CARRIED", "bring", "carried_folder", "forget", "take_back"]

#: The variable that names the folder in the job.
CARRIED = "VRECOMPUTE_CARRIED"
_BRING = 'umask 077 && mkdir -p -- "$1" && tar -C "$1" -xf -'
#: $1 the folder, $2 how many KiB of it are read at most: all of it is in memory at once.
_BACK = (
    '[ -d "$1" ] || exit 0; size=$(du -sk -- "$1" | cut -f1); '
    '[ "$size" -le "$2" ] || { echo "it holds $size KiB, more than $2" >&2; exit 1; }; tar -C "$1" -cf - .'
)
_MOST_KIB = 4 << 20
_LONGEST_S = 600.0


def carried_folder(name: str) -> str:
    """The folder in the spool of the job of that name."""
    return f"carried-{job_name(name)}"


def bring(access: Access, spool: str, job: Job) -> None:
    """Put a job's files into its folder, beside what is there. Unavailable where that cannot be."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in sorted((job.carried or {}).items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
    folder = f"{spool}/{carried_folder(job.name)}"
    done = access.run(["sh", "-c", _BRING, "sh", folder], stdin=packed.getvalue(), timeout_s=_LONGEST_S)
    if done.code != 0:
        raise Unavailable(f"{access}: cannot put the files of job {job.name!r} into {folder}: {done.complaint}")


def take_back(access: Access, spool: str, name: str) -> dict[str, bytes]:
    """The files that are in the folder of a job by now, by path; none where there is no folder.

    Unavailable where they cannot be read. Links and other things that are no files are left out.
    """
    folder = f"{spool}/{carried_folder(name)}"
    done = access.run(["sh", "-c", _BACK, "sh", folder, str(_MOST_KIB)], timeout_s=_LONGEST_S)
    if done.code != 0:
        raise Unavailable(f"{access}: cannot read the files of job {name!r} in {folder}: {done.complaint}")
    found: dict[str, bytes] = {}
    if done.stdout:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            for entry in archive:
                content = archive.extractfile(entry) if entry.isreg() else None
                if content is not None:
                    found[entry.name.removeprefix("./")] = content.read()
    return found


def forget(access: Access, spool: str, name: str) -> None:
    """Remove the folder of a job."""
    access.delete(f"{spool}/{carried_folder(name)}")
