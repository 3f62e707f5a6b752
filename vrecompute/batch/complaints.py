"""`Complaints`: what a command's complaint means for the submission that it answers, told by words in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vrecompute.batch.contract import Job, SubmitError
from vrecompute.batch.queue_backend import LostAnswer, QueueBackend
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Access, Completed

__all__ = ["Complaints"]

_NONE = re.compile(r"(?!)")


@dataclass(frozen=True)
class Complaints:
    """The words of one batch system's `command` for submissions.

    `passing`: the same request may well be granted a little later, unless `lasting` is said too. `lost`: whether it was
    granted already remains open. `too_many`: it is about how many jobs there are, and fewer may be taken. `about`:
    words -> the key of a site's file that the complaint is about. `shown` is what `explain` prints of a job.
    """

    command: str
    shown: str
    passing: re.Pattern[str]
    lost: re.Pattern[str]
    too_many: re.Pattern[str]
    lasting: re.Pattern[str] = _NONE
    about: Mapping[str, str] = field(default_factory=dict)

    def may_pass(self, said: str) -> bool:
        """Whether trying again later makes sense."""
        return bool(self.passing.search(said)) and not self.lasting.search(said)

    def mend(self, said: str) -> str:
        """The key of a site's file to look at; empty where the words name none."""
        return next((key for words, key in self.about.items() if re.search(words, said)), "")

    def refusal(self, backend: QueueBackend, job: Job, said: str, mend: str = "") -> SubmitError:
        """What is raised for a job that was not taken; `mend` is the key of the site's file that it is about.

        Where that has a counterpart for the job of the scheduler, and it is one, it is about this.
        """
        site = f"site {backend.site.name!r}"
        of_controllers = mend.replace("options.", "controller_")  # as of `controller_partition`
        if job.controller and of_controllers != mend and backend.site.options.get(of_controllers):
            mend = f"options.{of_controllers}"
        where = f"{mend} of {site}" if mend else site
        transient = self.may_pass(said)
        advice = "try again later" if transient else f"`explain` shows {self.shown}; mend {where}"
        return SubmitError(
            f"{backend.access}: {self.command} refused job {job.name!r}: {said} ({advice})",
            transient=transient,
            too_many=bool(self.too_many.search(said)),
            mend=mend,
        )

    def cancelled(self, access: Access, command: str, done: Completed, said: str) -> None:
        """Unavailable where a command that ends jobs failed, and not since they had ended, or never were."""
        if done.code != 0 and (self.passing.search(said) or self.lasting.search(said)):
            raise Unavailable(f"{access}: {command}: {said}; the jobs may go on: cancel again later")

    def lost_answer(self, backend: QueueBackend, job: Job, said: str) -> LostAnswer:
        """What is raised for a job that may have been taken."""
        return LostAnswer(f"{backend.access}: {self.command} does not say whether it took job {job.name!r}: {said}")

    def elsewhere(
        self, backend: QueueBackend, job: Job, job_id: str, cluster: str, cancel: Callable[[], None]
    ) -> SubmitError:
        """What is raised for a job that was given to another cluster than `options.cluster`: no poll would find it.

        It is cancelled first.
        """
        access, named = backend.access, backend.options.cluster
        wanted = f"the cluster {named!r} (options.cluster)" if named else "no cluster"
        try:
            cancel()
            became = "it is cancelled"
        except Unavailable as error:
            became = f"it may still be there: {error}"
        return SubmitError(
            f"{access}: {self.command} gave job {job.name!r} to the cluster {cluster!r} as {job_id}, and site "
            f"{backend.site.name!r} names {wanted}; {became}. Write `options: {{cluster: {cluster}}}` to use that one"
        )
