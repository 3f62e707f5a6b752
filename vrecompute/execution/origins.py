"""What the file of a source is before it is read and after: so that what was read is known to be of one file."""

from __future__ import annotations

from vrecompute import reader
from vrecompute.digest import sha256_json
from vrecompute.errors import BadInput
from vrecompute.execution.plan import PlannedSource
from vrecompute.execution.replicas import ReplicaNotes

__all__ = ["is_gone", "is_one_file", "origin_after", "origin_before"]

_CHANGED, _GONE = "changed-", "gone"


def origin_before(source: PlannedSource, *, asks: bool = False) -> str:
    """What the file is now; of another machine's, unless it `asks`, what preflight found, which costs no request."""
    address = source.places[0] if source.origin else "://"
    try:
        return source.origin if "://" in address and not (asks and source.origin) else reader.origin_of(address)
    except BadInput:
        return _GONE


def origin_after(source: PlannedSource, before: str, notes: ReplicaNotes) -> tuple[str, bool]:
    """What the file is that was read since `before`; where it changed meanwhile, a name that no file has.

    And whether that is what was planned, or replicas; of several the origin is that of no single file.
    """
    if not source.origin:
        return "", False
    opened = {address: origin or before for address, origin in notes.origins.items()} or {source.places[0]: before}
    try:
        now = {address: reader.origin_of(address) for address in opened}
    except BadInput:
        return _GONE, False
    if now != opened:
        # some of it may be of the one and some of the other: what is filed under it is compared with the file first
        return f"{_CHANGED}{sha256_json([opened, now])}", False
    origin = next(iter(now.values())) if len(now) == 1 else sha256_json(sorted(now.values()))
    return origin, now.get(source.places[0], source.origin) == source.origin


def is_one_file(origin: str) -> bool:
    """Whether what `origin_after` gave says that all that was read is of one file."""
    return origin != _GONE and not origin.startswith(_CHANGED)


def is_gone(origin: str) -> bool:
    """Whether it says that the file could not be looked at any more."""
    return origin == _GONE
