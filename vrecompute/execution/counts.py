"""`Counts`: what work cost, as data: a Runner's own, or those of several together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Counts"]


@dataclass(frozen=True)
class Counts:
    """Chunks that were `computed` or `reused`, and what a report tells of the work; see `Tally`.

    `bytes` are of the declared columns on disk, `core_s` CPU seconds, `times` seconds by stage. `links` are bytes and
    requests by link. `reads` is what no key holds and is in the parts.
    """

    computed: int = 0
    reused: int = 0
    events_computed: int = 0
    bytes: int = 0
    core_s: float = 0.0
    machines: tuple[str, ...] = ()
    retries: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    times: Mapping[str, float] = field(default_factory=dict)
    links: Mapping[str, tuple[int, int]] = field(default_factory=dict)
