"""A job that a system would take and start much later, as after a maintenance: what keeps it, and what would fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from vrecompute.batch.queue_backend import LATE_S, StartsLate
from vrecompute.units import format_duration

__all__ = ["Reserved", "late_start"]


@dataclass(frozen=True)
class Reserved:
    """Nodes that a system keeps from jobs for a while; `name` is what its users know that by."""

    name: str
    begins: datetime
    ends: datetime


def late_start(
    said: str, at: datetime, now: datetime, reserved: Iterable[Reserved], mend: str = ""
) -> StartsLate | None:
    """What is said of a job that would start `at`, by the site's clock; None where that is within `LATE_S`.

    `said` is what the system says to it. `mend` is the key of the site's file that delays jobs, if one does, and no
    reservation.
    """
    after_s = (at - now).total_seconds()
    if after_s <= LATE_S:
        return None
    said = f"{said}, {after_s / 86400:.0f} days from now"
    for each in reserved:
        if each.begins < at <= each.ends:
            fits_s = int((each.begins - now).total_seconds()) // 60 * 60
            said += f": the reservation {each.name} has its nodes from {each.begins:%Y-%m-%dT%H:%M:%S}"
            fits = f"; a walltime of {format_duration(fits_s)} would end before" if fits_s > 0 else ""
            return StartsLate(said + fits, after_s, mend="workers.walltime" if fits else "")
    return StartsLate(said, after_s, mend=mend)
