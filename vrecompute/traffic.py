"""What moves over which link, counted for the thread that asked, whichever threads carry it.

A link is where bytes come from: `https://HOST:PORT`, `root://HOST`, `s3://BUCKET`, and `file://` for this machine's own
file systems.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

__all__ = ["Traffic", "count_traffic", "fetched"]

_lock = threading.Lock()


@dataclass
class Traffic:
    """By link, bytes and requests; `cpu_s` is what threads that carried them used, besides the one that asked."""

    links: dict[str, tuple[int, int]] = field(default_factory=dict)
    cpu_s: float = 0.0

    def add(self, links: Mapping[str, tuple[int, int]]) -> None:
        """Count what was counted elsewhere."""
        for link, (size, requests) in links.items():
            before = self.links.get(link, (0, 0))
            self.links[link] = before[0] + size, before[1] + requests


_counted: ContextVar[Traffic | None] = ContextVar("traffic", default=None)


def count_traffic() -> Traffic:
    """What gets the traffic of this thread from now on, and that of the context that it hands to others."""
    traffic = Traffic()
    _counted.set(traffic)
    return traffic


def fetched(link: str, size: int, requests: int = 1, cpu_s: float = 0.0) -> None:
    """So many bytes came over a link, by so many requests."""
    if (traffic := _counted.get()) is not None:
        with _lock:
            traffic.add({link: (size, requests)})
            traffic.cpu_s += cpu_s
