"""Why no machine matches a job that is idle: what `condor_q -better-analyze` says, in a sentence, asked now and then.

It reads what every machine of the pool offers, so it is asked about one job at a time, and seldom. Of a machine that is
cut up as jobs ask, it sees what is free now; machines may also come when they are wanted, as pilots do. So nothing is
said of waiting being of no use.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence

from vrecompute_backends.htcondor.record import Record

__all__ = ["Matching", "why_unmatched"]

#: How long a job must be idle without a match before it is asked about, and how long an answer is good.
_IDLE_S, _GOOD_S = 30.0, 600.0
_CONDITION = re.compile(r"\[\d+\]\s+(\d+)\s+(\S.*)")
_OF = re.compile(r"Of (\d+) machines")
_SIZES = {
    "RequestMemory": "so much memory free; lower `workers.memory`",
    "RequestCpus": "so many cores free; lower `workers.processes` or `workers.threads`",
    "RequestDisk": "so much disk free; lower `options.disk`",
    "RequestGPUs": "so many GPUs free; lower `workers.gpus`",
    "HasContainer": "a runtime of containers; use `environment.venv` or `environment.cvmfs` in place of an image",
    "HasSandboxImage": "a runtime of containers that takes a folder; make `environment.image` a file",
    "HasSIF": "a runtime of containers that takes a SIF file; unpack `environment.image` to a folder",
}


def why_unmatched(lines: Iterable[str]) -> str:
    """The condition of a job that none of the machines meets, in a sentence; empty where there is no such."""
    text = list(lines)
    machines = next((found[1] for line in text if (found := _OF.search(line))), "")
    conditions = [found.groups() for line in text if (found := _CONDITION.match(line.strip()))]
    unmet = [condition for matched, condition in conditions if matched == "0"]
    if not unmet or not machines:
        return ""
    for condition in unmet:
        for name, sentence in _SIZES.items():
            if re.search(rf"\b{name}\b", condition):
                return f"none of {machines} machines has {sentence}"
        if not re.search(r"\[\d+\]", condition):
            return f"none of {machines} machines has `{condition.strip()}`; mend `options.requirements`"
    return f"none of {machines} machines meets all that it requires; mend `options.requirements`"


class Matching:
    """What is known of why jobs of one Backend are not matched. Jobs of one cluster ask for the same."""

    def __init__(self) -> None:
        self._wanted = ""
        self._said: dict[str, tuple[float, str]] = {}

    @property
    def wanted(self) -> str:
        """The job to ask about with the next poll, empty if there is none."""
        return self._wanted

    def learn(self, records: Mapping[str, Record], said: Sequence[str]) -> None:
        """From a poll: the analysis that was wanted, if any, and which job to ask about next."""
        now = time.monotonic()
        if self._wanted:
            self._said[_cluster(self._wanted)] = now, why_unmatched(said)
            self._wanted = ""
        for job_id, record in records.items():
            asked, _ = self._said.get(_cluster(job_id), (now - _GOOD_S, ""))
            if _is_unmatched(record) and now - asked >= _GOOD_S:
                self._wanted = job_id
                return

    def why(self, job_id: str) -> str:
        """The sentence about a job, empty where nothing is known."""
        return self._said.get(_cluster(job_id), (0.0, ""))[1]


def _is_unmatched(record: Record) -> bool:
    since = record.number("EnteredCurrentStatus")
    idle = record.number("JobStatus") == 1 and record.text("LastRejMatchReason").startswith("no match found")
    return idle and record.now is not None and since is not None and record.now - since >= _IDLE_S


def _cluster(job_id: str) -> str:
    return job_id.partition(".")[0]
