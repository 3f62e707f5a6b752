"""`Submissions`: what became of a job whose submission had no answer.

A batch system may say that it timed out, or the connection to the site may break, when it has taken the job: a
second submission would make two. Such a job is looked for by its name, its owner and the time of its submission, and is
taken for the one that was wanted. Where the site cannot be asked at that moment, what is found is cancelled before
anything else is submitted. Other jobs of one name, submitted by another process of the same user at the same time,
would be taken for it too: names must differ.
"""

from __future__ import annotations

import logging
import time

from vrecompute.batch.contract import Job
from vrecompute.batch.queue_backend import LostAnswer, QueueBackend
from vrecompute.batch.shape import job_name
from vrecompute.errors import Unavailable

__all__ = ["Submissions"]

_LOG = logging.getLogger(__name__)
#: Seconds before each look for a job that may still be on its way to the queue's list.
_LOOKS_S = (0.0, 3.0)
#: How far clocks of a site may be apart, in seconds.
_SKEW_S = 5.0


class Submissions:
    """The submissions of one Backend, one after another."""

    def __init__(self, backend: QueueBackend) -> None:
        self.backend = backend
        self._ids: set[str] = set()
        self._lost: list[tuple[str, float]] = []

    def submit(self, job: Job, script: str, count: int) -> str:
        """The id of what was taken; SubmitError where it is refused, Unavailable where the site does not answer."""
        self.settle()
        began = time.monotonic()
        try:
            job_id = self.backend.hand_in(job, script, count)
        except (LostAnswer, Unavailable) as error:
            job_id = self._found(job, began, error)
        self._ids.add(job_id)
        return job_id

    def settle(self) -> None:
        """Cancel jobs of submissions that were given up without an answer; Unavailable while that cannot be done."""
        access = self.backend.access
        while self._lost:
            name, began = self._lost.pop()
            try:
                if strays := self._strays(name, began):
                    _LOG.warning("%s: cancelling job %s, whose submission had no answer", access, ", ".join(strays))
                    self.backend.end(strays)
            except Unavailable:
                self._lost.append((name, began))
                raise

    def _found(self, job: Job, began: float, error: Exception) -> str:
        """The id of the job that was taken all the same; raises `error` where there is none to be seen."""
        name = job_name(job.name)
        for pause_s in _LOOKS_S:
            time.sleep(pause_s)
            try:
                ids = self._strays(name, began)
            except Unavailable:
                break
            if ids:
                access = self.backend.access
                _LOG.warning("%s: job %s was taken although the answer was lost: %s", access, ids[-1], error)
                return ids[-1]
        self._lost.append((name, began))
        raise error

    def _strays(self, name: str, began: float) -> list[str]:
        """Ids of jobs of a name that were submitted since then, and are not known here, the newest last."""
        ages = self.backend.ages(name)
        longest_s = time.monotonic() - began + _SKEW_S
        ids = [i for i, age_s in ages.items() if age_s <= longest_s and i not in self._ids]
        return sorted(ids, key=lambda i: (-ages[i], int(i) if i.isdigit() else 0, i))
