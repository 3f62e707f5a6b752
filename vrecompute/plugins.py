"""What other packages add: drivers, analyses, stores, sources; found by entry point and imported when used."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

__all__ = ["ANALYSES", "BACKENDS", "SOURCES", "STORES", "installed"]

ANALYSES = "vrecompute.analyses"
BACKENDS = "vrecompute.backends"
#: By scheme of their URL; each takes a StoreAddress.
STORES = "vrecompute.stores"
#: By scheme of their address; each takes the address and gives a ByteSource.
SOURCES = "vrecompute.sources"


def installed(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name, in the order of their names."""
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}
