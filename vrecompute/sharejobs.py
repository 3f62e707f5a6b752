"""`ShareJobs`: a detached run of many independent jobs, each of which computes a static share of its chunks.

    runs/<run>/jobs/<n>.json          a submission: jobs, their shares and memory, how earlier jobs of these ended
    runs/<run>/rounds/<n>-<k>.json    a client submits what lacks, and others leave it to that

The first submission is of all shares at once. Once all jobs have ended, a client that waits for the run, attaches to it
or asks for its result merges what they left, in its process; what lacks it submits again, until that is of no use.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from vrecompute.analysis import Analysis
from vrecompute.batch.contract import Backend, Job, JobId, JobStatus, State
from vrecompute.batch.detached_job import share_job
from vrecompute.batch.post_mortem import log_ends
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.together import together
from vrecompute.detach import Detached
from vrecompute.errors import OutOfTime, StoreError, Unavailable, UsageError
from vrecompute.execution.carriedstore import carried_objects
from vrecompute.execution.explain import Explanation, threads_that_fit
from vrecompute.execution.failure import Failure
from vrecompute.execution.gathered import Gathered, gathered
from vrecompute.execution.head import tell
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.merger import Merger
from vrecompute.execution.parts import stored_parts
from vrecompute.execution.plan import Plan, read_plan
from vrecompute.execution.progress import Progress
from vrecompute.execution.runlog import cancel_requested
from vrecompute.execution.share import ShareEnd, share_ends, shared_plan_name
from vrecompute.execution.sharerunner import died_at
from vrecompute.execution.trust import sha256_kept
from vrecompute.records import from_data
from vrecompute.sites.limits import SiteLimits
from vrecompute.sites.model import Site
from vrecompute.stores.base import Store
from vrecompute.stores.objects import read_document, write_document

__all__ = ["ShareJobs", "jobs_of", "number_of_shares"]

# So many ends that are charged to a share give it up; so do so many submissions in a row that made no part.
_DEATHS, _IDLE = 3, 3
_EMPTY = 2  # and jobs that ended well and left nothing: what they make would not come here the next time either
# How long a store may take to show what a job wrote that ended well, and a client to submit what it said it would.
_LAG_S, _CLAIM_S = 70.0, 600.0
# How long a site may not give what jobs brought back.
_SILENT_S = 600.0
_ADVICE = {
    "memory": "raise `workers.max_memory`, or use a smaller --chunk-bytes",
    "lost": "what is finished is kept: run again later, or look at `vrecompute runs logs`",
}
_NOTHING_BACK = "the driver of site {site!r} brings back nothing that jobs make; run it live, or mend the driver"
_NOTHING_HERE = (
    "what they write is not seen here: set `store.workers_reach: false` if jobs of site {site!r} see another folder"
)


@dataclass(frozen=True)
class _Submission:
    """`jobs` compute `shares`, in their order. `charged` are ends of earlier jobs of a share that were its own fault.

    `made` is how many parts of the work there were, `idle` how many submissions before made none.
    """

    job: str
    site: str
    submitted: float
    name: str
    jobs: tuple[str, ...]
    shares: tuple[int, ...]
    walltime_s: int | None
    memory_bytes: int | None
    charged: Mapping[str, tuple[str, ...]]
    made: int
    idle: int


class _Try(NamedTuple):
    """How a share is to be submitted again."""

    memory_bytes: int | None
    one_by_one: bool
    charged: tuple[str, ...]


_FIRST = _Try(None, one_by_one=False, charged=())


@dataclass(frozen=True)
class ShareJobs(Detached):
    """The jobs of one run of `manifest.shares` shares."""

    _read: dict[str, _Submission] = field(default_factory=dict, repr=False, compare=False)
    _ends: dict[str, ShareEnd] = field(default_factory=dict, repr=False, compare=False)
    _plans: list[Plan] = field(default_factory=list, repr=False, compare=False)
    _over_at: list[float] = field(default_factory=list, repr=False, compare=False)

    def job(
        self, workers: int | None, walltime_s: int | None, digest: str, carried: Mapping[str, bytes] | None = None
    ) -> Job:
        """The job of each share; it reads which one from its number among the copies."""
        del workers
        return self._job(range(self.manifest.shares), 0, walltime_s, digest, carried)

    def submit(
        self, workers: int | None = None, walltime_s: int | None = None, analysis: Analysis | None = None
    ) -> JobId:
        """Submit all shares at once; the id of the first. SubmitError where the batch system refuses them."""
        del workers
        self._hand_in(dict.fromkeys(range(self.manifest.shares), _FIRST), walltime_s, 0, 0, analysis)
        return self.ids()[0]

    def settle(self) -> list[JobId]:
        """Ids of its latest jobs; jobs of a submission that no client could keep are cancelled: it is made again."""
        name = f"vre-{self.manifest.run}-{len(self._submissions())}"
        names = [name, *(f"{name}-{index}" for index in range(self.manifest.shares))]
        if isinstance(self.backend, QueueBackend) and self.backend.array:
            strays = [job for each in self.backend.named(name) for job in self.backend.copies(each, len(names) - 1)]
        else:
            strays = [job for each in names for job in self.backend.named(each)]
        if strays:
            self.backend.cancel(strays)
        return [job for job, _ in self._current().values()]

    def ids(self) -> list[JobId]:
        """Native ids of all jobs that the run ever had."""
        return [JobId(job) for submission in self._submissions() for job in submission.jobs]

    def status(self) -> JobStatus:
        """What the batch system says of the latest job of each share, together."""
        status = together(list(self._polled().values()))
        if not status.state.terminal:
            return status
        self._all_taken_back()  # also of a run that was cancelled, which nobody may attach to
        if cancel_requested(self.store, self.manifest.run):
            return replace(status, state=State.CANCELLED)
        advice = f"; `vrecompute runs attach {self.manifest.run}` merges what they made, or submits what lacks"
        return replace(status, reason=status.reason + advice)

    def told_by(self) -> JobId | None:
        """The first job that ended badly; else the first."""
        polled = self._polled()
        jobs = self._current()
        bad = [jobs[share][0] for share, status in polled.items() if status.blame != "none"]
        return next(iter(bad or [job for job, _ in jobs.values()]), None)

    def progress(self) -> Progress:
        """How far its shares are, by those that have ended."""
        status = together(list(self._polled().values()))
        ends, _ = share_ends(self.store, self.manifest, self._ends)
        if status.state in {State.QUEUED, State.HELD} and not ends:
            return Progress("queued", waiting=status.reason, waiting_for="workers")
        if not self._plans:
            with contextlib.suppress(StoreError):
                self._plans.append(read_plan(self.store, shared_plan_name(self.manifest)))
        plan = self._plans[0] if self._plans else None
        return Progress(
            "work",
            sum(end.chunks for end in ends.values()),
            plan.chunks if plan else 0,
            sum(end.events for end in ends.values()),
            plan.events if plan else 0,
            failures=len({failure for end in ends.values() for failure in end.failures}),
            jobs=status.reason,
        )

    def take_up(self, analysis: Callable[[], Analysis]) -> bool:
        """Once all jobs have ended, merge what they left, or submit again what lacks; whether more is to be waited for.

        Raises what submitting raises, and UntrustedRun.
        """
        polled, run = self._polled(), self.manifest.run
        over = bool(polled) and together(list(polled.values())).state.terminal
        if not over or cancel_requested(self.store, run):
            return False
        self._over_at[:] = self._over_at or [time.monotonic()]
        waited_s = time.monotonic() - self._over_at[0]
        if not self._all_taken_back():
            if waited_s > _SILENT_S:
                raise Unavailable(f"site {self.site.name!r} does not give what the jobs of run {run} brought back")
            return True
        ends, _ = share_ends(self.store, self.manifest, self._ends)
        unseen = [share for share, job in polled.items() if job.state is State.COMPLETED and share not in ends]
        if unseen and waited_s < _LAG_S:
            return True
        found = gathered(self.store, self.manifest)
        needed = found.needed()
        again, lost = self._judged(found, {share: polled[share] for share in needed})
        if again:
            self._submit_again(found, again, analysis)
            self._over_at.clear()
            return True
        Merger(self.store, analysis(), found, lost).execute()
        return False

    def logs(self) -> str:
        """What jobs that ended badly wrote, the first three of them; else the first job's."""
        polled, current = self._polled(), self._current()
        bad = [share for share, status in polled.items() if status.blame != "none"][:3]
        told = {share: current[share][0] for share in bad or list(current)[:1]}
        return "\n".join(f"---- share {share}, job {job}\n{self.backend.logs(job)}" for share, job in told.items())

    def _job(
        self,
        shares: Sequence[int],
        number: int,
        walltime_s: int | None,
        digest: str,
        carried: Mapping[str, bytes] | None = None,
        again: _Try | None = None,
    ) -> Job:
        self.check()
        workers, count = self.site.workers, self.manifest.shares
        again = again or _FIRST
        memory = again.memory_bytes or workers.memory
        threads = threads_that_fit(workers.cores, memory, self.manifest.settings.chunk_bytes)
        which = "$VRECOMPUTE_INDEX" if len(shares) == count else ",".join(map(str, shares))
        command = (*self.command(digest), "--share", f"{which}/{count}", "--workers", str(threads))
        job = share_job(
            self.site,
            name=f"vre-{self.manifest.run}-{number}",
            command=(*command, *(["--one-by-one"] if again.one_by_one else [])),
            shares=len(shares),
            memory_bytes=memory,
            walltime_s=walltime_s,
            labels=self.labels,
        )
        if isinstance(self.backend, QueueBackend):
            job = replace(job, step=tuple(self.backend.step(1, workers.cores)))
        return replace(job, carried=carried or {} if self._carries else None)

    def _hand_in(
        self, again: Mapping[int, _Try], walltime_s: int | None, made: int, idle: int, analysis: Analysis | None
    ) -> None:
        """Submit shares, those alike at once, and remember their jobs."""
        digest = sha256_kept(self.store, self.manifest)
        carried = carried_objects(self.store, self.manifest, analysis) if self._carries else None
        for kind in dict.fromkeys((t.memory_bytes, t.one_by_one) for t in again.values()):
            shares = [share for share, t in again.items() if (t.memory_bytes, t.one_by_one) == kind]
            job = self._job(shares, len(self._submissions()), walltime_s, digest, carried, again[shares[0]])
            jobs = self.backend.submit_many(replace(job, secret_files=self._secrets(job)), len(shares))
            facts = {
                "job": jobs[0],
                "name": job.name,
                "jobs": jobs,
                "shares": shares,
                "walltime_s": walltime_s,
                "memory_bytes": job.memory_bytes,
                "charged": {str(share): again[share].charged for share in shares},
                "made": made,
                "idle": idle,
            }
            self._remember(facts)
            self._merge_afterwards(jobs, job)
        with contextlib.suppress(StoreError):
            tell(self.store, self.manifest, jobs=[job for job, _ in self._current().values()])

    def _judged(self, found: Gathered, ended: Mapping[int, JobStatus]) -> tuple[dict[int, _Try], list[Failure]]:
        """Which shares to submit again, and how; and what those lack that are given up."""
        again: dict[int, _Try] = {}
        lost: list[Failure] = []
        current = self._current()
        attempts = SiteLimits(self.site).attempts(
            self.manifest.shares * self.site.workers.processes,
            SiteLimits(self.site).job_s(next(iter(current.values()))[1].walltime_s),
        )
        made = self._made(found)
        rounds = Counter(share for submission in self._submissions() for share in submission.shares)
        for share, status in ended.items():
            submission = current[share][1]
            charged, memory = submission.charged.get(str(share), ()), submission.memory_bytes
            came_further = status.exit_code == OutOfTime.exit_code
            more = SiteLimits(self.site).more_memory(memory) if status.state is State.OOM else None
            if more is None and not came_further and status.blame not in {"infrastructure"}:
                charged = (*charged, status.state.value)
            idle = 0 if made > submission.made else submission.idle + 1
            if share not in found.ends and charged.count(State.COMPLETED.value) >= _EMPTY:
                lost += found.lost(share, "lost", self._empty())
                continue
            paid_for = attempts is None or rounds[share] < attempts
            if paid_for and (more or (len(charged) < _DEATHS and (idle < _IDLE or came_further))):
                alone = not came_further and bool(charged or more)
                again[share] = _Try(more or memory, alone, charged)
                continue
            how = status.reason or f"it ended as {status.state.value}"
            how += f". {log_ends(self.backend, current[share][0])}" if status.blame == "code" else ""
            times = "once" if rounds[share] == 1 else f"{rounds[share]} times"
            unpaid = "" if paid_for else "; limits.core_hours of the site pays for no other"
            kind = "memory" if status.state is State.OOM else "lost"
            at = None
            with contextlib.suppress(Unavailable, OSError):
                at = died_at(self.backend.logs(current[share][0]))
            ended_at = "before it was done" if at is None else "at it"
            reason = f"the job of its share ended {ended_at}, {times} ({how}){unpaid}; {_ADVICE[kind]}"
            lost += found.lost(share, kind, reason, at)
        return again, lost

    def _empty(self) -> str:
        """Why a share is given up whose jobs ended well and left nothing."""
        advice = (_NOTHING_BACK if self._carries else _NOTHING_HERE).format(site=self.site.name)
        return f"{_EMPTY} jobs of its share ended with exit code 0, and nothing of them is in the store; {advice}"

    def _submit_again(self, found: Gathered, again: Mapping[int, _Try], analysis: Callable[[], Analysis]) -> None:
        """Unless another client does. UntrustedRun, before anything is said, for a run whose code is not to be run."""
        made_of, known = analysis(), self._submissions()
        if not self._claimed(len(known)) or len(self._submissions()) != len(known):
            return
        latest, made = known[-1], self._made(found)
        idle = 0 if made > latest.made else latest.idle + 1
        self._hand_in(again, latest.walltime_s, made, idle, made_of)

    def _claimed(self, number: int) -> bool:
        """Whether this client is the one that submits: one that said so long ago is gone."""
        body = {"time": time.time(), "writer": f"{socket.gethostname()}-{os.getpid()}-{time.monotonic_ns()}"}
        for k in range(1000):
            name = f"{self.manifest.prefix}rounds/{number:04}-{k}.json"
            if write_document(self.store, name, "round", body):
                return True
            said = read_document(self.store, name, "round", lambda raw: float(raw["time"]))
            if time.time() - said < _CLAIM_S:
                return False
        return False

    def _made(self, found: Gathered) -> int:
        """How many parts of the work there are."""
        if found.plan is None:
            return 0
        return sum(1 for _ in stored_parts(self.store, found.plan.work, self.manifest.run))

    def _submissions(self) -> list[_Submission]:
        """All submissions, oldest first."""
        names = list(self.store.names(f"{self.manifest.prefix}jobs"))
        for name in names:
            if name not in self._read:
                self._read[name] = read_document(self.store, name, "job", lambda raw: from_data(_Submission, raw))
        return [self._read[name] for name in names]

    def _current(self) -> dict[int, tuple[JobId, _Submission]]:
        """The latest job of each share, by its number."""
        found = {
            share: (JobId(job), submission)
            for submission in self._submissions()
            for share, job in zip(submission.shares, submission.jobs, strict=True)
        }
        return dict(sorted(found.items()))

    def _polled(self) -> dict[int, JobStatus]:
        """What the batch system says of the latest job of each share, by one query."""
        current = self._current()
        said = self.backend.poll([job for job, _ in current.values()])
        return {share: said.get(job, JobStatus(State.UNKNOWN)) for share, (job, _) in current.items()}

    def _all_taken_back(self) -> bool:
        """Whether what all jobs brought back, once they have ended, is in the store."""
        if not self._carries:
            return True
        for submission in self._submissions():
            if submission.job not in self._taken:
                self._take_back(JobId(submission.job), submission.name)
        return all(submission.job in self._taken for submission in self._submissions())


def jobs_of(backend: Backend, site: Site, store: Store, manifest: Manifest) -> Detached:
    """The job of a detached run, or the jobs of its shares."""
    return (ShareJobs if manifest.shares else Detached)(backend, site, store, manifest)


def number_of_shares(
    backend: Backend, asked: int | None, workers: int | None, explained: Callable[[], Explanation]
) -> int:
    """Into how many jobs a detached run is cut; 0 where one job holds all of its workers. UsageError for less than one.

    What is `asked`; else, where a job has one machine alone, as many as hold the `workers` that were asked for, or as
    many as the work that is known keeps busy for the time of a job, within `workers.nodes`.
    """
    if asked is not None:
        if asked < 1:
            raise UsageError(f"shares={asked}: choose at least 1, or leave it out")
        return asked
    site = backend.site
    limits, shape = SiteLimits(site), site.workers
    if backend.capabilities.spans:
        return 0
    jobs = -(-limits.workers(workers) // shape.processes)
    if workers is None and (shape.nodes.max or 1) > shape.nodes.min:
        work = explained()
        busy = limits.grown(work.chunks_new) // shape.processes
        cpu_s = (work.seconds or 0.0) * work.threads
        jobs = max(jobs, min(shape.nodes.max or 1, max(busy, int(cpu_s / (shape.cores * limits.job_s())) + 1)))
    return jobs if jobs > 1 else 0
