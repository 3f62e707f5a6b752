"""`Suite`: what the tests of a driver share: jobs that are small, and waits that end."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from vrecompute.batch.contract import Backend, Job, JobId, JobStatus, State
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.errors import Unavailable
from vrecompute.sites.model import Environment

__all__ = ["Suite"]


# More than any node has.
_TOO_MUCH = 1 << 50
# More than the jobs that a system will have had.
_LATER = 900_000_000
# Characters of a log that say enough.
_LOG = 2000


class Suite:
    """`patience_s` is how long a job may take from submission to its end on this system."""

    patience_s = 90.0
    #: Of a job that outlives it. No whole minutes, so that a driver that rounds down, or to the nearest, is found.
    walltime_s = 80
    #: Whether the system keeps a record of jobs that ended, beside its queue.
    accounting: bool | None = None
    #: Whether the driver puts the marks of commands that ended into its records, and gives none beside them.
    merges_marks = False
    #: Whether jobs that are out of time go on; by default where the driver has a command for that (`requeue`).
    goes_on: bool | None = None
    #: Whether `header` tells the system which jobs it may start again; False where it starts none again by itself.
    told_of_reruns = True
    #: Names of all jobs that the tests of this process made.
    _names: ClassVar[set[str]] = set()

    @pytest.fixture
    def make_backend(self) -> Callable[..., Backend]:
        """A function that makes a Backend of a site with these keys changed; two of them know nothing of each other."""
        raise NotImplementedError("override the fixture `make_backend`")

    @pytest.fixture
    def backend(self, make_backend: Callable[..., Backend]) -> Iterator[Backend]:
        """One Backend, closed after the test."""
        made = make_backend()
        yield made
        made.close()

    @pytest.fixture(autouse=True)
    def _ends_what_it_began(self, make_backend: Callable[..., Backend]) -> Iterator[None]:
        with self.ending_all(make_backend):
            yield

    @contextlib.contextmanager
    def ending_all(self, make_backend: Callable[..., Backend]) -> Iterator[None]:
        """Whatever is submitted meanwhile is cancelled at the end: a test that failed would leave it to be paid for."""
        backend = make_backend()
        kind, taken = type(backend), list[JobId]()
        with pytest.MonkeyPatch.context() as patch:
            if isinstance(backend, QueueBackend):
                hand_in = type(backend).hand_in

                def handed_in(self: QueueBackend, job: Job, script: str, count: int) -> str:
                    said = hand_in(self, job, script, count)
                    taken.extend(self.copies(said, count))
                    return said

                patch.setattr(kind, "hand_in", handed_in)
            else:
                submit = kind.submit

                def submitted(self: Backend, job: Job) -> JobId:
                    taken.append(submit(self, job))
                    return taken[-1]

                patch.setattr(kind, "submit", submitted)
            try:
                yield
            finally:
                if taken:
                    backend.cancel(taken)
                backend.close()

    def unseen_id(self, seen: JobId) -> JobId:
        """An id of the system's form that it has not given yet, made of one that it has. Override it where it is none.

        Here the first number is one that is far larger.
        """
        made = re.sub(r"[0-9]+", lambda found: str(int(found[0]) + _LATER), seen, count=1)
        if made == seen:
            pytest.fail(f"{seen!r} has no number: override {type(self).__name__}.unseen_id")
        return JobId(made)

    def job(self, *command: str, **changes: Any) -> Job:
        """A small job of one core."""
        made = replace(Job("contract", command, memory_bytes=512 << 20, walltime_s=300), **changes)
        self._names.add(made.name)
        return made

    def python(self, program: str, *arguments: str, **changes: Any) -> Job:
        """A small job that runs a Python program with the site's Python."""
        return self.job("python", "-c", program, *arguments, **changes)

    def until(
        self, backend: Backend, ids: Sequence[JobId], fits: Callable[[JobStatus], bool], patience_s: float | None = None
    ) -> dict[JobId, JobStatus]:
        """Poll until every status fits; fails with what was seen last where that takes too long."""
        deadline = time.monotonic() + (patience_s or self.patience_s)
        while True:
            seen = backend.poll(ids)
            if all(fits(status) for status in seen.values()):
                return seen
            assert time.monotonic() < deadline, f"still {seen}{self._told(backend, ids)}"
            time.sleep(0.5)

    def _told(self, backend: Backend, ids: Sequence[JobId]) -> str:
        """What the driver itself says of jobs, and their logs; a smaller attempt than before is not believed of it."""
        told = ""
        with contextlib.suppress(Unavailable):
            if isinstance(backend, QueueBackend):
                told += (
                    f"; `ask_about` says {backend.ask_about(ids)} (of an attempt before the latest, none is believed)"
                )
            told += "".join(f"; log of job {job_id}: {backend.logs(job_id)[-_LOG:]!r}" for job_id in ids)
        return told

    def ended_well(self, backend: Backend, job_ids: Sequence[JobId], patience_s: float | None = None) -> None:
        """See these to their end, which is a good one; else with their logs."""
        seen = self.until(backend, job_ids, lambda s: s.state.terminal, patience_s)
        assert {s.state for s in seen.values()} == {State.COMPLETED}, f"{seen}{self._told(backend, job_ids)}"

    def end(self, backend: Backend, job: Job, patience_s: float | None = None) -> tuple[JobId, JobStatus]:
        """Submit a job and see it to its end."""
        job_id = backend.submit(job)
        return job_id, self.until(backend, [job_id], lambda s: s.state.terminal, patience_s)[job_id]

    def until_said(self, backend: Backend, job_id: JobId, *words: str) -> str:
        """What the job wrote, as soon as all the words are in it."""
        deadline = time.monotonic() + self.patience_s
        while not all(word in (said := backend.logs(job_id)) for word in words):
            assert time.monotonic() < deadline, f"no {words} in {said!r}"
            time.sleep(0.3)
        return said

    def needs(self, backend: Backend, capability: str) -> None:
        """Skip where the driver says that it cannot."""
        if not getattr(backend.capabilities, capability):
            pytest.skip(f"{type(backend).__name__}.capabilities.{capability} is False")

    def queue(self, backend: Backend) -> QueueBackend:
        """The Backend as a driver of a queue; a skip where it is none."""
        if not isinstance(backend, QueueBackend):
            pytest.skip(f"{type(backend).__name__} drives no queue")
        return backend

    def never_starts(self) -> Mapping[str, Any]:
        """Changes of the site with which jobs are taken and never started. Override it where there are any."""
        pytest.skip(f"{type(self).__name__}.never_starts is not overridden: of what jobs never start here")

    def waits_long(self) -> Mapping[str, Any]:
        """Changes of the site with which jobs wait for longer than a minute. Override it where there are any."""
        pytest.skip(f"{type(self).__name__}.waits_long is not overridden: of what jobs wait here")

    def imaged(self, environment: Environment) -> tuple[Environment, str]:
        """The environment in an image, and a variable that names it in a job. Override it where the system starts it.

        Here the site's words do, and only say which image it is.
        """
        words = ("sh", "-c", 'IN_IMAGE="$0" exec "$@"')
        return replace(environment, image="/images/of 'x'.sif", image_command=words), "IN_IMAGE"

    def over_memory(self) -> Mapping[str, Any]:
        """Changes of the site with which jobs are killed that use more memory than they ask for. Override it so."""
        pytest.skip(f"{type(self).__name__}.over_memory is not overridden: of what jobs are killed for memory here")

    def too_large(self, backend: Backend) -> Mapping[str, Any]:
        """Changes of the site whose jobs the system refuses. Give others, or skip, where it takes any memory."""
        return {"workers": replace(backend.site.workers, memory=_TOO_MUCH)}

    def hold(self, backend: Backend, job_id: JobId) -> None:
        """Have the system put a running job back and keep it from starting. Override it where that can be done."""
        del job_id
        pytest.skip(f"{type(self).__name__}.hold is not overridden: how a job is held on {type(backend).__name__}")

    def lose_node(self, backend: Backend, job_id: JobId) -> None:
        """Have the node of a running job go away. Override it where that can be done."""
        del job_id
        pytest.skip(f"{type(self).__name__}.lose_node is not overridden: how a node of {type(backend).__name__} goes")

    def limited(self, backend: Backend, jobs: int) -> AbstractContextManager[None]:
        """A context in which the system takes no more than `jobs` jobs of this user. Override it where that can be."""
        del jobs
        pytest.skip(f"{type(self).__name__}.limited is not overridden: how {type(backend).__name__} is limited")
