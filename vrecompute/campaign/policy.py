"""When what failed is tried again, and when it is in quarantine: pure."""

from __future__ import annotations

from typing import NamedTuple

from vrecompute.campaign.model import Quarantine, Retry

__all__ = ["Verdict", "after_failure"]

# 2 ** this pauses are longer than any campaign.
_MOST_DOUBLINGS = 16


class Verdict(NamedTuple):
    """Whether something is in quarantine now, and when it is tried again, in seconds since 1970."""

    quarantined: bool
    next_try: float


def after_failure(failures: int, now: float, retry: Retry, quarantine: Quarantine) -> Verdict:
    """What follows the failure number `failures` (from 1) in a row."""
    if failures >= retry.attempts:
        return Verdict(True, now + quarantine.retry_every)
    return Verdict(False, now + retry.wait * 2 ** min(failures - 1, _MOST_DOUBLINGS))
