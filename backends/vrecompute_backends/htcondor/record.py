"""`Record`: one attempt of one job in HTCondor's own words, and the lines of condor_q and condor_history that say it.

A line has the values of ATTRIBUTES as ClassAd literals, with tabs between: text is in quotes, and holds no line break.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vrecompute.batch.rows import rows
from vrecompute.records import json_of
from vrecompute_backends.htcondor.description import ONCE, WALLTIME

__all__ = ["ATTRIBUTES", "Record", "parse"]

#: What is asked of each job, in this order.
ATTRIBUTES = (
    "ClusterId", "ProcId", "JobStatus", "LastJobStatus", "NumShadowStarts", "NumJobStarts", "EnteredCurrentStatus",
    "JobCurrentStartDate", "ExitBySignal", "ExitCode", "ExitSignal", "RemoteHost", "LastRemoteHost", "ResidentSetSize",
    "RequestMemory", "HoldReasonCode", "HoldReasonSubCode", "HoldReason", "LastHoldReasonCode", "LastHoldReasonSubCode",
    "LastHoldReason", "RemoveReason", "VacateReason", "LastRejMatchReason", "TransferInput", "LeaveJobInQueue",
    WALLTIME, ONCE,
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """The attributes of one job; `now` is the time of the answer on the access point."""

    values: Mapping[str, Any]
    now: float | None = None

    @property
    def job_id(self) -> str:
        """CLUSTER.PROC."""
        return f"{self.values['ClusterId']}.{self.values['ProcId']}"

    @property
    def secrets(self) -> str:
        """The folder of its secret files; empty where it has none."""
        brought = re.split(r"[, ]+", self.text("TransferInput"))
        return next((name for name in brought if name.startswith("secrets-")), "")

    @property
    def to_retrieve(self) -> bool:
        """Whether it has ended, at a schedd elsewhere, and what it made is still there."""
        return self.number("JobStatus") == 4 and self.true("LeaveJobInQueue")

    def number(self, name: str) -> int | None:
        """A whole number, None where there is none."""
        value = self.values.get(name)
        return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    def text(self, name: str) -> str:
        """Text, empty where there is none."""
        value = self.values.get(name)
        return value if isinstance(value, str) else ""

    def true(self, name: str) -> bool:
        """Whether it is said to be so."""
        return self.values.get(name) is True


def parse(lines: Iterable[str], now: float | None = None) -> dict[str, Record]:
    """Records by id."""
    found = {}
    for words in rows(lines, len(ATTRIBUTES), "\t"):
        record = Record(dict(zip(ATTRIBUTES, map(_literal, words), strict=True)), now)
        if record.number("ClusterId") is not None and record.number("ProcId") is not None:
            found[record.job_id] = record
    return found


def _literal(word: str) -> Any:
    """The value of a ClassAd literal; None of one that is undefined, an error or an expression."""
    try:
        return json_of(word)
    except ValueError:
        return None
