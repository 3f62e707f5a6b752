"""`reaching`: a host that cannot be reached is left alone for a while by who may read a replica elsewhere.

After FAILURES requests in a row that found no host, the next fail at once for LEFT_ALONE_S seconds; after these one
failure is enough, and any answer ends it. Who has no other replica asks all the same, with the patience of any request.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vrecompute.errors import UnreadableFile
from vrecompute.remote.fetch import Unreached
from vrecompute.retries import another_is_left

__all__ = ["reaching"]

_LOG = logging.getLogger(__name__)
FAILURES, LEFT_ALONE_S = 3, 30.0
_MOST_HOSTS = 1000
_lock = threading.Lock()


@dataclass
class _Silence:
    """Of one host: failures in a row, until when it is left alone, and what the last request came to."""

    failures: int = 0
    until: float = 0.0
    why: str = ""


# Hosts of this process that did not answer when they were asked last.
_silent: dict[str, _Silence] = {}


@contextmanager
def reaching(address: str, link: str) -> Iterator[None]:
    """Around one request to the host of a link. UnreadableFile where it is left alone, and another replica is left."""
    silence = _silent.get(link)
    if silence is not None and time.monotonic() < silence.until and another_is_left():
        raise UnreadableFile(address, f"{silence.why}, {silence.failures} times in a row, and is left alone for now")
    try:
        yield
    except Unreached as error:
        _failed(link, error.reason)
        raise
    except UnreadableFile:
        _silent.pop(link, None)
        raise
    else:
        _silent.pop(link, None)


def _failed(link: str, why: str) -> None:
    with _lock:
        if len(_silent) >= _MOST_HOSTS:
            _silent.clear()
        silence = _silent.setdefault(link, _Silence())
        silence.failures += 1
        silence.why = why
        if silence.failures >= FAILURES:
            silence.until = time.monotonic() + LEFT_ALONE_S
        if silence.failures == FAILURES:
            _LOG.warning("%s; replicas elsewhere are read for its files as long as that is so", why)
