"""Paths on this machine to read store objects from; copies last as long as the process."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from vrecompute.digest import sha256_of
from vrecompute.errors import AbsentObject, DamagedObject
from vrecompute.scratch import process_scratch
from vrecompute.stores.base import Store
from vrecompute.stores.objects import holds, read_content, sha256_in

__all__ = ["local_copy", "process_copy"]


def local_copy(store: Store, name: str) -> Path:
    """A path to an object whose sha256 is in its name: the store's own, where that holds these bytes, or a copy.

    DamagedObject where the store does not have them.
    """
    path = store.local_path(name)
    if path is not None and holds(path, sha256_in(name)):
        return path
    try:
        return process_copy(f"{store.url} {name}", "".join(Path(name).suffixes[-2:]), lambda: read_content(store, name))
    except (AbsentObject, DamagedObject) as error:
        raise DamagedObject(
            f"{store.url}: {name} is missing or damaged; run the analysis again "
            "on the machine that has the original file, which writes it again"
        ) from error


def process_copy(what: str, suffix: str, make: Callable[[], bytes]) -> Path:
    """A file of this process' own that holds what `make` gives; made once for each `what`."""
    folder = process_scratch()
    path = folder / (sha256_of(what.encode()) + suffix)
    if not path.exists():
        beside = folder / secrets.token_hex(8)
        beside.write_bytes(make())
        beside.rename(path)
    return path
