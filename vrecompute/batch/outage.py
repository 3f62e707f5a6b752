"""`Outage`: says once that the batch system does not answer, with what it said instead, and once that it is back."""

from __future__ import annotations

import logging
import time

__all__ = ["Outage"]

_LOG = logging.getLogger(__name__)
#: A daemon that restarts may be away this long without a warning.
_PATIENCE_S = 30.0


class Outage:
    """One batch system's. Nothing is concluded from silence, so without this a wrong address would only be slow."""

    def __init__(self, whom: str) -> None:
        self.whom = whom
        self._since: float | None = None
        self._told = False
        self._heard = False

    def kept(self, instead: str) -> None:
        """A poll brought no answer but `instead`; told at once where there never was one, else after a while."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        away = now - self._since
        if not self._told and (away >= _PATIENCE_S or not self._heard):
            self._told = True
            how_long = f"has not answered for {away:.0f} s" if self._heard else "does not answer"
            _LOG.warning("%s %s (problem: %s); jobs keep their last known state", self.whom, how_long, instead)

    def broken(self) -> None:
        """A poll was answered."""
        if self._told and self._since is not None:
            _LOG.warning("%s answers again, after %.0f s", self.whom, time.monotonic() - self._since)
        self._since, self._told, self._heard = None, False, True
