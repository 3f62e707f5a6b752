"""What other packages add: drivers and analyses, found by entry point and imported when they are used."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

__all__ = ["ANALYSES", "BACKENDS", "installed"]

ANALYSES = "vrecompute.analyses"
BACKENDS = "vrecompute.backends"


def installed(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name, in the order of their names."""
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}
