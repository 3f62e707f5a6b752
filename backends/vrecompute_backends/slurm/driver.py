"""`SlurmBackend`: jobs of one Slurm cluster, spoken to by its own commands on this machine or behind ssh.

Everything a job leaves on the site lies in one folder, the spool, under names made of its id:

    slurm-ID.out           what it wrote                            (ID is 123, or 123_4 in an array)
    ID.ATTEMPT.end         the exit code of a command that ended by itself: the completion marker
    secrets-DIGEST-INDEX/  its secret files, mode 0700, while it lives

What is older than 60 days goes: also the secrets of a job that never began, of a client that was killed.

A poll asks for any number of jobs with one command. A marker is believed before squeue, squeue before
sacct, and a job that none of them mentions is UNKNOWN, until all of them have answered so for long enough.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pydantic import ValidationError

from vrecompute.batch.budget import Budget
from vrecompute.batch.contract import (
    Cluster,
    Finding,
    Job,
    JobId,
    JobStatus,
    State,
    latest,
)
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.tls import TLS_FILE
from vrecompute.errors import SiteError, Unavailable
from vrecompute.sites.access import Access, open_access
from vrecompute.sites.limits import SiteLimits
from vrecompute.sites.model import Site
from vrecompute.sites.onsite import shell_word
from vrecompute_backends.slurm.options import SlurmOptions
from vrecompute_backends.slurm.poll import Answer
from vrecompute_backends.slurm.probe import slurm_answers
from vrecompute_backends.slurm.record import Record
from vrecompute_backends.slurm.rules import slurm_rules
from vrecompute_backends.slurm.script import render, secrets_folder
from vrecompute_backends.slurm.states import is_unclear, status_of
from vrecompute_backends.slurm.status import StatusQuery
from vrecompute_backends.slurm.step import step
from vrecompute_backends.slurm.submit import Submissions

__all__ = ["SlurmBackend"]

_ID = re.compile(r"[0-9]+(_[0-9]+)?")
#: {folder} is a word made by `shell_word`: the spool as the site's own shell sees it. What is too old in it goes.
_SPOOL = (
    "umask 077 && mkdir -p -- {folder} && cd -- {folder} && "
    "{{ find . -maxdepth 1 -mtime +{days} "
    "\\( -name 'slurm-*.out' -o -name '*.end' -o -name 'vre-*.json' -o -name 'secrets-*' \\) "
    "-exec rm -rf -- {{}} + 2> /dev/null || :; }} && pwd"
)
#: $1 a folder without its number, $2 how many there shall be; folder 0 is there.
_COPIES = 'i=1; while [ "$i" -lt "$2" ]; do rm -rf -- "$1-$i" && cp -Rp -- "$1-0" "$1-$i" || exit 1; i=$((i+1)); done'
#: How long a job that ended badly waits for accounting to say why, before squeue's word is taken for it; and how
#: long one that was killed, for its memory or not, while accounting is silent.
_ACCOUNTING_S, _SILENCE_S = 30.0, 300.0
#: How long, and how often in a row, a job must be unknown to all that answer before it is over: without accounting
#: only slurmctld may lag, else a slurmdbd may that has much to catch up with.
_GONE_S, _GONE_ACCOUNTED_S, _GONE_LOOKS = 30.0, 600.0, 3
_MOST_IDS = 5000
#: What jobs left in the spool is removed when a process first uses it and it is older than this.
_KEPT_DAYS = 60


class SlurmBackend(QueueBackend):
    """Slurm by `sbatch`, `squeue`, `sacct` and `scancel`; nothing runs before the first call."""

    options_model = SlurmOptions
    site_rules = staticmethod(slurm_rules)

    def __init__(self, site: Site, access: Access | None = None) -> None:
        self.site = site
        try:
            self.options = SlurmOptions.model_validate(dict(site.options))
        except ValidationError as error:
            wrong = [(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ")) for e in error.errors()]
            told = "; ".join(f"options.{key}: {why}" for key, why in wrong)
            raise SiteError(f"site {site.name!r}: {told}") from error
        self.whole_node = self.options.whole_node
        self.access = access if access is not None else open_access(site)
        self.budget = Budget(site.limits.core_hours, site.workers.cores, SiteLimits(site).job_s())
        self.submissions = Submissions(site, self.access, self.options.cluster)
        self.query = StatusQuery(site, self.options, self.access)
        self._folder: str | None = None
        self._known: dict[JobId, JobStatus] = {}
        self._ended: dict[JobId, float] = {}
        self._cancelled: set[JobId] = set()
        self._missed: dict[JobId, tuple[float, int]] = {}
        self._silent = float("-inf")
        self._secrets: dict[JobId, list[str]] = {}
        self._litter: list[str] = []
        self._asked = float("-inf")

    def script(self, job: Job) -> str:
        """The script that `submit` gives to sbatch on its standard input."""
        return render(job, self.site, self.options)

    def submit(self, job: Job) -> JobId:
        """Submit one job; `SubmitError` carries what sbatch said, and whether trying later makes sense."""
        return self._remember(self._hand_in(job, 1), job)

    def submit_many(self, job: Job, count: int) -> list[JobId]:
        """Submit `count` copies as one array (`options.array`), or one by one."""
        if count < 2:
            return [self.submit(job) for _ in range(count)]
        if not self.options.array:
            return super().submit_many(job, count)
        master = self._hand_in(job, count, f"--array=0-{count - 1}")
        return [self._remember(f"{master}_{index}", job, index) for index in range(count)]

    def poll(self, ids: Sequence[JobId]) -> dict[JobId, JobStatus]:
        """One command for all; between two of them lie at least `limits.min_poll` seconds, filled from memory."""
        asked = list(dict.fromkeys(ids))
        open_ids = [i for i in asked if i not in self._known or not self._known[i].state.terminal]
        if open_ids and time.monotonic() - self._asked >= self.site.limits.min_poll:
            for start in range(0, len(open_ids), _MOST_IDS):
                self._ask(open_ids[start : start + _MOST_IDS])
            self._asked = time.monotonic()
        return {i: self._status(i) for i in asked}

    def cancel(self, ids: Iterable[JobId]) -> None:
        """`scancel`, and their secrets go; jobs that have ended, or never were, are no error."""
        with contextlib.suppress(Unavailable):
            self.submissions.settle()
        wanted = [i for i in ids if _ID.fullmatch(i)]
        if not wanted:
            return
        self.submissions.cancel(wanted)
        # of a job of another process, those secrets are known whose folder its id names
        for job_id in map(JobId, wanted):
            self._secrets.setdefault(job_id, [f"{self.spool}/secrets-tls-{job_id}"])
        self._cancelled.update(map(JobId, wanted))
        self._sweep(wanted)

    def logs(self, job_id: JobId) -> str:
        """What the job wrote, from its file in the spool."""
        if not _ID.fullmatch(job_id):
            return ""
        content = self.access.get(f"{self.spool}/slurm-{job_id}.out")
        return (content or b"").decode(errors="replace")

    def open_cluster(self, workers: int) -> Cluster:
        """Workers in jobs of their own; the scheduler runs where the site says."""
        from vrecompute.batch.cluster import open_queue_cluster

        return open_queue_cluster(self, workers)

    def check_cluster(self, workers: int) -> None:
        """What the site's file and this installation say against it."""
        from vrecompute.batch.cluster import check_cluster

        check_cluster(self, workers)

    def describe(self, workers: int) -> str:
        """The scripts of a live cluster's jobs; the scheduler's address and keys exist once it runs."""
        from vrecompute.batch.scheduler_job import scheduler_job, workers_beside
        from vrecompute.batch.worker_jobs import worker_job

        jobs = []
        tls = self.site.network.tls
        keys = {TLS_FILE: b"made when the run starts"} if tls else {}
        if self.site.scheduler_runs == "allocation":
            jobs.append(scheduler_job(self, "vre-scheduler", workers, keys))
        if workers > workers_beside(self, workers):
            jobs.append(worker_job(self, f"{'tls' if tls else 'tcp'}://SCHEDULER:PORT", "vre-0", keys))
        return "\n".join(map(self.script, jobs))

    def probe(self) -> list[Finding]:
        """Whether Slurm answers, and if so what a probe job through the real queue finds."""
        from vrecompute.batch.probe import probe

        found = slurm_answers(self.access)
        return [found, *probe(self)] if found.ok else [found]

    def step(self, nodes: int) -> list[str]:
        """Nothing, or srun, as `options.launcher` says."""
        return step(self.options.launcher, nodes, self.site.workers.cores)

    @property
    def spool(self) -> str:
        """The spool's absolute path on the site; made on first use, mode 0700."""
        if self._folder is None:
            scratch = self.site.stage.scratch
            folder = shell_word(f"{scratch}/jobs" if scratch else "~/.local/state/vrecompute/slurm")
            # a login shell, since $SCRATCH and its like are set by the site's profile
            done = self.access.run(["bash", "-l", "-c", _SPOOL.format(folder=folder, days=_KEPT_DAYS)])
            path = done.text.strip().splitlines()[-1:] or [""]
            if done.code != 0 or not path[0].startswith("/"):
                raise Unavailable(f"{self.access}: cannot make the folder {folder} for jobs: {done.complaint}")
            self._folder = path[0]
        return self._folder

    def _hand_in(self, job: Job, count: int, *arguments: str) -> str:
        """Deliver secret files and submit; of what is not submitted, none stays."""
        script = self.script(job)
        folders = self._folders(job, count)
        try:
            self._deliver(job, count)
            return self.submissions.submit(job, script, [f"--chdir={self.spool}", *arguments])
        except BaseException:
            self._delete(folders)
            raise

    def _deliver(self, job: Job, count: int) -> None:
        if not (folder := secrets_folder(job)):
            return
        for name, content in job.secret_files.items():
            self.access.put(f"{self.spool}/{folder}-0/{name}", content, mode=0o600)
        if count > 1:  # each job deletes its own
            done = self.access.run(["sh", "-c", _COPIES, "sh", f"{self.spool}/{folder}", str(count)])
            if done.code != 0:
                raise Unavailable(f"{self.access}: cannot deliver secret files to {self.spool}: {done.complaint}")

    def _remember(self, job_id: str, job: Job, index: int = 0) -> JobId:
        self._known[JobId(job_id)] = JobStatus(State.QUEUED)
        folders = self._folders(job, index + 1)[index:]
        folders += [f"{self.spool}/secrets-tls-{job_id}"] if job.workers else []
        if folders:
            self._secrets[JobId(job_id)] = folders
        return JobId(job_id)

    def _folders(self, job: Job, count: int) -> list[str]:
        """Where the secret files of so many copies of a job go."""
        folder = secrets_folder(job)
        return [f"{self.spool}/{folder}-{index}" for index in range(count)] if folder else []

    def _sweep(self, ids: Iterable[JobId]) -> None:
        """Delete secrets of jobs submitted here that could not do it: they never started, or died with their node."""
        self._delete([path for i in ids for path in self._secrets.pop(i, [])])

    def _delete(self, paths: Sequence[str]) -> None:
        """Delete now, or with the next that is deleted; they are in a folder that only their owner can enter."""
        self._litter += paths
        if self._litter:
            with contextlib.suppress(Unavailable, OSError):
                self.access.delete(*self._litter)
                self._litter.clear()

    def _ask(self, ids: Sequence[JobId]) -> None:
        """Update what is known of these ids; silence, from Slurm or from the site, changes nothing."""
        named = [i for i in ids if _ID.fullmatch(i)]
        try:
            answer = self.query.ask(self.spool, named) if named else Answer({})
        except Unavailable:
            self._silent = time.monotonic()
            return
        if answer.silent:
            self._silent = time.monotonic()
        for job_id, record in answer.records.items():
            self._missed.pop(JobId(job_id), None)
            self._learn(JobId(job_id), record)
        for job_id in answer.gone:
            self._miss(JobId(job_id), accounting=answer.accounting)
        with contextlib.suppress(Unavailable):
            self.submissions.settle()
        self._sweep(
            [i for i in named if self._status(i).state.terminal and self._status(i).state is not State.COMPLETED]
        )

    def _status(self, job_id: JobId) -> JobStatus:
        return self._known.get(job_id, JobStatus(State.UNKNOWN))

    def _learn(self, job_id: JobId, record: Record) -> None:
        seen = status_of(record)
        if (
            seen.state.terminal
            and seen.blame != "none"
            and not record.explained
            and self._may_be_explained(job_id, record)
        ):
            # a terminal state cannot be taken back
            seen = replace(seen, state=State.RUNNING, reason=f"job {job_id} has ended; Slurm does not say why yet")
        self._known[job_id] = latest(self._known.get(job_id), seen)

    def _miss(self, job_id: JobId, *, accounting: bool) -> None:
        """No source knows the job. It has ended if that stays so: an answer may lag."""
        now = time.monotonic()
        since, looks = self._missed.get(job_id, (now, 0))
        self._missed[job_id] = since, looks + 1
        if looks + 1 < _GONE_LOOKS or now - since < (_GONE_ACCOUNTED_S if accounting else _GONE_S):
            return
        known = "neither Slurm nor its accounting knows it" if accounting else "Slurm keeps no accounting"
        reason = (
            f"NODE_FAIL: job {job_id} has ended without an exit code and is in no queue; {known}. Its walltime, a "
            "failure of its node or `scancel` may have ended it"
        )
        attempt = self._status(job_id).attempt
        self._known[job_id] = latest(self._known.get(job_id), JobStatus(State.NODE_FAIL, attempt, reason))

    def _may_be_explained(self, job_id: JobId, record: Record) -> bool:
        """Whether accounting may still be writing down why the job ended, or be about to come back and say it."""
        if job_id in self._cancelled and record.state.startswith("CANCELLED"):
            return False
        now = time.monotonic()
        first = self._ended.setdefault(job_id, now)
        asked = max(first, self._silent) if is_unclear(record) else first
        return now - asked < _ACCOUNTING_S and now - first < _SILENCE_S
