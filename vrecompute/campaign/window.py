"""When runs may be submitted: by the clock on the wall of a time zone, which summer time sets forth and back.

An hour that comes twice in autumn is in the window twice, one that is left out in spring is not missed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from vrecompute.campaign.model import Window
from vrecompute.campaign.spelling import DAYS

__all__ = ["is_open", "next_change"]

# A window opens or closes at least once in so many days: one of a single day of the week, which a clock that was set
# forward, or a zone that left out a day, has skipped once.
_LONGEST = timedelta(days=16)


def is_open(window: Window | None, now: datetime) -> bool:
    """Whether a window is open at a moment, which has a zone; None is always open."""
    if window is None:
        return True
    local = now.astimezone(ZoneInfo(window.timezone))
    minute = local.hour * 60 + local.minute
    if window.start < window.end:
        return window.start <= minute < window.end and _counts(window, local.weekday())
    if minute >= window.start:
        return _counts(window, local.weekday())
    return minute < window.end and _counts(window, (local.weekday() - 1) % 7)


def next_change(window: Window | None, now: datetime) -> datetime | None:
    """The first whole minute after `now`, in UTC, at which it opens or closes; None for one that is always open."""
    if window is None:
        return None
    state, moment = is_open(window, now), now.astimezone(UTC).replace(second=0, microsecond=0)
    while moment - now < _LONGEST:
        moment += timedelta(minutes=1)
        if is_open(window, moment) != state:
            return moment
    return None


def _counts(window: Window, weekday: int) -> bool:
    return not window.days or DAYS[weekday] in window.days
