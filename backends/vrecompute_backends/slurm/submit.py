"""`Submissions`: what is given to sbatch, and what became of it where the answer was lost.

sbatch may say that it timed out, or the connection to the site may break, when slurmctld has taken the job: a
second submission would make two. Such a job is looked for by its name, its owner and the time of its submission, and is
taken for the one that was wanted. So is one whose id sbatch does not give in a way that leaves no doubt, as where a
site's own sbatch greets its users. Where the site cannot be asked at that moment, what is found is cancelled before
anything else is submitted. Other jobs of one name, submitted by another process of the same user at the same time,
would be taken for it too: names must differ.
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
from vrecompute_backends.slurm.shell import FORGET, complaint, slurm
from vrecompute_backends.slurm.text import submitted

__all__ = ["Submissions", "may_pass"]

_LOG = logging.getLogger(__name__)
_ID = re.compile(r"[0-9]{1,18}")
#: Words in a complaint of Slurm's after which the same request may well be granted a little later.
_TRANSIENT = re.compile(
    r"contact slurm controller|timed out|Zero Bytes|temporar|try again|Connection refused|JobLimit|SubmitJob|"
    r"Job violates accounting/QOS policy|slurmdbd|Slurm backup controller in standby",
    re.IGNORECASE,
)
#: Those of them that say nothing about whether it was granted already.
_LOST = re.compile(r"timed out|Zero Bytes|Connection reset|Unexpected message", re.IGNORECASE)
#: $1 a name, $2 a cluster or nothing. First what time it is there, then a line a job: the id (an array's own), and
#: when it was submitted.
_FIND = (
    FORGET
    + """
export SLURM_TIME_FORMAT=standard
date +%Y-%m-%dT%H:%M:%S || exit 1
exec squeue --noheader --states=all --format="%F %V" --user="$(id -un)" --name="$1" ${2:+"--clusters=$2"}
"""
)
#: Seconds before each look for a job that may still be on its way to slurmctld's list.
_LOOKS_S = (0.0, 3.0)
#: How far the clocks of a login node and of slurmctld may be apart, in seconds.
_SKEW_S = 5.0


def may_pass(complaint: str) -> bool:
    """Whether the same request may well be granted a little later."""
    return bool(_TRANSIENT.search(complaint))


class Submissions:
    """The submissions of one backend, one after another."""

    def __init__(self, site: Site, access: Access, cluster: str | None = None) -> None:
        self.site = site
        self.access = access
        self.cluster = cluster
        self._ids: set[str] = set()
        self._lost: list[tuple[str, float]] = []

    def submit(self, job: Job, script: str, arguments: Sequence[str]) -> str:
        """The id of what sbatch took; SubmitError with its complaint, Unavailable where the site does not answer."""
        self.settle()
        began = time.monotonic()
        try:
            command = ["sbatch", "--parsable", *arguments]
            done = slurm(self.access, command, stdin=script.encode(), timeout_s=120)
        except Unavailable as error:
            return self._found(job, began, error)
        given = submitted(done.text)
        if done.code == 0 and given is not None:
            job_id, cluster = given
            if cluster and cluster != self.cluster:
                self._disown(job, job_id, cluster)
            self._ids.add(job_id)
            return job_id
        said = complaint(done)
        if done.code == 0 or given is not None or _LOST.search(said):
            told = " ".join(done.text.split())[:200]
            said = f"{said}; it wrote {told!r}" if told else said
            advice = f"`squeue --name={job_name(job.name)}` shows whether it did; else try again later"
            unknown = f"{self.access}: sbatch does not say whether it took job {job.name!r}: {said} ({advice})"
            return self._found(job, began, SubmitError(unknown, transient=True))
        transient = may_pass(said)
        advice = "try again later" if transient else f"`explain` shows the script; mend site {self.site.name!r}"
        raise SubmitError(f"{self.access}: sbatch refused job {job.name!r}: {said} ({advice})", transient=transient)

    def cancel(self, ids: Sequence[str], cluster: str | None = None) -> None:
        """`scancel`; Unavailable where Slurm does not answer. Jobs that have ended, or never were, are no error."""
        name = cluster or self.cluster
        done = slurm(self.access, ["scancel", *([f"--clusters={name}"] if name else []), *ids])
        if done.code != 0 and may_pass(said := complaint(done)):
            raise Unavailable(f"{self.access}: scancel: {said}; the jobs may go on: cancel again later")

    def _disown(self, job: Job, job_id: str, cluster: str) -> None:
        """Refuse a job that is where no poll would look for it."""
        wanted = f"the cluster {self.cluster!r} (options.cluster)" if self.cluster else "no cluster"
        try:
            self.cancel([job_id], cluster)
            became = "it is cancelled"
        except Unavailable as error:
            became = f"it may still be there: {error}"
        raise SubmitError(
            f"{self.access}: sbatch gave job {job.name!r} to the cluster {cluster!r} as {job_id}, and site "
            f"{self.site.name!r} names {wanted}; {became}. Write `options: {{cluster: {cluster}}}` to use that one"
        )

    def settle(self) -> None:
        """Cancel jobs of submissions that were given up without an answer; Unavailable while that cannot be done."""
        while self._lost:
            name, began = self._lost.pop()
            try:
                if strays := self._jobs(name, began):
                    _LOG.warning(
                        "%s: cancelling job %s, whose submission had no answer", self.access, ", ".join(strays)
                    )
                    self.cancel(strays)
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
        done = self.access.run(["sh", "-c", _FIND, "sh", name, self.cluster or ""])
        elapsed_s = time.monotonic() - began
        if done.code != 0:
            raise Unavailable(f"{self.access}: squeue: {complaint(done)}")
        ids = set()
        try:
            lines = [line.strip() for line in done.text.splitlines()]
            now, *jobs = [line for line in lines if line and not line.startswith("CLUSTER:")]
            for line in jobs:
                job_id, submitted = line.split()
                age = datetime.fromisoformat(now) - datetime.fromisoformat(submitted)
                if _ID.fullmatch(job_id) and age.total_seconds() <= elapsed_s + _SKEW_S:
                    ids.add(job_id)
        except (ValueError, TypeError) as error:  # the latter for one time with its zone and one without
            raise Unavailable(f"{self.access}: squeue: no valid answer of Slurm: {done.text[:200]!r}") from error
        return sorted(ids - self._ids, key=int)
