"""`check_apart`: what a user has written somewhere does not go into a store, where it would pass for its objects."""

from __future__ import annotations

import contextlib
import os
from itertools import islice
from pathlib import Path

from vrecompute.errors import UsageError
from vrecompute.stores.base import Store
from vrecompute.stores.directory import DirStore

__all__ = ["check_apart", "folder_of_store", "within"]

# How many of its runs are looked at before a folder is taken for no store.
_LOOKED_AT = 20


def check_apart(path: Path, store: Store | None = None) -> None:
    """Raise UsageError where a file or folder at `path` would lie in this store, or in any other that holds a run.

    Links are followed: it matters where the bytes come to lie.
    """
    root = folder_of_store(store)
    if root is None or within(path, root) is None:
        real = Path(os.path.realpath(path))
        root = next((place for place in (real, *real.parents) if _holds_runs(place)), None)
    if root is not None:
        raise UsageError(
            f"{path} lies inside the store {root}, where outputs would be taken for damaged runs; "
            "name a file or folder elsewhere"
        )


def folder_of_store(store: Store | None) -> Path | None:
    """The folder on this machine that a store is; None for any other."""
    return store.root if isinstance(store, DirStore) else None


def within(path: Path, folder: Path) -> Path | None:
    """The way from `folder` to `path`, which need not be there; None where it is not in it. Links are followed."""
    real, real_folder = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    for place in (real, *real.parents):
        with contextlib.suppress(OSError):
            # one folder may have two names without a link, such as where it is mounted twice
            if place == real_folder or os.path.samefile(place, real_folder):
                return real.relative_to(place)
    return None


def _holds_runs(place: Path) -> bool:
    try:
        with os.scandir(place / "runs") as listing:
            return any(
                os.path.isfile(f"{run.path}/manifest.json") and os.path.isdir(f"{run.path}/events")
                for run in islice(listing, _LOOKED_AT)
            )
    except (OSError, ValueError):
        return False
