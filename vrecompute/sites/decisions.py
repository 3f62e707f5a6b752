"""Which keys of a site decide what runs as the user, and where the user's code and secrets go."""

from __future__ import annotations

from collections.abc import Collection

from vrecompute.sites.leaves import KeyPath

__all__ = ["decides"]

_SECTIONS = frozenset({"access", "environment"})
_KEYS = frozenset(
    {
        "network.proxy",  # sees what goes through it
        "network.tls",  # without it any user of a machine can run code in a cluster
        "stage.scratch",  # jobs run in a folder of it, from where Python imports
        "store.credentials",
        "store.trusted_users",
    }
)


def decides(path: KeyPath, harmless_options: Collection[str]) -> bool:
    """Whether the key is one of them. Of a driver's options those are not that it calls harmless."""
    if path[0] == "options":
        return path[1:2] != () and path[1] not in harmless_options
    return path[0] in _SECTIONS or ".".join(path[:2]) in _KEYS
