"""Whose code may run as this user: that of their own runs, and of those whose owner they trust."""

from __future__ import annotations

from collections.abc import Collection

from vrecompute.errors import UntrustedRun
from vrecompute.execution.manifest import Manifest
from vrecompute.stores.base import Store

__all__ = ["require_trust"]


def require_trust(store: Store, manifest: Manifest, users: Collection[str]) -> None:
    """Raise UntrustedRun unless the run's manifest is this user's, or belongs to one of `users`.

    The manifest holds the sha256 of the code. A store that knows no owners says so, and no run of it passes.
    """
    owner = store.owner(manifest.object_name)
    if owner.is_me or (owner.name and owner.name in users):
        return
    made = f"was made by the user {owner.name!r}" if owner.name else "has no known owner"
    listed = f", or list {owner.name} in store.trusted_users of the site" if owner.name else ""
    raise UntrustedRun(
        f"run {manifest.run} in {store.url} {made}, and its analysis would run as you; "
        f"if you trust its code, pass --trust (in Python: attach({manifest.run!r}, trust=True)){listed}"
    )
