"""Since when this machine knows that the job of a run is over: a store may show a little later how the run ended.

    $VRECOMPUTE_CACHE or the user's cache folder
    └── runs/over-<sha256>      by store, run and attempt of its job; its time is that of the first look

Commands look once and end, so that no process of theirs could wait; they tell alike what one that waits does.
"""

from __future__ import annotations

import contextlib
import os
import time

from vrecompute.completeruns import cache_folder
from vrecompute.digest import sha256_of
from vrecompute.stores.base import Store
from vrecompute.stores.ownership import make_private, only_ours

__all__ = ["over_for_s"]

_KEPT_S = 30 * 86_400.0
#: For where no file can be written.
_FIRST: dict[str, float] = {}


def over_for_s(store: Store, run: str, job: str, attempt: int) -> float:
    """Seconds since the first look that found this attempt of the job over, which is this one where there was none."""
    now = time.time()
    name = f"over-{sha256_of(f'{store!r} {store.url} {run} {job} {attempt}'.encode(errors='surrogatepass'))[:32]}"
    first = _FIRST.setdefault(name, now)
    folder = cache_folder()
    with contextlib.suppress(OSError):
        make_private(folder)
        if only_ours(folder):
            try:
                first = min(first, (folder / name).stat().st_mtime)
            except FileNotFoundError:
                for old in folder.glob("over-*"):
                    if now - old.stat().st_mtime > _KEPT_S:
                        old.unlink()
                os.close(os.open(folder / name, os.O_CREAT | os.O_WRONLY, 0o600))
    return max(0.0, now - first)
