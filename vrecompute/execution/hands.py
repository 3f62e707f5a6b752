"""`Hands`: the Runner's side of a store that workers do not reach: what goes with tasks, and what comes back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from vrecompute.errors import StoreError
from vrecompute.stores.base import Store
from vrecompute.stores.handed import SCHEME, Handed
from vrecompute.stores.objects import read_content, write_as_made

__all__ = ["Hands"]

# What tasks write: parts, rows of tables, and what is known of files.
_TASKS_WRITE = ("work/", "sources/")
_MOST_KEPT = 64


class Hands:
    """Of one Runner; `url` is what workers open in place of the store's own."""

    def __init__(self, store: Store, run: str) -> None:
        self.store = store
        self.url = f"{SCHEME}://{run}"
        self._read = lru_cache(maxsize=_MOST_KEPT)(lambda name: read_content(store, name))

    def objects(self, names: Iterable[str]) -> dict[str, bytes]:
        """Content that tasks will read; DamagedObject, AbsentObject."""
        return {name: self._read(name) for name in sorted(set(names))}

    def those_there(self, names: Iterable[str]) -> dict[str, bytes]:
        """The same, without what is not there or is damaged, where a task can do without it."""
        found: dict[str, bytes] = {}
        for name in names:
            try:
                found |= self.objects([name])
            except StoreError:
                continue
        return found

    def taken(self, value: Any) -> Any:
        """What a task gave; what it put is durable by then. Raises StoreError."""
        if not isinstance(value, Handed):
            return value
        self._keep(value.put)
        return value.value

    def _keep(self, put: Mapping[str, bytes]) -> None:
        for name, data in put.items():
            if not name.startswith(_TASKS_WRITE):
                raise StoreError(f"a worker wrote {name!r}, which is none of a task's objects; it is not kept")
            write_as_made(self.store, name, data)
