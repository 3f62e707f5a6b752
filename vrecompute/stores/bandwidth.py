"""`Bandwidth`: the bytes a second that this process exchanges with a service, on average, over all its threads."""

from __future__ import annotations

import threading
import time
from functools import lru_cache

__all__ = ["LEAST_MB_PER_S", "Bandwidth", "bandwidth"]

#: At less a piece of a file would take longer than services wait for one.
LEAST_MB_PER_S = 0.1


class Bandwidth:
    """At most `mb_per_s` times 10**6 bytes a second; any number without one."""

    def __init__(self, mb_per_s: float | None = None) -> None:
        self._bytes_per_s = None if mb_per_s is None else 1e6 * mb_per_s
        self._free = 0.0
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        """Return when so many bytes may move: those that were let through before have had their time."""
        if self._bytes_per_s is None or count <= 0:
            return
        with self._lock:
            now = time.monotonic()
            begin = max(now, self._free)
            self._free = begin + count / self._bytes_per_s
        time.sleep(begin - now)


@lru_cache(maxsize=64)
def bandwidth(endpoint: str, mb_per_s: float | None) -> Bandwidth:
    """The one of this process for a service, whichever buckets and folders of it are used."""
    return Bandwidth(mb_per_s)
