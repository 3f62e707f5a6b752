"""Slurm's commands: how they are called, what they are given about jobs of ours, and what their answers mean.

They are free of the settings of the shell that calls them. A module, a profile, or the job that this very process runs
in may set `SBATCH_PARTITION`, `SQUEUE_STATES` or `SLURM_JOB_ID`: they override what the script says, hide jobs from a
poll, or reach the job as if they were its own.

sbatch may say that it timed out when slurmctld has taken the job, and a site's own sbatch may greet its users so that
no id is beyond doubt: these are lost answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from vrecompute.batch.complaints import Complaints
from vrecompute.batch.contract import Job, SubmitError
from vrecompute.batch.late_start import Reserved, late_start
from vrecompute.batch.questions import Questions
from vrecompute.batch.queue_backend import QueueBackend, StartsLate
from vrecompute.batch.shape import job_name
from vrecompute.batch.taken import taken_as
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Access, Completed
from vrecompute_backends.slurm.rules import asked_by

__all__ = ["FORGET", "ages", "cancel", "complaint", "dry_run", "hand_in", "slurm", "submitted"]

#: Shell text, here and over ssh alike. What says where Slurm is, and who asks, stays.
FORGET = r"""
names=$(awk 'BEGIN {
  for (name in ENVIRON)
    if (name ~ /^_?(SLURM|SBATCH|SRUN|SALLOC|SQUEUE|SACCT|SCANCEL|SINFO|SCONTROL|SPANK)_[A-Za-z0-9_]+$/ &&
        name !~ /^SLURM_(CONF|CONF_SERVER|JWT)$/) print name
}') && unset -v $names
"""
_SPOKEN = re.compile(r"(?:sbatch|scancel|squeue|sacct|sinfo|slurm[a-z_]*)[: ]", re.IGNORECASE)
#: What `sbatch --parsable` answers, and what it says without, as it may where a site puts its own before it.
_PARSABLE = re.compile(r"([0-9]+)(?:;([A-Za-z0-9_.-]+))?")
_SENTENCE = re.compile(r"Submitted batch job ([0-9]+)(?: on cluster ([A-Za-z0-9_.-]*[A-Za-z0-9_-]))?")
_ID = re.compile(r"[0-9]{1,18}")
_COMPLAINTS = Complaints(
    command="sbatch",
    shown="the script",
    passing=re.compile(
        r"contact slurm controller|timed out|Zero Bytes|temporar|try again|Connection refused|JobLimit|SubmitJob|"
        r"Job violates accounting/QOS policy|slurmdbd|Slurm backup controller in standby",
        re.IGNORECASE,
    ),
    # of the job itself: no end of another changes it
    lasting=re.compile(r"Max\w+Per(?:Job|Node)|QOSMin\w+|MaxWall\w*|that limit allows none"),
    lost=re.compile(r"timed out|Zero Bytes|Connection reset|Unexpected message", re.IGNORECASE),
    # in the queue, or in one array
    too_many=re.compile(r"JobLimit|SubmitJob|job submit limit|Invalid job array specification", re.IGNORECASE),
    about={
        r"partition name|invalid partition|partition not available": "options.partition",
        r"job array specification|SubmitJob|job submit limit": "workers.nodes.min",
        r"account": "options.account",
        r"qos": "options.qos",
        r"feature specification": "options.constraint",
        r"reservation": "options.reservation",
        r"license": "options.licenses",
        r"generic resource|gres": "options.gres",
        r"time limit": "workers.walltime",
        r"node configuration|[Mm]emory specification|node count|more processors": "workers",
        r"[Cc]luster '": "options.cluster",
    },
)
#: About how many jobs one user has in the queue, nobody else's.
_OWN_LIMIT = re.compile(r"QOSMaxSubmitJobPerUser|AssocMaxSubmitJob")
#: $1 a name, $2 a cluster or nothing. First what time it is there, then a line a job: the id (an array's own), and
#: when it was submitted.
_FIND = """
export SLURM_TIME_FORMAT=standard
date +%Y-%m-%dT%H:%M:%S || exit 1
exec squeue --noheader --states=all --format="%F %V" --user="$(id -un)" --name="$1" ${2:+"--clusters=$2"}
"""
#: First what time it is there, then a line a reservation.
_RESERVATIONS = """
export SLURM_TIME_FORMAT=standard
date +%Y-%m-%dT%H:%M:%S || exit 1
scontrol --oneliner show reservation
"""
_RESERVED = re.compile(r"ReservationName=(\S+) StartTime=([0-9]\S+) EndTime=([0-9]\S+)")


def slurm(access: Access, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
    """Run one command of Slurm to its end. Unavailable where it cannot be run, is not there, or takes too long."""
    done = access.run(["sh", "-c", FORGET + 'exec "$@"', "sh", *command], stdin=stdin, timeout_s=timeout_s)
    if done.absent:
        raise Unavailable(
            f"{access}: command {command[0]!r} was not found; let `access` of the site name a machine that has Slurm"
        )
    return done


def complaint(done: Completed) -> str:
    """What a command of Slurm complained of, on one line, without the greetings that a site puts around it."""
    spoken = [line for line in done.complaints if _SPOKEN.match(line)]
    return " ".join(" ".join(spoken).split()) or done.complaint or f"exit code {done.code}"


def submitted(text: str) -> tuple[str, str] | None:
    """(id, cluster or "") of the job that sbatch took, whatever a site prints around it; None where that is in doubt.

    >>> submitted("Welcome!\\n4711\\n"), submitted("4711;beta"), submitted("Submitted batch job 4711 on cluster beta")
    (('4711', ''), ('4711', 'beta'), ('4711', 'beta'))
    >>> submitted("2026\\n4711\\n") is None
    True
    """
    return taken_as(text, _PARSABLE, [_SENTENCE])


def hand_in(backend: QueueBackend, job: Job, script: str, count: int) -> str:
    """The id of what sbatch took; SubmitError with its complaint where it did not."""
    done = _sbatch(backend, "--parsable", script, count)
    given, said = submitted(done.text), complaint(done)
    if done.code == 0 and given is not None:
        job_id, where = given
        if where and where != backend.options.cluster:
            raise _COMPLAINTS.elsewhere(backend, job, job_id, where, lambda: cancel(backend.access, where, [job_id]))
        return job_id
    if done.code == 0 or given is not None or _COMPLAINTS.lost.search(said):
        told = " ".join(done.text.split())[:200]
        said += f"; it wrote {told!r}" if told else ""
        advice = f"`squeue --name={job_name(job.name)}` shows whether it did; else try again later"
        raise _COMPLAINTS.lost_answer(backend, job, f"{said} ({advice})")
    raise _refusal(backend, job, said, count)


def dry_run(backend: QueueBackend, job: Job, script: str, count: int) -> str:
    """What `sbatch --test-only` says, which takes no job; SubmitError with its complaint where it would not."""
    done = _sbatch(backend, "--test-only", script, count)
    if done.code != 0:
        raise _refusal(backend, job, complaint(done), count)
    starts = re.search(r"to start at (\S+) .*", complaint(done))
    said = f"sbatch would take it{f', {starts[0]}' if starts else ''}"
    if starts and (late := _late_start(backend, starts[1], said)) is not None:
        raise late
    return said


def _late_start(backend: QueueBackend, starts: str, said: str) -> StartsLate | None:
    try:
        now, *lines = backend.access.run(["sh", "-c", _RESERVATIONS]).text.splitlines()
        found = [each.groups() for line in lines if (each := _RESERVED.search(line))]
        reserved = [Reserved(name, datetime.fromisoformat(b), datetime.fromisoformat(e)) for name, b, e in found]
        at = datetime.fromisoformat(starts)
        return late_start(
            said, at, datetime.fromisoformat(now.strip()), reserved, asked_by(backend.site, "begin time", "")
        )
    except (Unavailable, ValueError, TypeError):  # a time in the user's own format
        return None


def _sbatch(backend: QueueBackend, how: str, script: str, count: int) -> Completed:
    command = ["sbatch", how, f"--chdir={backend.spool}", *([f"--array=0-{count - 1}"] if count > 1 else [])]
    return slurm(backend.access, command, stdin=script.encode(), timeout_s=120)


def _refusal(backend: QueueBackend, job: Job, said: str, count: int) -> SubmitError:
    if count == 1 and _OWN_LIMIT.search(said) and _has_no_job(backend):
        said += "; you have no job in the queue, so that limit allows none"
    mend = asked_by(backend.site, said, _COMPLAINTS.mend(said), count)
    return _COMPLAINTS.refusal(backend, job, said, mend)


def _has_no_job(backend: QueueBackend) -> bool:
    """Whether the user has none in the queue, as far as Slurm says so."""
    cluster = [f"--clusters={backend.options.cluster}"] if backend.options.cluster else []
    try:
        me = backend.access.run(["id", "-un"]).text.strip()
        done = slurm(backend.access, ["squeue", "--noheader", f"--user={me}", "--format=%i", *cluster])
    except Unavailable:
        return False
    return done.code == 0 and not re.search(r"^\s*[0-9]", done.text, re.MULTILINE)


def cancel(access: Access, cluster: str | None, ids: Sequence[str]) -> None:
    """`scancel`; Unavailable where Slurm does not answer. Jobs that have ended, or never were, are no error."""
    done = slurm(access, ["scancel", *([f"--clusters={cluster}"] if cluster else []), *ids])
    _COMPLAINTS.cancelled(access, "scancel", done, complaint(done))


def ages(access: Access, cluster: str | None, name: str) -> dict[str, float]:
    """Ids of a user's jobs of a name -> seconds since they were submitted, by the site's clock."""
    question = ["sh", "-c", FORGET + _FIND, "sh", name, cluster or ""]
    told = Questions(access, access.run, complaint).needed(question, by="squeue")
    lines = [line.strip() for line in told.splitlines()]
    try:
        now, *jobs = [line for line in lines if line and not line.startswith("CLUSTER:")]
        began = {job_id: datetime.fromisoformat(at) for job_id, at in map(str.split, jobs) if _ID.fullmatch(job_id)}
        return {job_id: (datetime.fromisoformat(now) - at).total_seconds() for job_id, at in began.items()}
    except (ValueError, TypeError) as error:  # the latter for one time with its zone and one without
        raise Unavailable(f"{access}: squeue: no valid answer of Slurm: {told[:200]!r}") from error
