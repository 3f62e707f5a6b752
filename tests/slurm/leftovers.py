"""What runs and jobs left on the machines of the lab, beside logs, marks and the answer that clients share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.slurm.lab import Lab
from vrecompute.batch.temporary import OWN_FOLDER

__all__ = ["job_folders", "litter", "temporary_files"]

#: What a job of the user begins with, and a look at what it leaves; compiled kernels and connections of a client stay.
_TEMPORARY = (
    "\n".join(OWN_FOLDER) + '\nrm -rf -- "$own"\nfind /tmp /dev/shm -mindepth 1 -maxdepth 1 ! -name vrecompute-2000'
)
#: Jobs, what is in the spool and does not belong there, and private keys anywhere.
_ELSEWHERE = r"""
squeue -h -u alice -o 'job %i %T'
ls ~/.local/state/vrecompute/slurm 2> /dev/null |
  grep -vE '^(slurm-[0-9_]+\.out|[0-9_]+\.[0-9]+\.end|polled-[0-9a-f]+(\.ids|\.lock)?|node-.*\.bad)$'
grep -rlsI 'PRIVATE KEY-----' /tmp /dev/shm ~/.local ~/.cache ~/store-*
true
"""
_FOLDERS = "ls -d /tmp/vre-* /dev/shm/sem.vre-* 2> /dev/null; true"


def temporary_files(lab: Lab) -> set[str]:
    """Files in the temporary folders of all machines, once a job of the user has begun there."""

    def look(machine: str) -> set[str]:
        user = [] if machine == "client" else ["runuser", "-u", "alice", "--"]
        found = lab.on(machine, *user, "bash", "-c", _TEMPORARY)
        return {f"{machine}: {line}" for line in found.splitlines()}

    with ThreadPoolExecutor() as pool:
        return set().union(*pool.map(look, ("root@login", "c1", "c2", "client")))


def job_folders(lab: Lab) -> list[str]:
    """Temporary folders of the user's jobs on the nodes, before the next job there deletes those that were left."""
    return [f"{node}: {line}" for node in ("c1", "c2") for line in lab.on(node, "sh", "-c", _FOLDERS).split()]


def litter(lab: Lab) -> set[str]:
    """All of it."""
    return temporary_files(lab) | set(lab.on("login", "bash", "-c", _ELSEWHERE).splitlines())
