"""A job that Slurm would take and start much later, as after a maintenance: what keeps it, and what would fit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from vrecompute.batch.contract import Job
from vrecompute.batch.queue_backend import LATE_S, QueueBackend, StartsLate
from vrecompute.errors import Unavailable
from vrecompute.units import format_duration
from vrecompute_backends.slurm.rules import asked_by

__all__ = ["late_start"]

#: First what time it is there, then a line a reservation.
_RESERVATIONS = """
export SLURM_TIME_FORMAT=standard
date +%Y-%m-%dT%H:%M:%S || exit 1
scontrol --oneliner show reservation
"""


def late_start(backend: QueueBackend, job: Job, starts: str, said: str) -> StartsLate | None:
    """What is said of a job that would start then, by the site's clock; None where that is within `LATE_S`."""
    try:
        lines = backend.access.run(["sh", "-c", _RESERVATIONS]).text.splitlines()
        at, now = datetime.fromisoformat(starts), datetime.fromisoformat(lines[0].strip())
        after_s = (at - now).total_seconds()
    except (Unavailable, ValueError, IndexError, TypeError):  # a time in the user's own format
        return None
    if after_s <= LATE_S:
        return None
    said = f"{said}, {after_s / 86400:.0f} days from now"
    for name, begins, ends in _reservations(lines[1:]):
        if begins < at <= ends:
            fits_s = int((begins - now).total_seconds()) // 60 * 60
            said += f": the reservation {name} has its nodes from {begins:%Y-%m-%dT%H:%M:%S}"
            fits = f"; a walltime of {format_duration(fits_s)} would end before" if fits_s > 0 else ""
            return StartsLate(said + fits, after_s, mend="workers.walltime" if fits else "")
    return StartsLate(said, after_s, mend=asked_by(backend.site, "begin time", ""))


def _reservations(lines: list[str]) -> Iterator[tuple[str, datetime, datetime]]:
    """Name, begin and end of each, from `scontrol --oneliner show reservation`."""
    for line in lines:
        if found := re.search(r"ReservationName=(\S+) StartTime=(\S+) EndTime=(\S+)", line):
            yield found[1], datetime.fromisoformat(found[2]), datetime.fromisoformat(found[3])
