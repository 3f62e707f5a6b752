"""`Standstill`: why a live run has no worker: jobs are refused, wait, could never start, or run and bring none.

What mends itself is said while it lasts. What does not ends the run, once it has lasted too long for a moment's fault.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection, Mapping

from vrecompute.batch.contract import JobId, JobStatus, State, SubmitError
from vrecompute.batch.post_mortem import log_ends, never_starts
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.scheduler_job import NEVER_S
from vrecompute.errors import VrecomputeError
from vrecompute.wording import duration_text

__all__ = ["Standstill"]

_LOG = logging.getLogger(__name__)
#: How long jobs may wait before a warning says why.
_QUIET_S = 15.0
#: How long the system may refuse every job of a run for a reason that waiting does not mend: an administrator may.
_REFUSED_S = 300.0
#: How long a job may run before it is said that no worker of it has connected, and how old what its log says may be.
_BARREN_S, _LOG_AGE_S = 60.0, 30.0
_QUOTED = re.compile(r"'[^']*'")


class Standstill:
    """What is known of it for one cluster. `now` is of `time.monotonic`."""

    def __init__(self, backend: QueueBackend) -> None:
        self.backend = backend
        self._opened = time.monotonic()
        self._told: set[str] = set()
        self._never_since: float | None = None
        self._refused_since: float | None = None
        self._log: tuple[float, JobId | None, str] = (float("-inf"), None, "")
        #: What the system said to the last submission, where it was refused, and no later one was taken.
        self.refusal: Exception | None = None

    def refused(self, error: Exception, jobs: int, now: float) -> None:
        """A submission was refused while there are so many jobs; it is tried again."""
        self.refusal = error
        lasting = not (getattr(error, "too_many", False) or getattr(error, "transient", True))
        if not lasting:
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = now
        # each submission has another name
        if (said := _QUOTED.sub("", str(error))) not in self._told:
            self._told.add(said)
            _LOG.warning("%s; the run goes on with %d jobs, and asks for others later", error, jobs)

    def taken(self) -> None:
        """A submission was taken."""
        self.refusal = self._refused_since = None

    def look(self, statuses: Collection[JobStatus]) -> None:
        """Warn once for each reason to wait, while nothing runs: a run that waits must not be silent about why."""
        if any(s.state is State.RUNNING for s in statuses):
            return
        quiet = time.monotonic() - self._opened < _QUIET_S
        for status in statuses:
            if quiet and not status.never:
                continue
            if status.state in {State.QUEUED, State.HELD} and status.reason_code not in self._told:
                self._told.add(status.reason_code)
                _LOG.warning("no worker job runs yet: %s", status.reason or "the batch system gives no reason")

    def hopeless(self, statuses: Collection[JobStatus], workers: bool, now: float) -> VrecomputeError | None:
        """What the run ends with, where no job has been able to start for a while and there are no `workers`."""
        alive = [s for s in statuses if not s.state.terminal]
        if not alive or not all(s.never for s in alive) or workers:
            self._never_since = None
        else:
            self._never_since = now if self._never_since is None else self._never_since
            if now - self._never_since >= NEVER_S:
                return never_starts(self.backend, alive[0].reason)
        if alive or workers or self._refused_since is None or now - self._refused_since < _REFUSED_S:
            return None
        said, mend = str(self.refusal), getattr(self.refusal, "mend", "")
        return SubmitError(f"{said}; asked again for {duration_text(now - self._refused_since)}", mend=mend)

    def why(self, jobs: Mapping[str, JobId | None], statuses: Mapping[str, JobStatus], brought: Collection[str]) -> str:
        """Why there is no worker: `jobs` are ids by name, `brought` the names of those of which a worker came."""
        if any(s.state in {State.QUEUED, State.HELD} for s in statuses.values()):
            idle = next(s for s in statuses.values() if s.state in {State.QUEUED, State.HELD})
            return idle.reason or "the batch system gives no reason"
        for name, status in statuses.items():
            barren = status.state is State.RUNNING and (status.elapsed_s or 0) >= _BARREN_S and name not in brought
            if barren:
                job_id = jobs.get(name)
                where = f" on {status.node}" if status.node else ""
                runs = f"job {job_id} runs{where} for {duration_text(status.elapsed_s or 0)}"
                said = status.stopped or f"{runs}, and no worker of it has connected"
                return f"{said}. {self._log_of(job_id)}"
        return "" if self.refusal is None else f"{self.refusal}; it is tried again"

    def _log_of(self, job_id: JobId | None) -> str:
        """How its log ends, read again no more often than is of use."""
        at, of, said = self._log
        if of != job_id or time.monotonic() - at > _LOG_AGE_S:
            said = log_ends(self.backend, job_id)
            self._log = time.monotonic(), job_id, said
        return said
