"""Whether Slurm is there: what `probe` asks before it sends a job."""

from __future__ import annotations

from vrecompute.batch.contract import Finding
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Access
from vrecompute_backends.slurm.shell import complaint, slurm

__all__ = ["slurm_answers"]

_ACCESS = "access: {ssh: {host: ...}}   # a machine that has Slurm's commands, and answers `ssh HOST true`"


def slurm_answers(access: Access) -> Finding:
    """Whether Slurm is spoken to, and which."""
    try:
        done = slurm(access, ["sinfo", "--version"])
    except Unavailable as error:  # no connection, or this machine has no such command
        return Finding("slurm", False, str(error), _ACCESS)
    said = done.text.strip() or complaint(done)
    if done.code != 0:
        return Finding("slurm", False, f"{access}: sinfo --version: {said}", _ACCESS)
    return Finding("slurm", True, f"{said} on {access}")
