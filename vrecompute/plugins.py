"""What other packages add: drivers, analyses, stores, sources; found by entry point and imported when used."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

__all__ = ["ANALYSES", "BACKENDS", "SOURCES", "SOURCE_SCHEMES", "STORES", "installed", "serves", "serving"]

ANALYSES = "vrecompute.analyses"
BACKENDS = "vrecompute.backends"
#: By scheme of their URL; each takes a StoreAddress.
STORES = "vrecompute.stores"
#: By scheme of their address; each takes the address and gives a ByteSource.
SOURCES = "vrecompute.sources"
#: Schemes of sources of this process, besides those of installed packages.
SOURCE_SCHEMES: dict[str, Callable[[str], Any]] = {}


def installed(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name, in the order of their names."""
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def serves(scheme: str) -> bool:
    """Whether sources of the scheme can be read here."""
    return scheme in SOURCE_SCHEMES or scheme in installed(SOURCES)


def serving(scheme: str) -> Callable[[str], Any] | None:
    """What gives sources of a scheme by their addresses; None where nothing here does."""
    if scheme not in SOURCE_SCHEMES and scheme in (points := installed(SOURCES)):
        SOURCE_SCHEMES[scheme] = points[scheme].load()
    return SOURCE_SCHEMES.get(scheme)
