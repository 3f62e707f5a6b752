"""`Backend`: what a driver does for one batch system, and the words both sides use about jobs.

       Client, Runner                Backend (one per site)              the batch system

    script(job)          ->     pure: the only renderer; `explain` prints the same text
    submit(job)          ->     that text, handed over            ->   a native id
    submit_many(job, n)  ->     all or none                       ->   n ids: copies that know their number
    poll([id, ...])      ->     ONE query for any number of jobs  ->   {id: JobStatus}
                                an id that is not in the answer is UNKNOWN: never finished, never failed
    cancel([id, ...])    ->     ends every process of the job; `poll` tells what became of it
    logs(id)             ->     what the job wrote, so far, while it runs too
    open_cluster(n)      ->     n Dask workers, each in its own job or process, behind a `Cluster`:
                                  .deaths()   how the jobs of lost workers ended, by worker
                                  .lost()     why scheduler or workers are gone for good
                                  .refusal()  why another cluster would come to the same end
                                  .waiting()  why there is no worker yet
    check_cluster(n)     ->     what can be said against that beforehand
    describe(n)          ->     the scripts of that, for `explain`; pure
    probe(patience)      ->     all that would keep a run from starting: what the system says to the jobs of a run,
                                its limits, and a one-minute job that reports what a job on this site sees
    survey()             ->     queues and limits, for a first site file and for the probe

       Site                      the driver's class says

    options:             ->     `options_model`, a pydantic model; unknown keys are errors of `site check`
    keys together        ->     `site_rules(site)`: errors where no run could start, advice where a key is not used
    what it cannot do    ->     `capabilities`: such runs are refused before anything starts
    access:              ->     commands and files go through `sites.access.open_access(site)`: here, or behind ssh

A native id is a string that another process on another day can use: nothing about a job lives only in
the `Backend` that submitted it, so attaching is calling `poll` with the id.

What a job finds in its environment, besides the site's (`environment`: modules, venv, variables) and its own variables:

    VRECOMPUTE_JOB          its native id
    VRECOMPUTE_INDEX        its number among copies, from 0
    VRECOMPUTE_ATTEMPT      how often it was started before, from 0
    VRECOMPUTE_JOB_BEGAN    when this attempt began, and when its walltime ends, in seconds since 1970: workers
    VRECOMPUTE_JOB_ENDS     leave and parts are written before that
    VRECOMPUTE_SECRETS      the folder of its secret files, where it has any: each copy its own
    VRECOMPUTE_CARRIED      the folder of the files that it carries, where it does
    TMPDIR                  a folder of this job alone on its node, which goes with the job (of a queue);
    VRECOMPUTE_TMPDIR       the node's, for what is to outlive it
    DASK_*                  in jobs with workers: the scheduler's address, keys, and `dask_settings` (no spilling, no
                            profiling, a long patience with silent workers), whatever the user's own settings are

Nothing else of the submitter's environment reaches a job of a queue; on this machine jobs have the client's own.

A command that ends with exit code 75 came further and ran out of time. A job with `requeue` is then started again
under its id, as a new attempt, until `$VRECOMPUTE_JOB_ATTEMPTS` of its environment are used, if that is set.

Any method may be called from any thread, also at once: runs poll from threads of their own.

States, what they mean, and whom a bad end is charged to (see `BLAME`):

    QUEUED     accepted, not running; `reason` says why as a sentence
    HELD       will not run until it is released; `reason` says by whom or what
    RUNNING    on its nodes, or on the way there
    COMPLETED  ended by itself with exit code 0                                        -
    FAILED     ended by itself with another exit code                                  code
    OOM        killed for using more memory than it asked for                          memory
    TIMEOUT    killed at its walltime                                                  infrastructure
    PREEMPTED  was preempted by another job                                            infrastructure
    NODE_FAIL  its node went away                                                      infrastructure
    CANCELLED  ended by a person: its owner or an administrator                        infrastructure
    UNKNOWN    the batch system does not say

An attempt is a native id and a restart count. The terminal state of an attempt never changes; a requeued
job is a new attempt of the same id.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType, TracebackType
from typing import Literal, NewType, Self

from distributed import Client as DaskClient

from vrecompute.batch.capabilities import Capabilities
from vrecompute.batch.finding import PROBE_PATIENCE_S, Finding, no_word
from vrecompute.batch.survey import Survey
from vrecompute.errors import UsageError, VrecomputeError
from vrecompute.sites.model import Site

__all__ = [
    "BLAME",
    "Backend",
    "Blame",
    "Cluster",
    "Finding",
    "Job",
    "JobId",
    "JobStatus",
    "State",
    "SubmitError",
    "latest",
]

JobId = NewType("JobId", str)
Blame = Literal["none", "code", "memory", "infrastructure"]


class State(StrEnum):
    """What a batch system says about one attempt of a job; the module's docstring says what each means."""

    QUEUED = "queued"
    HELD = "held"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    OOM = "oom"
    TIMEOUT = "timeout"
    PREEMPTED = "preempted"
    NODE_FAIL = "node_fail"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def terminal(self) -> bool:
        """Whether an attempt in this state stays in it for ever."""
        return self in BLAME


#: The terminal states, and whom an end in each is charged to. Infrastructure never uses up a retry.
BLAME: Mapping[State, Blame] = {
    State.COMPLETED: "none",
    State.FAILED: "code",
    State.OOM: "memory",
    State.TIMEOUT: "infrastructure",
    State.PREEMPTED: "infrastructure",
    State.NODE_FAIL: "infrastructure",
    State.CANCELLED: "infrastructure",
}


class SubmitError(VrecomputeError):
    """The batch system took no job. `transient`: it may take the same job later. `too_many`: it may take fewer now.

    `mend` is the key of the site's file that the refusal is about, with dots, where that is known.
    """

    def __init__(self, message: str, *, transient: bool = False, too_many: bool = False, mend: str = "") -> None:
        super().__init__(message)
        self.transient, self.too_many, self.mend = transient, too_many, mend
        self.exit_code = 5 if transient else 2


@dataclass(frozen=True)
class Job:
    """One job, in words that every batch system has.

    `command` is an argument list, run where the site's environment is active; no part of it is read by a
    shell. `cores` and `memory_bytes` (None: the system's default) are for the command alone; with `workers` > 0
    the allocation also holds a Dask scheduler and that many worker processes in the site's shape, and the
    command finds them as any Dask program does: `distributed.Client()` reads `DASK_SCHEDULER_ADDRESS` and the
    TLS settings.

    `environment` is visible in the script. `secret_files` (name -> content) never enter
    a script, an argument list, a log or a repr: the backend brings them, mode 0600, to a folder of mode
    0700 that the job finds in `$VRECOMPUTE_SECRETS`, and that is deleted when the job ends.

    `gpus` are those of each node. `image` is the container image that the command runs in, as the site has it; `step`
    is what starts the command on the job's nodes, from outside of the image.
    `labels` say what the job is for, where the system has a place for that. A `controller` only looks after other
    jobs, for long: a system that has a place for such jobs puts it there. `exclude` are nodes to keep it off. `carried`
    are files by path in a folder of each copy; what it adds to them comes back (`QueueBackend.brought_back`).
    `copy` is the number of one of several copies that are submitted one by one, which its name ends with.
    """

    name: str
    command: tuple[str, ...]
    cores: int = 1
    memory_bytes: int | None = 1 << 30
    walltime_s: int = 3600
    workers: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    secret_files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    requeue: bool = False
    controller: bool = False
    gpus: int = 0
    image: str | None = None
    step: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    carried: Mapping[str, bytes] | None = field(default=None, repr=False)
    copy: int | None = None

    def __post_init__(self) -> None:
        if not self.command:
            raise UsageError(f"job {self.name!r} has an empty command: give the program and its arguments")
        memory = 1 if self.memory_bytes is None else self.memory_bytes
        if min(self.cores, memory, self.walltime_s) <= 0 or min(self.workers, self.gpus) < 0:
            raise UsageError(f"job {self.name!r} asks for nothing: cores, memory_bytes and walltime_s must be positive")


@dataclass(frozen=True)
class JobStatus:
    """One attempt of one job as the batch system knows it.

    `reason` is a sentence: why a job waits, what keeps one that is RUNNING from going on, as a suspension, or how it
    died (job, node, peak memory, limit). `reason_code` is the
    batch system's own word for why it waits, equal for all jobs that wait for the same; `never`: waiting alone will
    not start it. Sizes are in bytes, times in seconds; None is "the system does not say".
    """

    state: State
    attempt: int = 0
    reason: str = ""
    reason_code: str = ""
    never: bool = False
    exit_code: int | None = None
    signal: int | None = None
    node: str = ""
    memory_peak_bytes: int | None = None
    memory_limit_bytes: int | None = None
    elapsed_s: float | None = None

    @property
    def blame(self) -> Blame:
        """Whom the end is charged to; "none" while it has not ended."""
        return BLAME.get(self.state, "none")

    def over(self, attempt: int) -> bool:
        """Whether that attempt has ended: so has the job, or it was put back in the queue since."""
        return self.state.terminal or (self.state in {State.QUEUED, State.HELD} and self.attempt > attempt)

    @property
    def stopped(self) -> str:
        """What keeps a running job from going on, as a suspension; empty where it goes on, or does not run."""
        return self.reason if self.state is State.RUNNING else ""


def latest(known: JobStatus | None, seen: JobStatus) -> JobStatus:
    """What to believe after `seen`: a terminal state of an attempt stays, and silence changes nothing.

    >>> done = JobStatus(State.COMPLETED)
    >>> latest(done, JobStatus(State.RUNNING)).state.value
    'completed'
    >>> latest(done, JobStatus(State.RUNNING, attempt=1)).state.value
    'running'
    >>> latest(JobStatus(State.RUNNING), JobStatus(State.UNKNOWN)).state.value
    'running'
    """
    if known is None:
        return seen
    if seen.state is State.UNKNOWN or seen.attempt < known.attempt:
        return known
    if known.state.terminal and seen.attempt == known.attempt:
        return known
    return seen


class Cluster(ABC):
    """Dask workers on a site, for as long as it is open. Use it as a context manager."""

    #: How long a run may be without any worker before it is given up; what a queue may take, where there is one.
    patience_s: float = 300.0

    @property
    @abstractmethod
    def client(self) -> DaskClient:
        """The plain `distributed.Client`, connected."""

    @abstractmethod
    def scale(self, workers: int) -> None:
        """Want that many worker processes. Returns at once; lost ones are replaced until `close`."""

    @abstractmethod
    def close(self) -> None:
        """End the workers, the scheduler and every job behind them. Closing twice is closing once."""

    def bring(self, secret_files: Mapping[str, bytes]) -> bool:
        """Workers need these secret files from now on. Whether those that are there have each, were it an older one."""
        return True

    def deaths(self) -> Mapping[str, JobStatus]:
        """How workers died: name of a Dask worker (addresses come again) -> what the system says of its job."""
        return {}

    def lost(self) -> str:
        """Why the cluster is gone for good, as when the job that held its scheduler ended; empty while it is there."""
        return ""

    def refusal(self) -> VrecomputeError | None:
        """What a run ends with where the cluster is lost and another one would be too."""
        return None

    def waiting(self) -> str:
        """Why there is no worker yet, as far as this side knows: a queue's reason, a start that failed; else empty."""
        return ""

    def left_out(self) -> list[str]:
        """A sentence about each node that jobs are kept off."""
        return []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Backend(ABC):
    """A driver for one batch system, on one site. Its constructor touches neither disk, network nor process.

    Every method that talks to the batch system raises `Unavailable` when it cannot, except `poll`, whose
    answer is then what was known before, UNKNOWN at first.
    """

    site: Site
    capabilities: Capabilities = Capabilities()
    #: Whether a cluster shows Dask's dashboard, on loopback: every user of that machine can read it.
    dashboard: bool = False
    #: What workers of a cluster need beside its keys to reach store and sources: secret files, see `Job`.
    secret_files: Mapping[str, bytes] = MappingProxyType({})

    @abstractmethod
    def script(self, job: Job) -> str:
        """The exact text that `submit` hands over. Pure: same job, same text; holds no secret."""

    @abstractmethod
    def submit(self, job: Job) -> JobId:
        """Hand the job over; returns its native id. Raises `SubmitError` when it is refused."""

    @abstractmethod
    def poll(self, ids: Sequence[JobId]) -> dict[JobId, JobStatus]:
        """The status of each id's latest attempt, with one query for all. Never raises for an unseen id."""

    @abstractmethod
    def cancel(self, ids: Iterable[JobId]) -> None:
        """Ask for an end of these jobs; those that have ended, or never were, are no error."""

    @abstractmethod
    def logs(self, job_id: JobId) -> str:
        """What the job wrote to stdout and stderr so far; empty before it starts."""

    @abstractmethod
    def open_cluster(self, workers: int) -> Cluster:
        """`workers` Dask worker processes in the site's shape. Returns once the scheduler answers."""

    @abstractmethod
    def probe(self, patience_s: float = PROBE_PATIENCE_S, tell: Callable[[str], None] = no_word) -> list[Finding]:
        """Everything found that would keep a run of the site from starting, and what was found right.

        A job of about one minute goes through the real queue; it may wait there `patience_s`, and `tell` is given a
        line from time to time that says for what. What waiting cannot mend is reported at once, and nothing that was
        found hides anything else. No job is left.
        """

    def ask_next(self, ids: Iterable[JobId]) -> None:  # noqa: B027 -- a driver that may ask at any time asks then
        """These will be asked about soon: the next question is about them too."""

    def named(self, name: str) -> list[JobId]:
        """Jobs of this user and name that the system has and that may go on, oldest first; Unavailable if it is silent.

        None where the driver cannot look: then what a client submitted that was killed before it could keep the id is
        not found, and goes on beside what is submitted next.
        """
        del name
        return []

    def survey(self) -> Survey | None:
        """What the batch system says of its queues and limits; None for a driver that cannot ask."""
        return None

    def submit_many(self, job: Job, count: int) -> list[JobId]:
        """`count` copies of the job; each reads its number, 0 to count - 1, from `$VRECOMPUTE_INDEX`.

        One submission where the system has arrays. All or none: where one is refused, the others are cancelled.
        """
        ids: list[JobId] = []
        try:
            for index in range(count):
                numbered = {**job.environment, "VRECOMPUTE_INDEX": str(index)}
                ids.append(self.submit(replace(job, name=f"{job.name}-{index}", environment=numbered, copy=index)))
        except Exception:
            with contextlib.suppress(Exception):  # the refusal is what matters
                self.cancel(ids)
            raise
        return ids

    def check_cluster(self, workers: int) -> None:  # noqa: B027 -- many have nothing to say beforehand
        """UsageError or OverBudget where `open_cluster` would raise it, as far as that is known without asking."""

    def stop_waiting(self) -> None:  # noqa: B027 -- most start workers at once
        """Have `open_cluster` in another thread wait no more: it raises Unavailable."""

    def describe(self, workers: int) -> str:
        """What `explain` prints of how `workers` workers would be started: the exact job script, where there is one."""
        return ""

    def close(self) -> None:  # noqa: B027 -- most drivers hold no connection
        """Give back connections. Jobs go on; open clusters are closed by the code that opened them."""
