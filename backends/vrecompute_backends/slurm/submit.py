"""`Submissions`: what is given to sbatch, and what became of it where the answer was lost.

sbatch may say that it timed out, or the connection to the site may break, when slurmctld has taken the job: whoever
submits again then has two. Such a job is looked for by its name, its owner and the time of its submission, and is
taken for the one that was wanted. Where the site cannot be asked at that moment, what is found is cancelled before
anything else is submitted. Other jobs of one name, submitted by another process of the same user at the same time,
would be taken for it too: names are to be told apart.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from datetime import datetime

from vrecompute.batch.contract import Job, SubmitError
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Access
from vrecompute.sites.model import Site
from vrecompute_backends.slurm.script import job_name

__all__ = ["Submissions", "may_pass"]

_LOG = logging.getLogger(__name__)
_ID = re.compile(r"[0-9]+")
#: Words in a complaint of Slurm's after which the same request may well be granted a little later.
_TRANSIENT = re.compile(
    r"contact slurm controller|timed out|Zero Bytes|temporar|try again|Connection refused|JobLimit|SubmitJob|"
    r"Job violates accounting/QOS policy|slurmdbd|Slurm backup controller in standby",
    re.IGNORECASE,
)
#: Those of them that say nothing about whether it was granted already.
_LOST = re.compile(r"timed out|Zero Bytes|Connection reset|Unexpected message", re.IGNORECASE)
#: $1 a name. First what time it is there, then a line a job: the id (an array's own), and when it was submitted.
_FIND = """
export SLURM_TIME_FORMAT=standard
date +%Y-%m-%dT%H:%M:%S && exec squeue --noheader --states=all --format="%F %V" --user="$(id -un)" --name="$1"
"""
#: Seconds before each look for a job that may still be on its way to slurmctld's list.
_LOOKS_S = (0.0, 3.0)
#: How far the clocks of a login node and of slurmctld may be apart, in seconds.
_SKEW_S = 5.0


def may_pass(complaint: str) -> bool:
    """Whether the same request may well be granted a little later."""
    return bool(_TRANSIENT.search(complaint))


class Submissions:
    """The submissions of one backend, one after another."""

    def __init__(self, site: Site, access: Access) -> None:
        self.site = site
        self.access = access
        self._ids: set[str] = set()
        self._lost: list[tuple[str, float]] = []

    def submit(self, job: Job, script: str, arguments: Sequence[str]) -> str:
        """The id of what sbatch took; SubmitError with its complaint, Unavailable where the site does not answer."""
        self.settle()
        began = time.monotonic()
        try:
            done = self.access.run(["sbatch", "--parsable", *arguments], stdin=script.encode(), timeout_s=120)
        except Unavailable as error:
            return self._found(job, began, error)
        job_id = done.text.strip().partition(";")[0]
        if done.code == 0 and _ID.fullmatch(job_id):
            self._ids.add(job_id)
            return job_id
        said = done.complaint or f"exit code {done.code}"
        if _LOST.search(said):
            advice = f"`squeue --name={job_name(job.name)}` shows whether it did; else try again later"
            unknown = f"{self.access}: sbatch does not say whether it took job {job.name!r}: {said} ({advice})"
            return self._found(job, began, SubmitError(unknown, transient=True))
        transient = may_pass(said)
        advice = "try again later" if transient else f"`explain` shows the script; mend site {self.site.name!r}"
        raise SubmitError(f"{self.access}: sbatch refused job {job.name!r}: {said} ({advice})", transient=transient)

    def settle(self) -> None:
        """Cancel jobs of submissions that were given up without an answer; Unavailable while that cannot be done."""
        while self._lost:
            name, began = self._lost.pop()
            try:
                if strays := self._jobs(name, began):
                    _LOG.warning(
                        "%s: cancelling job %s, whose submission had no answer", self.access, ", ".join(strays)
                    )
                    done = self.access.run(["scancel", *strays])
                    if done.code != 0 and may_pass(done.complaint):
                        raise Unavailable(f"{self.access}: scancel: {done.complaint}")
            except Unavailable:
                self._lost.append((name, began))
                raise

    def _found(self, job: Job, began: float, error: Exception) -> str:
        """The id of the job that was taken all the same; raises `error` where there is none to be seen."""
        name = job_name(job.name)
        for pause_s in _LOOKS_S:
            time.sleep(pause_s)
            try:
                ids = self._jobs(name, began)
            except Unavailable:
                break
            if ids:
                _LOG.warning("%s: job %s was taken although the answer was lost: %s", self.access, ids[-1], error)
                self._ids.add(ids[-1])
                return ids[-1]
        self._lost.append((name, began))
        raise error

    def _jobs(self, name: str, began: float) -> list[str]:
        """Ids of jobs of a name that were submitted since then, and are not known here, in their order."""
        done = self.access.run(["sh", "-c", _FIND, "sh", name])
        elapsed_s = time.monotonic() - began
        if done.code != 0:
            raise Unavailable(f"{self.access}: squeue: {done.complaint or f'exit code {done.code}'}")
        ids = set()
        try:
            now, *jobs = [line.strip() for line in done.text.splitlines() if line.strip()]
            for line in jobs:
                job_id, submitted = line.split()
                age = datetime.fromisoformat(now) - datetime.fromisoformat(submitted)
                if _ID.fullmatch(job_id) and age.total_seconds() <= elapsed_s + _SKEW_S:
                    ids.add(job_id)
        except ValueError as error:
            raise Unavailable(f"{self.access}: squeue: not an answer of Slurm: {done.text[:200]!r}") from error
        return sorted(ids - self._ids, key=int)
