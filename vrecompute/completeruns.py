"""Runs that this machine has seen to be complete, by store: what never changes, so that a list need not ask again.

    $VRECOMPUTE_CACHE or the user's cache folder
    └── runs/<sha256 of the store>.json      lines of `runs list`, by run

A run is named by time and chance, so a name never comes to mean another run; a complete one is never taken up again.
Others that ended may be, and are not kept here. What may happen to one is damage: where its files can be looked at
without a request, `stamp` tells that they are as they were.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vrecompute.digest import sha256_of
from vrecompute.errors import StoreError
from vrecompute.kernels import CACHE_VARIABLE
from vrecompute.records import json_of
from vrecompute.stores.base import Store
from vrecompute.stores.directory import DirStore
from vrecompute.stores.ownership import make_private, only_ours

__all__ = ["cache_folder", "complete_runs", "keep_complete_runs", "stamp"]


def complete_runs(store: Store) -> dict[str, Any]:
    """What was kept of the runs of a store, by run; nothing where that cannot be read, or others could write it."""
    path = _path(store)
    with contextlib.suppress(OSError, ValueError):
        if only_ours(path.parent):
            kept = json_of(path.read_bytes())
            return kept if isinstance(kept, dict) else {}
    return {}


def keep_complete_runs(store: Store, runs: Mapping[str, Any]) -> None:
    """Keep these in place of what was kept; where nothing can be written, nothing is."""
    path = _path(store)
    with contextlib.suppress(OSError):
        make_private(path.parent)
        if only_ours(path.parent):
            beside = path.with_name(f".{secrets.token_hex(8)}")
            beside.write_text(json.dumps(dict(runs)))
            beside.replace(path)


def stamp(store: Store, run: str) -> str:
    """Sizes and times of the files that say that a run is complete; empty where the store is no folder here."""
    if not isinstance(store, DirStore):
        return ""
    try:
        found = [store.stat(f"runs/{run}/{name}") for name in ("manifest.json", "outcomes/complete.json")]
    except StoreError as error:
        return str(error)
    return " ".join("absent" if entry is None else f"{entry.size}@{entry.written}" for entry in found)


def cache_folder() -> Path:
    """Where this machine keeps what it knows of runs, for this user; it may not be there."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "vrecompute"
    return Path(os.environ.get(CACHE_VARIABLE) or user).expanduser() / "runs"


def _path(store: Store) -> Path:
    # a path alone may be that of another machine
    return cache_folder() / f"{sha256_of(f'{store!r} {store.url}'.encode(errors='surrogatepass'))[:32]}.json"
