"""Files that a job carries: they are in a folder where it runs, and what it adds to them comes back.

    carried-NAME/           what goes along, of all copies
    carried-NAME@INDEX/     the folder of one copy: the same files, and what the copy makes; of the latter it is left

NAME is that of all copies, also where they are submitted one by one under names of their own.

Where jobs run in the spool these are the very folders. Elsewhere the batch system brings both there, and the second
back, which goes along again with the next attempt. What a job that is killed wrote may be lost there.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from vrecompute.batch.contract import Job
from vrecompute.batch.shape import job_name
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Access

__all__ = ["CARRIED", "bring", "carried_folder", "carrying", "forget", "packed", "take_back"]

#: The variable that names the folder in the job.
CARRIED = "VRECOMPUTE_CARRIED"
#: $1 the folder without a number, $2 how many copies.
_BRING = (
    'umask 077 && mkdir -p -- "$1" && i=0 && '
    'while [ "$i" -lt "$2" ]; do mkdir -p -- "$1@$i" && i=$((i + 1)) || exit 1; done && tar -C "$1" -xf -'
)
#: $1 the folder without a number, $2 how many KiB of what came back are read at most: all of it is in memory at once.
_BACK = (
    'set -- "$2" "$1"@*; [ -d "$2" ] || exit 0; size=$(($(du -sk -- "${@:2}" | cut -f1 | tr "\\n" +)0)); '
    '[ "$size" -le "$1" ] || { echo "they hold $size KiB, more than $1" >&2; exit 1; }; shift; '
    'what=(); for folder; do what+=(-C "$folder" .); done; tar -cf - "${what[@]}"'
)
#: What a copy does first: it has the files that go along, as links where that can be.
_BEGINS = r"""
brought="$PWD/{folder}" {variable}="$PWD/{folder}@{index}"
export {variable}
links='for f; do mkdir -p -- "$0/${{f%/*}}"
[ -e "$0/$f" ] || ln -- "$f" "$0/$f" 2> /dev/null || cp -p -- "$f" "$0/$f"; done'
(umask 077 && cd -- "$brought" && find . -type f -exec sh -c "$links" "${variable}" {{}} +) || exit 1
""".strip()
#: What it does last: what is as it came stays.
_ENDS = r"""
same='for f; do if [ "$f" -ef "$0/$f" ]; then rm -f -- "$0/$f"; fi; done'
(cd -- "$brought" && find . -type f -exec sh -c "$same" "${variable}" {{}} +)
""".strip()
_MOST_KIB = 4 << 20
_LONGEST_S = 600.0


def carried_folder(name: str) -> str:
    """The folder in the spool of what goes along with jobs of that name."""
    return f"carried-{job_name(name)}"


def carrying(job: Job) -> tuple[list[str], list[str]]:
    """What the script of a job that carries files does before its command, and after it."""
    # the system does not number copies that were submitted one by one
    name, index = (job.name, "$VRECOMPUTE_INDEX") if job.copy is None else (_of_all(job), str(job.copy))
    words = {"folder": carried_folder(name), "variable": CARRIED, "index": index}
    return _BEGINS.format(**words).splitlines(), _ENDS.format(**words).splitlines()


def bring(access: Access, spool: str, job: Job, count: int = 1) -> None:
    """Put the files of so many copies of a job where they begin. Unavailable where that cannot be."""
    folder = f"{spool}/{carried_folder(job.name)}"
    command = ["sh", "-c", _BRING, "sh", folder, str(count)]
    done = access.run(command, stdin=packed(job.carried or {}), timeout_s=_LONGEST_S)
    if done.code != 0:
        raise Unavailable(f"{access}: cannot put the files of job {job.name!r} into {folder}: {done.complaint}")


def packed(files: Mapping[str, bytes | str]) -> bytes:
    """Files by path as an archive of tar, which their owner alone can read."""
    archived = io.BytesIO()
    with tarfile.open(fileobj=archived, mode="w") as archive:
        for name, given in sorted(files.items()):
            content = given.encode() if isinstance(given, str) else given
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
    return archived.getvalue()


def take_back(access: Access, spool: str, name: str) -> dict[str, bytes]:
    """The files that copies of a job have added by now, by path; none where there is no folder.

    Of one name in several, one. Unavailable where they cannot be read. Links and what is no file are left out.
    """
    folder = f"{spool}/{carried_folder(name)}"
    done = access.run(["bash", "-c", _BACK, "bash", folder, str(_MOST_KIB)], timeout_s=_LONGEST_S)
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
    """Remove the folders of a job."""
    access.run(["sh", "-c", 'rm -rf -- "$1" "$1"@*', "sh", f"{spool}/{carried_folder(name)}"], timeout_s=_LONGEST_S)


def _of_all(job: Job) -> str:
    """The name that copies of a job share."""
    return job.name.removesuffix(f"-{job.copy}")
