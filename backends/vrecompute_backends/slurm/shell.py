"""How Slurm's commands are called: free of the settings of the shell that calls them, and what they complain of.

A module, a profile, or the job that this very process runs in may set `SBATCH_PARTITION`, `SQUEUE_STATES` or
`SLURM_JOB_ID`: they override what the script says, hide jobs from a poll, or reach the job as if they were its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vrecompute.errors import Unavailable
from vrecompute.sites.access import Access, Completed

__all__ = ["FORGET", "complaint", "slurm", "version"]

#: Shell text, here and over ssh alike. What says where Slurm is, and who asks, stays.
FORGET = r"""
names=$(awk 'BEGIN {
  for (name in ENVIRON)
    if (name ~ /^_?(SLURM|SBATCH|SRUN|SALLOC|SQUEUE|SACCT|SCANCEL|SINFO|SCONTROL|SPANK)_[A-Za-z0-9_]+$/ &&
        name !~ /^SLURM_(CONF|CONF_SERVER|JWT)$/) print name
}') && unset -v $names
"""
#: What a shell ends with where there is no such command.
_ABSENT = 127
_SPOKEN = re.compile(r"(?:sbatch|scancel|squeue|sacct|sinfo|slurm[a-z_]*)[: ]", re.IGNORECASE)


def slurm(access: Access, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
    """Run one command of Slurm to its end. Unavailable where it cannot be run, is not there, or takes too long."""
    done = access.run(["sh", "-c", FORGET + 'exec "$@"', "sh", *command], stdin=stdin, timeout_s=timeout_s)
    if done.code == _ABSENT:
        raise Unavailable(
            f"{access}: command {command[0]!r} was not found; let `access` of the site name a machine that has Slurm"
        )
    return done


def complaint(done: Completed) -> str:
    """What a command of Slurm complained of, on one line, without the greetings that a site puts around it."""
    lines = [line.strip() for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    spoken = [line for line in lines if _SPOKEN.match(line)]
    return " ".join(" ".join(spoken or lines).split()) or f"exit code {done.code}"


def version(access: Access) -> str:
    """What `sinfo --version` says; Unavailable where it says none."""
    done = slurm(access, ["sinfo", "--version"])
    if done.code != 0:
        raise Unavailable(f"{access}: sinfo --version: {done.text.strip() or complaint(done)}")
    return done.text.strip() or complaint(done)
