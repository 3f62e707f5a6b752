"""Whose code may run as this user: that of their own runs, and of those whose owner they trust."""

from __future__ import annotations

from collections.abc import Collection

from vrecompute.errors import DamagedObject, UntrustedRun
from vrecompute.execution.manifest import Manifest, StoredManifest, find_manifest
from vrecompute.stores.base import Store

__all__ = ["require_trust", "sha256_kept"]


def require_trust(store: Store, found: StoredManifest, users: Collection[str]) -> None:
    """Raise UntrustedRun unless the manifest is this user's, or of one of `users`, and no other user can write it.

    The manifest holds the sha256 of the code. A store that knows no owners says so, and no run of it passes.
    """
    owner, run = found.owner, found.manifest.run
    if owner.vouches(users):
        return
    listed = ""
    if not owner.name:
        made = "has no known owner"
    elif owner.is_me or owner.name in users:
        whose = "yours" if owner.is_me else f"of the user {owner.name!r}"
        made = (
            f"may be of another user: {found.manifest.object_name} is {whose}, and its permissions let others write it"
        )
    else:
        made = f"was made by the user {owner.name!r}"
        listed = f", or list {owner.name} in store.trusted_users of the site" * (not owner.others_write)
    raise UntrustedRun(
        f"run {run} in {store.url} {made}, and its analysis would run as you; "
        f"if you trust its code, pass --trust (in Python: attach({run!r}, trust=True)){listed}"
    )


def sha256_kept(store: Store, manifest: Manifest) -> str:
    """The sha256 that a store's object of a manifest has, for a job to verify that it runs no other.

    DamagedObject where the store holds another one: it was replaced since this process read or wrote it.
    """
    found = find_manifest(store, manifest.run)
    if found.manifest != manifest:
        raise DamagedObject(
            f"{store.url}: {manifest.object_name} is not the manifest that this process knows of run {manifest.run}: "
            "it was replaced meanwhile; nothing was submitted"
        )
    return found.sha256
