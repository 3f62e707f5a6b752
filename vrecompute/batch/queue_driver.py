"""`QueueDriver`: what makes a `Backend` of a batch system's words. A driver is a subclass that gives the words.

A poll asks for any number of jobs with one command. A mark in the spool is believed before the system, and a job that
nothing mentions is UNKNOWN, until all that could have answered so for long enough. Any method may be called from any
thread; calls wait for each other.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from vrecompute.batch.budget import Budget
from vrecompute.batch.carried import bring, forget, take_back
from vrecompute.batch.cluster import open_queue_cluster
from vrecompute.batch.cluster_check import check_cluster
from vrecompute.batch.contract import Cluster, Job, JobId, JobStatus, State, SubmitError
from vrecompute.batch.finding import PROBE_PATIENCE_S, Finding, no_word, yaml_line
from vrecompute.batch.job_script import render
from vrecompute.batch.keepalive import announced
from vrecompute.batch.known import Known
from vrecompute.batch.left_out import LeftOut
from vrecompute.batch.marks import LONGEST_S, MARKS, read_marks, read_secrets
from vrecompute.batch.options import read_options
from vrecompute.batch.outage import Outage
from vrecompute.batch.probe import probe
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.scheduler_job import scheduler_job, workers_beside
from vrecompute.batch.shape import job_name
from vrecompute.batch.shared_answer import MOST_IDS, shared
from vrecompute.batch.spool import Spool, marks
from vrecompute.batch.submissions import Submissions
from vrecompute.batch.tls import TLS_FILE
from vrecompute.batch.worker_jobs import worker_job
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Access, Completed, open_access
from vrecompute.sites.limits import SiteLimits
from vrecompute.sites.model import Site

__all__ = ["QueueDriver"]

_LOG = logging.getLogger(__name__)
#: How long commands that end jobs are waited for.
_END_S = 60.0
#: Ends after which the system may start a job again by itself.
_AGAIN = frozenset({State.PREEMPTED, State.NODE_FAIL})
#: What ssh says -> the key beside the host that may be at fault.
_OF_SSH = {
    r"stdio forwarding|UNKNOWN port|jump": "jump",
    r"Permission denied": "user",
    r"Connection refused|timed out|kex_exchange|[Bb]anner": "port",
}
_ACCESS = "access: {{ssh: {{host: ...}}}}   # a machine that has {system}'s commands, and answers `ssh HOST true`"


class QueueDriver(QueueBackend):
    """A driver of a queue; nothing runs before the first call."""

    def __init__(self, site: Site, access: Access | None = None) -> None:
        self.site = site
        self.options = read_options(self.options_model, site)
        self.access = access if access is not None else open_access(site)
        self.budget = Budget(site.limits.core_hours, site.workers.cores, SiteLimits(site).job_s())
        self.outage = Outage(f"site {site.name!r}: {self.system} ({self.access})")
        self._files = Spool(site, self.access, self.spool_suffix)
        self.left_out = LeftOut(self._files, f"site {site.name!r}", can=bool(self.exclude(("node",))))
        self._known = Known(self.system, lags=self.accounting_lags)
        self._submissions = Submissions(self)
        self._asked = float("-inf")
        self._wanted: dict[JobId, None] = {}
        self.leaving = threading.Event()
        self._owed: dict[JobId, None] = {}
        self._named: dict[str, JobId] = {}
        self._one = threading.RLock()

    @property
    def spool(self) -> str:
        """The spool's absolute path on the site; made on first use, mode 0700."""
        return self._files.path

    def script(self, job: Job) -> str:
        """The script that `submit` hands in."""
        return render(self, job)

    def submit(self, job: Job) -> JobId:
        """Submit one job; `SubmitError` carries what the system said, and whether trying later makes sense."""
        return self._submit(job, 1)[0]

    def submit_many(self, job: Job, count: int) -> list[JobId]:
        """Submit `count` copies at once where the system has arrays, else one by one."""
        if count < 2:
            return [self.submit(job) for _ in range(count)]
        if self.array:
            return self._submit(job, count)
        if job.carried is not None:  # once for all, before the first of them may read it
            bring(self.access, self.spool, job, count)
        return super().submit_many(job, count)

    def poll(self, ids: Sequence[JobId]) -> dict[JobId, JobStatus]:
        """One command for all; between two of them lie at least `limits.min_poll` seconds, filled from memory.

        Jobs that others wanted to know of in the meantime are asked about too: runs of one client poll one by one.
        """
        asked = list(dict.fromkeys(ids))
        with self._one:
            open_ids = [i for i in asked if not self._known.status(i).state.terminal]
            self._wanted |= dict.fromkeys(open_ids)
            if open_ids and time.monotonic() - self._asked >= self.site.limits.min_poll:
                wanted = list(self._wanted)
                self._wanted.clear()
                for start in range(0, len(wanted), MOST_IDS):
                    self._ask(wanted[start : start + MOST_IDS])
                self._asked = time.monotonic()
            return {i: self._not_asked(i) if i in self._wanted else self._believed(i) for i in asked}

    def ask_next(self, ids: Iterable[JobId]) -> None:
        """See `Backend`: runs of one client that are looked at one after another are one question."""
        with self._one:
            self._wanted |= dict.fromkeys(i for i in ids if not self._known.status(i).state.terminal)

    def named(self, name: str) -> list[JobId]:
        """By the queue's list; an array counts as one."""
        with self._one:
            ages = self.ages(job_name(name))
            found = [JobId(i) for i in sorted(ages, key=lambda i: -ages[i])]
            said = self.poll(found)  # a queue lists those that ended a moment ago, too
        return [job_id for job_id in found if not said[job_id].state.terminal]

    def cancel(self, ids: Iterable[JobId]) -> None:
        """End them, and their secrets go; jobs that have ended, or never were, are no error."""
        with self._one:
            with contextlib.suppress(Unavailable):
                self._submissions.settle()
            self._owed |= dict.fromkeys(i for i in ids if self.is_id(i))
            if wanted := list(self._owed):
                with self.outage.awaited("the end of jobs", _END_S):
                    self.end(wanted)
                self._owed.clear()
                self._known.cancelled(wanted)
                self._files.cancelled(wanted)

    @property
    def owed(self) -> list[JobId]:
        """Jobs whose cancellation the site did not take; it is asked again with each later question."""
        return list(self._owed)

    def forget(self, ids: Sequence[JobId], *, logs: bool = True) -> None:
        """See `QueueBackend`."""
        attempts = {i: self._known.status(i).attempt for i in ids if self.is_id(i)}
        self._files.forget([name for i, n in attempts.items() for name in ([self.log(i)] * logs + marks(i, n))])

    @property
    def problem(self) -> str:
        """See `QueueBackend`."""
        return self.outage.problem

    def logs(self, job_id: JobId) -> str:
        """What the job wrote, from its file in the spool."""
        content = self._files.read(self.log(job_id)) if self.is_id(job_id) else None
        return (content or b"").decode(errors="replace")

    def announced(self, name: str) -> bytes | None:
        """See `QueueBackend`; a file is deleted once it is read."""
        if self.shares_spool:
            return self._files.take(name)
        job_id = self._named.get(name.removesuffix(".json"))
        return None if job_id is None else announced(name, self.logs(job_id))

    def brought_back(self, name: str) -> dict[str, bytes]:
        """See `QueueBackend`; Unavailable where the site does not give them."""
        return take_back(self.access, self.spool, name)

    def forget_carried(self, name: str) -> None:
        """See `QueueBackend`."""
        forget(self.access, self.spool, name)

    def open_cluster(self, workers: int) -> Cluster:
        """Workers in jobs of their own; the scheduler runs where the site says."""
        self.leaving.clear()
        return open_queue_cluster(self, workers)

    def stop_waiting(self) -> None:
        """See `Backend`."""
        self.leaving.set()

    def check_cluster(self, workers: int) -> None:
        """What the site's file and this installation say against it."""
        check_cluster(self, workers)

    def describe(self, workers: int) -> str:
        """The scripts of a live cluster's jobs; the scheduler's address and keys exist once it runs."""
        jobs, tls = [], self.site.network.tls
        keys = {**self.secret_files, **({TLS_FILE: b"made when the run starts"} if tls else {})}
        if self.site.scheduler_runs == "allocation":
            jobs.append(scheduler_job(self, "vre-scheduler", workers, keys))
        if workers > workers_beside(self, workers):
            jobs.append(worker_job(self, f"{'tls' if tls else 'tcp'}://SCHEDULER:PORT", "vre-0", keys))
        return "\n".join(map(self.script, jobs))

    def probe(self, patience_s: float = PROBE_PATIENCE_S, tell: Callable[[str], None] = no_word) -> list[Finding]:
        """Whether the system is there; if so, all else."""
        try:
            said = self.greet()
        except Unavailable as error:
            return [Finding(self.site.backend, False, str(error), self._way_in(str(error)))]
        return [Finding(self.site.backend, True, f"{said} on {self.access}"), *probe(self, patience_s, tell)]

    def ask_site(
        self, script: str, ids: Sequence[str], *arguments: str, stdin: bytes = b""
    ) -> tuple[dict[str, dict[int, int]], list[str], Completed]:
        """(marks of these ids, the other lines, how it ended) of one command: the spool's part, then `script`.

        In the script $1 is the spool, $2 the ids with commas, also those of other clients, with whom the answer is
        shared; $3 and so on are the arguments, which name no ids of one client. `ask` bounds what it calls,
        and `tell` prints what that says as a part (`read_parts`).
        Other clients of the user may have asked so a moment ago, unless the question is in `stdin`.
        """
        if (min_poll_s := int(self.site.limits.min_poll)) and not stdin:
            script = shared(script, arguments, min_poll_s)
        command = ["sh", "-c", MARKS + script, "sh", self.spool, ",".join(ids), *arguments]
        with self.outage.awaited("what it says of jobs", LONGEST_S):
            done = self.access.run(command, stdin=stdin, timeout_s=LONGEST_S)
        lines = done.text.splitlines()
        self._files.seen(read_secrets(lines))
        return *read_marks(lines), done

    def _way_in(self, said: str) -> str:
        """The line that leads to the system: of a connection that fails, what the site says of it beside the host."""
        ssh = self.site.access.ssh
        for words, name in _OF_SSH.items():
            if ssh is not None and getattr(ssh, name) is not None and re.search(words, said):
                return yaml_line(f"access.ssh.{name}")
        return _ACCESS.format(system=self.system)

    def _believed(self, job_id: JobId) -> JobStatus:
        """What is known of a job; while the system does not answer, with that."""
        status, doubt = self._known.status(job_id), self.outage.doubt
        if not doubt or status.state.terminal or status.state is State.UNKNOWN:
            return status
        return replace(status, reason="; ".join(filter(None, [status.reason, doubt])))

    def _not_asked(self, job_id: JobId) -> JobStatus:
        """What is known of a job that the next question is about; of one that no question was about, that it waits."""
        status = self._known.status(job_id)
        if status.state is not State.UNKNOWN or status.reason:
            return status
        due_s = max(1, round(self._asked + self.site.limits.min_poll - time.monotonic()))
        return replace(status, reason=f"{self.system} is asked about job {job_id} in {due_s} s (limits.min_poll)")

    def _submit(self, job: Job, count: int) -> list[JobId]:
        """Off nodes where jobs come to nothing; on them all the same where the system takes no such job."""
        if nodes := self.left_out.nodes():
            try:
                return self._handed_in(replace(job, exclude=nodes), count)
            except SubmitError as error:
                if error.transient or error.too_many:
                    raise
                _LOG.warning("%s; submitting it without keeping it off %s", error, ", ".join(nodes))
        return self._handed_in(job, count)

    def _handed_in(self, job: Job, count: int) -> list[JobId]:
        """Deliver secret files and submit; of what is not submitted, none stays."""
        script = self.script(job)
        with self._one:
            try:
                if job.carried is not None and job.copy is None:
                    bring(self.access, self.spool, job, count)
                self._files.deliver(job, count)
                ids = self.copies(self._submissions.submit(job, script, count), count)
            except BaseException:
                self._files.refused(job, count)
                raise
            self._known.submitted(ids)
            self._named[job.name] = ids[0]
            self._files.submitted(job, ids)
            return ids

    def _ask(self, ids: Sequence[JobId]) -> None:
        """Update what is known of these ids; silence, of the system or of the site, changes nothing."""
        named = [i for i in ids if self.is_id(i)]
        if not named:
            return
        try:
            answer = self.ask_about(named)
        except Unavailable as error:
            self.outage.kept(str(error))
            self._known.silence()
            return
        if answer.instead:
            self.outage.kept(answer.instead)
        else:
            self.outage.broken()
        self._known.take(answer)
        self._files.told({JobId(i): seen.secrets for i, seen in answer.records.items() if seen.secrets})
        with contextlib.suppress(Unavailable):
            self.cancel([])
        ended = {i: self._known.status(i) for i in named if self._known.status(i).state.terminal}
        self._files.sweep(i for i, status in ended.items() if status.blame != "none" or not self.shares_spool)
        # another process' too, unless an attempt that follows may be using them
        self._files.sweep_found(i for i, status in ended.items() if status.state not in _AGAIN)
