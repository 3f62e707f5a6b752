"""`QueueBackend`: a batch system's own words, as the layer that all drivers of queues share sees them.

                      the driver's words                              what batch/ makes of them
    options           options_model, site_rules                       `site check`, a constructor that asks nothing
    rendering         header, variables, preamble, granted_s          job_script: `script`, what `explain` prints
    nodes that fail   exclude                                         left_out: jobs are kept off them for a while
    launcher          step                                            a detached job's allocation, workers of a live run
    rerun             requeue                                         a command that is out of time goes on
    submission        hand_in, copies, ages                           submissions: one job, though the answer was lost
    asking            is_id, ask_about, accounting_lags               known: what is believed; a query per min_poll
    the end           end, ending                                           cancel: jobs and their secrets
    delivery          log, shares_spool                               spool: secrets, files, where a scheduler listens
    is it there       greet                                           probe: a canary through the real queue
    what may start    dry_run, queues_of, survey                      probe: refusals and limits before a run meets them

A driver is a subclass of `queue_driver.QueueDriver`, which has all of the right column.
"""

from __future__ import annotations

import re
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from vrecompute.batch.budget import Budget
from vrecompute.batch.capabilities import Capabilities
from vrecompute.batch.contract import Backend, Job, JobId, JobStatus, SubmitError
from vrecompute.batch.known import Answer, Seen
from vrecompute.batch.left_out import LeftOut
from vrecompute.batch.options import Strict
from vrecompute.batch.prologue import in_image
from vrecompute.batch.queue_rules import queue_rules
from vrecompute.batch.shape import Shape
from vrecompute.sites.access import Access
from vrecompute.sites.model import Site
from vrecompute.sites.rules import Diagnostic

__all__ = ["LATE_S", "LostAnswer", "QueueBackend", "StartsLate"]

#: A job that would start later than this is one that nobody waits for without having been told.
LATE_S = 86400.0


class LostAnswer(SubmitError):
    """The batch system does not say whether it took the job."""

    def __init__(self, message: str) -> None:
        super().__init__(message, transient=True)


class StartsLate(SubmitError):
    """The batch system would take the job, and start it no sooner than `after_s`, beyond `LATE_S`."""

    def __init__(self, message: str, after_s: float, *, mend: str = "") -> None:
        super().__init__(message, mend=mend)
        self.after_s = after_s


class QueueBackend(Backend):
    """A driver whose jobs wait in a queue; what they write comes to one folder of the site, the spool."""

    #: The batch system's name in sentences.
    system: str
    #: What `options:` of its sites may say, and what must hold between keys of such a site.
    options_model: type[BaseModel] = Strict
    site_rules: Callable[[Site], Iterator[Diagnostic]] = staticmethod(queue_rules)
    #: As they are left out, since commands are put into images by the script of their job.
    capabilities = Capabilities()
    #: Whether the system puts a job into its image; else the job's script does.
    starts_images: bool = False
    options: Any
    access: Access
    budget: Budget
    #: Nodes that jobs are kept off.
    left_out: LeftOut
    #: Set where nothing is to wait for jobs of a cluster that is being opened.
    leaving: threading.Event
    #: Whether a job has whole nodes, and is charged for them.
    whole_node: bool = False
    #: Whether jobs run in the spool itself. Else the system brings their secrets from it to a folder elsewhere, which
    #: goes with the job: then what is in the spool is deleted here once they have ended.
    shares_spool: bool = True
    #: Whether `hand_in` takes more than one copy: the system has arrays of jobs.
    array: bool = False
    #: Whether the record of jobs that ended, where there is one, may tell of one minutes after it has left the queue.
    accounting_lags: bool = True
    #: Shell texts that give, in a job: `job` its native id, `attempt` how often it was started before, `index` its
    #: number among copies, `began` and `ends` in seconds since 1970. Only `job` is needed. They are read in a login
    #: shell, which sets PATH anew; an attempt that is no number from 0 up ends the job.
    variables: Mapping[str, str]
    #: Shell lines that come first in a job, as to undo what the system left in its environment.
    preamble: tuple[str, ...] = ()
    #: The shell command with which a job asks to be started again under its id; empty where there is none.
    requeue: str = ""

    #: The command with which a user ends jobs by their ids.
    ending: str = "cancel"

    def image_words(self, image: str | None, gpus: int = 0) -> str:
        """Shell words that put the command after them into an image, where the system does not."""
        return "" if self.starts_images else in_image(self.site, image, gpus)

    @property
    def spool_suffix(self) -> str:
        """What the name of the spool ends with, where other jobs of the system may have the same ids."""
        return ""

    @property
    @abstractmethod
    def owed(self) -> Sequence[JobId]:
        """Jobs that were to be cancelled while the site did not answer."""

    @abstractmethod
    def forget(self, ids: Sequence[JobId], *, logs: bool = True) -> None:
        """Remove what these jobs left in the spool: marks, and logs unless they are to be read still.

        What cannot be removed now goes with its age.
        """

    @property
    def problem(self) -> str:
        """What the system said at the last poll instead of an answer; empty where it answered."""
        return ""

    @property
    @abstractmethod
    def spool(self) -> str:
        """The absolute path of the folder that jobs run in; made on first use, mode 0700."""

    @abstractmethod
    def header(self, job: Job, shape: Shape) -> list[str]:
        """The directives of a job, as lines of its script. Pure."""

    def exclude(self, nodes: Sequence[str]) -> list[str]:
        """The directives that keep a job off these nodes; empty where the system has none. Pure."""
        del nodes
        return []

    def granted_s(self, job: Job) -> int:
        """The walltime that the job really gets, where the system counts in larger units."""
        return job.walltime_s

    def step(self, nodes: int, cores: int) -> list[str]:
        """What is put before a command of so many cores to start it once on each of a job's nodes."""
        return []

    @abstractmethod
    def hand_in(self, job: Job, script: str, count: int) -> str:
        """Submit so many copies of a script; the id of what was taken.

        SubmitError where it is refused, LostAnswer or Unavailable where that is in doubt.
        """

    def dry_run(self, job: Job, script: str, count: int) -> str | None:
        """What the system says to so many copies of a script, taking none; None where it cannot be asked that.

        SubmitError where it would refuse them, StartsLate where it would start them after `LATE_S`. Without an answer,
        a probe submits such jobs for a moment.
        """
        del job, script, count
        return None

    def key_of(self, status: JobStatus) -> str:
        """The key of the site's file that lets a waiting job start, as its reason names it; empty where none does."""
        found = re.search(r"`((?:options|workers|limits)(?:\.[a-z_.]+)?)`", status.reason)
        return found[1] if found else ""

    def queues_of(self, job: Job) -> Sequence[str]:
        """The queues that a job may go to, as `survey` names them; empty for the system's default. Pure."""
        del job
        return ()

    def copies(self, taken: str, count: int) -> list[JobId]:
        """The ids of the jobs in what `hand_in` gave."""
        return [JobId(taken)] if count == 1 else [JobId(f"{taken}_{index}") for index in range(count)]

    @abstractmethod
    def ages(self, name: str) -> Mapping[str, float]:
        """What the user has in the queue under a name: `hand_in`'s id -> seconds since it was submitted."""

    def is_id(self, text: str) -> bool:
        """Whether it may be an id of this system, as `hand_in` and `copies` give them: commands get no other."""
        return re.fullmatch(r"[0-9]+(_[0-9]+)?", text) is not None

    @abstractmethod
    def ask_about(self, ids: Sequence[JobId]) -> Answer[Seen]:
        """One query about all of them. Unavailable where the site does not answer."""

    @abstractmethod
    def end(self, ids: Sequence[str]) -> None:
        """End jobs, or what `hand_in` gave. Unavailable where they may go on; ids that are over are no error."""

    @abstractmethod
    def log(self, job_id: JobId) -> str:
        """The name of the file in the spool that the job writes to."""

    @abstractmethod
    def greet(self) -> str:
        """The system's name and version, in its own words; Unavailable with the reason where it is not there."""

    @abstractmethod
    def brought_back(self, name: str) -> Mapping[str, bytes]:
        """What copies of the job of a name added to the files that they carry, by path; of one name in several, one."""

    @abstractmethod
    def forget_carried(self, name: str) -> None:
        """Remove what was brought back."""

    def afterwards(self, ids: Sequence[JobId], job: Job) -> bool:
        """Have the system run a job's command in the spool once these, of one submission, have ended; whether it will.

        A system that cannot, or a site that does not allow it, leaves that to clients.
        """
        del ids, job
        return False

    @abstractmethod
    def announced(self, name: str) -> bytes | None:
        """What a job wrote to the file `name` where it runs, told once; None while there is nothing."""
