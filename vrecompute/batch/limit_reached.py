"""`LimitReached`: a limit that keeps a job in the queue, as a sentence, and whether waiting alone helps.

Systems name such limits by their parts: who has it, what is counted, of one job or of many together. A driver reads the
parts from its system's word.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LimitReached"]

_LOWER = {"jobs": "limits.max_jobs", "jobs in the queue": "limits.max_jobs", "time": "workers.walltime"}


@dataclass(frozen=True)
class LimitReached:
    """At most so much of `what` ("cores", "memory", "jobs") by a rule of `who` ("its account").

    `of_one`: the limit is one of each "job" or "node" by itself; empty where jobs have it together, which are `others`
    ("your running jobs"), else those of `who`. `least`: the job asks for too little, not too much; by the `key` of the
    site's file another `who` is chosen. `minutes`: what is counted is multiplied by time, for jobs that run at once
    where it is `running` too.
    """

    what: str
    who: str
    key: str
    of_one: str = ""
    others: str = ""
    least: bool = False
    minutes: bool = False
    running: bool = False

    @property
    def never(self) -> bool:
        """Whether no end of another job lets this one start."""
        return self.least or bool(self.of_one)

    def __str__(self) -> str:
        """What the job waits for, and what to do.

        >>> print(LimitReached("cores", "its account", "options.account", of_one="job"))
        it asks for more cores per job than its account allows; lower `workers`
        """
        what, who = self.what, self.who
        lower = f"`{_LOWER.get(what, 'workers.walltime' if self.minutes else 'workers')}`"
        spent = f"{what.rstrip('s')} minutes" if self.minutes else what
        if self.least:
            return f"it asks for fewer {what} than {who} demands; raise `workers`, or choose another `{self.key}`"
        if self.of_one:
            return f"it asks for more {spent} per {self.of_one} than {who} allows; lower {lower}"
        if self.minutes and not self.running:
            return f"{who} has used up its {spent}; ask for more, or choose another one"
        at_once = " at once" if self.running else ""
        none = ", and never where that is none"
        alone = none if what.startswith("jobs") else ", and never if it alone asks for more"
        too_much = (
            f"it and {self.others or f'running jobs of {who}'} would take more {spent} than {who} allows{at_once}"
        )
        return f"{too_much}; it starts when they end{alone}: lower {lower}"
