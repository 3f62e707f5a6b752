"""Detached runs: one submission whose allocation holds workers and the Runner; the client may go away.

    runs/<run>/jobs/<n>.json      the native id of each submission of the run

All that another process needs is in the store, and the job needs no route to the client. Where jobs do not reach the
store, those of its objects that the run needs go with the job, and what it made comes back when the job has ended.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from vrecompute.analysis import Analysis
from vrecompute.batch.carried import CARRIED
from vrecompute.batch.contract import Backend, Job, JobId, JobStatus, State
from vrecompute.batch.detached_job import detached_job
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.digest import sha256_of
from vrecompute.errors import StoreError, Unavailable, UntrustedRun, UsageError
from vrecompute.execution.carriedstore import carried_objects, take_back_objects
from vrecompute.execution.credentials import job_secrets
from vrecompute.execution.head import read_head, tell
from vrecompute.execution.manifest import Manifest, find_manifest
from vrecompute.execution.progress import Progress
from vrecompute.execution.runlog import create_next, head_state
from vrecompute.execution.trust import sha256_kept
from vrecompute.sites.model import Site
from vrecompute.stores.base import Store, damage
from vrecompute.stores.objects import read_document

__all__ = ["Detached", "submissions", "submitted_at", "verified_manifest"]


_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Detached:
    """The jobs of one run on one site."""

    backend: Backend
    site: Site
    store: Store
    manifest: Manifest

    _taken: set[JobId] = field(default_factory=set, repr=False, compare=False)

    def job(
        self, workers: int | None, walltime_s: int | None, digest: str, carried: Mapping[str, bytes] | None = None
    ) -> Job:
        """The job that carries the run out; `digest` is its manifest's sha256, which the job verifies.

        `carried` are the objects that go with it where jobs do not reach the store. UsageError or OverBudget for more
        than the site gives.
        """
        self.check()
        self.backend.capabilities.require("workers", self.site.name)
        job = detached_job(
            self.site,
            name=self._name,
            command=self.command(digest),
            workers=workers,
            walltime_s=walltime_s,
            labels=self.labels,
        )
        return replace(job, carried=carried or {} if self._carries else None)

    def check(self) -> None:
        """UsageError where the run cannot be handed over."""
        if self.manifest.origin.kind == "live":
            raise UsageError(
                "a detached run needs an installed analysis or a source file, and this one was defined in a notebook "
                "or a script; save it as FILE.py and submit that"
            )
        if self._carries and not isinstance(self.backend, QueueBackend):
            raise UsageError(
                f"jobs of site {self.site.name!r} do not reach the store (store.workers_reach: false), where "
                "a detached run keeps what it finished, and its driver carries no files; run it live"
            )

    def command(self, digest: str) -> tuple[str, ...]:
        """What the job runs; `digest` is the manifest's sha256."""
        address = f"${CARRIED}" if self._carries else self.store.url
        run = self.manifest.run
        return ("python", "-m", "vrecompute", "work", run, "--store", address, "--manifest-sha256", digest)

    @property
    def labels(self) -> dict[str, str]:
        """What its jobs say they are for."""
        return {"run": self.manifest.run, "analysis": self.manifest.analysis}

    def submit(
        self, workers: int | None = None, walltime_s: int | None = None, analysis: Analysis | None = None
    ) -> JobId:
        """Submit the run once more and remember the native id; SubmitError where the batch system refuses.

        Where jobs do not reach the store, parts of the `analysis` that are in it go with the job.
        """
        digest = sha256_kept(self.store, self.manifest)
        carried = carried_objects(self.store, self.manifest, analysis) if self._carries else None
        job = self.job(workers, walltime_s, digest, carried)
        wanted = replace(job, secret_files=self._secrets(job))
        job_id = self.backend.submit(wanted)
        self._remember({"job": job_id})
        if self._carries:  # else its Runner ends the run in the store
            self._merge_afterwards([job_id], job)
        with contextlib.suppress(StoreError):
            tell(self.store, self.manifest, jobs=[job_id])
        return job_id

    def settle(self) -> list[JobId]:
        """Have one job at most carry the run out, and give its id; none where there is none, and none was.

        A client that was killed once the batch system had taken a job could not keep its id, and two clients may each
        have submitted one: what the system has under the run's name is asked for. A job that is not known is kept; of
        several all but one are cancelled. Unavailable where the system does not answer.
        """
        known, live = self.ids(), self.backend.named(self._name)
        if not live:
            return known[-1:]
        kept = next((job for job in reversed(known) if job in live), live[0])
        if others := [job for job in live if job != kept]:
            self.backend.cancel(others)
        if kept != next(iter(known[-1:]), None):
            self._remember({"job": kept})
            with contextlib.suppress(StoreError):
                tell(self.store, self.manifest, jobs=[kept])
        return [kept]

    @property
    def _name(self) -> str:
        """What its job is called in the batch system."""
        return f"vre-{self.manifest.run}"

    def _remember(self, facts: Mapping[str, Any]) -> None:
        """Keep a submission."""
        body = {**facts, "site": self.site.name, "submitted": time.time()}
        number = sum(1 for _ in self.store.names(f"{self.manifest.prefix}jobs"))
        create_next(self.store, f"{self.manifest.prefix}jobs/{{:04}}.json", number, "job", body)

    def script(self, workers: int | None = None, walltime_s: int | None = None) -> str:
        """What `submit` would hand to the batch system; reads and starts nothing."""
        job = self.job(workers, walltime_s, sha256_of(self.manifest.encoded()))
        return self.backend.script(replace(job, secret_files=self._secrets(job, read=False)))

    def ids(self) -> list[JobId]:
        """Native ids of all submissions of the run, oldest first."""
        return submissions(self.store, self.manifest.run)

    def told_by(self) -> JobId | None:
        """The job that tells how the run is; None where there is none."""
        return next(iter(self.ids()[-1:]), None)

    def status(self) -> JobStatus:
        """What the batch system says of the latest submission; UNKNOWN where it does not answer."""
        ids = self.ids()
        if not ids:
            return JobStatus(State.UNKNOWN)
        status = self.backend.poll(ids[-1:])[ids[-1]]
        if status.state.terminal and self._carries and ids[-1] not in self._taken:
            self._take_back(ids[-1], self._name)
        return status

    def over(self, job: str, attempt: int) -> bool:
        """Whether the batch system says so of that attempt of the latest submission; of no other job is it asked."""
        return bool(job) and job == self.told_by() and self.status().over(attempt)

    def ask_next(self) -> Self:
        """Have the next question to the batch system be about this run too, unless it is known to have ended."""
        head = read_head(self.store, self.manifest.run)
        if head is not None and head_state(head) in {"interrupted", "running"}:
            self.backend.ask_next([JobId(job) for job in head.jobs or filter(None, [head.job])])
        return self

    def cancel(self) -> None:
        """End all submissions of the run."""
        self.backend.cancel(self.ids())

    def progress(self) -> Progress | None:
        """How far the run is by what its jobs have left; None where its Runner tells."""
        return None

    def take_up(self, analysis: Callable[[], Analysis]) -> bool:
        """Go on with a run whose jobs have all ended, where that is to be done here; whether it was."""
        del analysis
        return False

    def logs(self) -> str:
        """What the latest submission wrote so far."""
        ids = self.ids()
        return self.backend.logs(ids[-1]) if ids else ""

    def _secrets(self, job: Job, *, read: bool = True) -> dict[str, bytes]:
        return job_secrets(self.site, self.store, self.manifest.dataset, job_s=job.walltime_s, read=read)

    @property
    def _carries(self) -> bool:
        """Whether objects go to the store and back with the job."""
        return not self.site.store.workers_reach

    def _merge_afterwards(self, jobs: Sequence[JobId], job: Job) -> None:
        """Have the batch system merge what these jobs make once they have ended, where it can; clients can always."""
        if not isinstance(self.backend, QueueBackend):
            return
        run, digest = self.manifest.run, sha256_kept(self.store, self.manifest)
        command = ("python", "-m", "vrecompute", "work", run, "--store", self.store.url, "--manifest-sha256", digest)
        brought = ("--brought", job.name) if self._carries else ()
        merging = Job(f"{job.name}-merge", (*command, "--merge", *brought), memory_bytes=None, labels=self.labels)
        try:
            self.backend.afterwards(jobs, replace(merging, secret_files=self._secrets(merging)))
        except (Unavailable, UsageError) as error:
            _LOG.warning("run %s: a client has to merge what its jobs make: %s", run, error)

    def _take_back(self, job: JobId, name: str) -> None:
        """Put what jobs of a name brought back into the store; where the site is silent, with a later look.

        `job` is one of them.
        """
        if not isinstance(self.backend, QueueBackend):
            return
        with contextlib.suppress(Unavailable):
            take_back_objects(self.store, self.manifest, self.backend.brought_back(name))
            self._taken.add(job)
            self.backend.forget_carried(name)


def submissions(store: Store, run: str, names: Sequence[str] | None = None) -> list[JobId]:
    """Native ids of all submissions of a run, oldest first, or those under `names`; none of a live one."""
    names = list(store.names(f"runs/{run}/jobs")) if names is None else names
    found = [read_document(store, name, "job", lambda body: body.get("jobs") or [body["job"]]) for name in names]
    return [JobId(str(job)) for jobs in found for job in jobs]


def submitted_at(store: Store, run: str) -> tuple[str, float | None]:
    """(native id, seconds since 1970) of the latest submission of a run; of a live one there is none."""
    names = list(store.names(f"runs/{run}/jobs"))
    if not names:
        return "", None
    return read_document(store, names[-1], "job", lambda body: (str(body["job"]), float(body["submitted"])))


def verified_manifest(store: Store, run: str, sha256: str | None) -> Manifest:
    """The manifest of a run; DamagedObject unless it is the one that the job was submitted with.

    UntrustedRun where that is not told, and others than this user may have written what is there.
    """
    found = find_manifest(store, run)
    if sha256 is None and not found.owner.vouches():
        raise UntrustedRun(
            f"run {run} in {store.url} may be of another user, and its code would run as you; if you trust it, say "
            "which manifest you mean: --manifest-sha256"
        )
    if sha256 is not None and found.sha256 != sha256:
        raise damage(store.url, found.manifest.object_name, sha256, found.sha256)
    return found.manifest
