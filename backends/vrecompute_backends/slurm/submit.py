"""What sbatch, scancel and squeue are given about jobs of ours, and what their answers mean.

sbatch may say that it timed out when slurmctld has taken the job, and a site's own sbatch may greet its users so that
no id is beyond doubt: these are lost answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from vrecompute.batch.contract import Job, SubmitError
from vrecompute.batch.queue_backend import LostAnswer
from vrecompute.batch.shape import job_name
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Access
from vrecompute.sites.model import Site
from vrecompute_backends.slurm.shell import FORGET, complaint, slurm
from vrecompute_backends.slurm.text import submitted

__all__ = ["ages", "cancel", "dry_run", "hand_in", "may_pass"]

_ID = re.compile(r"[0-9]{1,18}")
#: Words in a complaint of Slurm's after which the same request may well be granted a little later.
_TRANSIENT = re.compile(
    r"contact slurm controller|timed out|Zero Bytes|temporar|try again|Connection refused|JobLimit|SubmitJob|"
    r"Job violates accounting/QOS policy|slurmdbd|Slurm backup controller in standby",
    re.IGNORECASE,
)
#: Those of them that say nothing about whether it was granted already.
_LOST = re.compile(r"timed out|Zero Bytes|Connection reset|Unexpected message", re.IGNORECASE)
#: Those that are about how many jobs there are, or are in one array: fewer may be taken.
_TOO_MANY = re.compile(r"JobLimit|SubmitJob|job submit limit|Invalid job array specification", re.IGNORECASE)
#: The key of a site's file that a refusal is about.
_ABOUT = {
    r"partition name|invalid partition": "options.partition",
    r"job array specification|SubmitJob|job submit limit": "workers.nodes.min",
    r"account": "options.account",
    r"qos": "options.qos",
    r"feature specification": "options.constraint",
    r"reservation": "options.reservation",
    r"license": "options.licenses",
    r"generic resource|gres": "options.gres",
    r"time limit": "workers.walltime",
    r"node configuration|[Mm]emory specification|node count|more processors": "workers",
}
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


def may_pass(complaint: str) -> bool:
    """Whether the same request may well be granted a little later."""
    return bool(_TRANSIENT.search(complaint))


def hand_in(site: Site, access: Access, cluster: str | None, job: Job, script: str, arguments: Sequence[str]) -> str:
    """The id of what sbatch took; SubmitError with its complaint where it did not."""
    done = slurm(access, ["sbatch", "--parsable", *arguments], stdin=script.encode(), timeout_s=120)
    given, said = submitted(done.text), complaint(done)
    if done.code == 0 and given is not None:
        job_id, where = given
        if where and where != cluster:
            _disown(site, access, job, job_id, where)
        return job_id
    if done.code == 0 or given is not None or _LOST.search(said):
        told = " ".join(done.text.split())[:200]
        said = f"{said}; it wrote {told!r}" if told else said
        advice = f"`squeue --name={job_name(job.name)}` shows whether it did; else try again later"
        raise LostAnswer(f"{access}: sbatch does not say whether it took job {job.name!r}: {said} ({advice})")
    raise _refusal(site, access, job, said)


def dry_run(site: Site, access: Access, job: Job, script: str, arguments: Sequence[str]) -> str:
    """What `sbatch --test-only` says, which takes no job; SubmitError with its complaint where it would not."""
    done = slurm(access, ["sbatch", "--test-only", *arguments], stdin=script.encode(), timeout_s=120)
    if done.code != 0:
        raise _refusal(site, access, job, complaint(done))
    starts = re.search(r"to start at \S+ .*", complaint(done))
    return f"sbatch would take it{f', {starts[0]}' if starts else ''}"


def _refusal(site: Site, access: Access, job: Job, said: str) -> SubmitError:
    transient = may_pass(said)
    mend = next((key for pattern, key in _ABOUT.items() if re.search(pattern, said)), "")
    if job.controller and mend == "options.partition" and site.options.get("controller_partition"):
        mend = "options.controller_partition"
    where = f"{mend} of site {site.name!r}" if mend else f"site {site.name!r}"
    advice = "try again later" if transient else f"`explain` shows the script; mend {where}"
    return SubmitError(
        f"{access}: sbatch refused job {job.name!r}: {said} ({advice})",
        transient=transient,
        too_many=bool(_TOO_MANY.search(said)),
        mend=mend,
    )


def cancel(access: Access, cluster: str | None, ids: Sequence[str]) -> None:
    """`scancel`; Unavailable where Slurm does not answer. Jobs that have ended, or never were, are no error."""
    done = slurm(access, ["scancel", *([f"--clusters={cluster}"] if cluster else []), *ids])
    if done.code != 0 and may_pass(said := complaint(done)):
        raise Unavailable(f"{access}: scancel: {said}; the jobs may go on: cancel again later")


def ages(access: Access, cluster: str | None, name: str) -> dict[str, float]:
    """Ids of a user's jobs of a name -> seconds since they were submitted, by the site's clock."""
    done = access.run(["sh", "-c", _FIND, "sh", name, cluster or ""])
    if done.code != 0:
        raise Unavailable(f"{access}: squeue: {complaint(done)}")
    found = {}
    try:
        lines = [line.strip() for line in done.text.splitlines()]
        now, *jobs = [line for line in lines if line and not line.startswith("CLUSTER:")]
        for job_id, at in map(str.split, jobs):
            if _ID.fullmatch(job_id):
                found[job_id] = (datetime.fromisoformat(now) - datetime.fromisoformat(at)).total_seconds()
    except (ValueError, TypeError) as error:  # the latter for one time with its zone and one without
        raise Unavailable(f"{access}: squeue: no valid answer of Slurm: {done.text[:200]!r}") from error
    return found


def _disown(site: Site, access: Access, job: Job, job_id: str, cluster: str) -> None:
    """Refuse a job that is where no poll would look for it."""
    named = site.options.get("cluster")
    wanted = f"the cluster {named!r} (options.cluster)" if named else "no cluster"
    try:
        cancel(access, cluster, [job_id])
        became = "it is cancelled"
    except Unavailable as error:
        became = f"it may still be there: {error}"
    raise SubmitError(
        f"{access}: sbatch gave job {job.name!r} to the cluster {cluster!r} as {job_id}, and site "
        f"{site.name!r} names {wanted}; {became}. Write `options: {{cluster: {cluster}}}` to use that one"
    )
