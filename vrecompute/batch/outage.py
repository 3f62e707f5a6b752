"""`Outage`: says once that the batch system does not answer, with what it said instead, and once that it is back.

`cancel_owed`: what becomes of jobs that were to end in the meantime.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from datetime import datetime

from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.errors import Unavailable

__all__ = ["Outage", "cancel_owed"]

_LOG = logging.getLogger(__name__)
#: A daemon that restarts may be away this long without a warning.
_PATIENCE_S = 30.0
#: A question that takes longer than this is named while it is waited for.
_SLOW_S = 5.0
#: How long, and how often, jobs are cancelled again whose owner is leaving.
_CANCEL_S, _AGAIN_S = 20.0, 2.0


class Outage:
    """One batch system's. Nothing is concluded from silence, so without this a wrong address would only be slow."""

    def __init__(self, whom: str) -> None:
        self.whom = whom
        self._since: float | None = None
        self._told = False
        self._heard = False
        self._heard_at: datetime | None = None
        self._slow: set[str] = set()
        #: What was said at the last poll instead of an answer; empty where there was one.
        self.problem = ""

    def kept(self, instead: str) -> None:
        """A poll brought no answer but `instead`; told at once where there never was one, else after a while."""
        now, self.problem = time.monotonic(), instead
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
        self._since, self._told, self._heard, self.problem = None, False, True, ""
        self._heard_at = datetime.now()

    @property
    def doubt(self) -> str:
        """What is to be said of a state that may not be today's; empty while the system answers."""
        if not self.problem:
            return ""
        since = "by its accounting, or as it was" if self._heard_at is None else f"as of {self._heard_at:%H:%M}"
        return f"{since}; {self.whom} does not answer ({self.problem})"

    @contextlib.contextmanager
    def awaited(self, what: str, most_s: float) -> Iterator[None]:
        """Warn, once for each `what`, while an answer is waited for that does not come within seconds."""
        timer = threading.Timer(_SLOW_S, self._tell_slow, [what, most_s])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _tell_slow(self, what: str, most_s: float) -> None:
        if what not in self._slow:
            self._slow.add(what)
            _LOG.warning("%s is slow to answer: waiting for %s, for at most %.0f s", self.whom, what, most_s)


def cancel_owed(backend: QueueBackend) -> None:
    """Try for a while to cancel what could not be; then say which jobs may go on, and the command that ends them."""
    deadline = time.monotonic() + _CANCEL_S
    why = ""
    while (ids := sorted(backend.owed)) and time.monotonic() < deadline:
        try:
            backend.cancel([])
        except Unavailable as error:
            if not why:
                _LOG.warning("trying for %.0f s to cancel jobs %s: %s", _CANCEL_S, ", ".join(ids), error)
            why = str(error)
            time.sleep(_AGAIN_S)
    if ids:
        command = f"{backend.ending} {' '.join(ids)}"
        _LOG.warning("%s: jobs that could not be cancelled may go on; `%s` ends them: %s", backend.access, command, why)
