"""`HandedStore`: what a task has of a store that its worker cannot reach; what it puts goes back with its result.

The Runner hands in what the task reads, and makes durable what comes back before the task counts as done. A worker
lists only these objects, so that what it does not find is made again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vrecompute.digest import sha256_of
from vrecompute.errors import AbsentObject, DamagedObject
from vrecompute.stores.address import SCHEMES, StoreAddress
from vrecompute.stores.base import Entry, aside_name, checked, object_path
from vrecompute.stores.ownership import Owner

__all__ = ["SCHEME", "Handed", "HandedStore", "handing"]

#: Of the url under which workers open it.
SCHEME = "handed"


@dataclass(frozen=True)
class Handed:
    """What a task gave, and the objects that it put into its store, by name."""

    value: Any
    put: Mapping[str, bytes]


@dataclass
class _Objects:
    """Of one task."""

    given: Mapping[str, bytes] = field(default_factory=dict)
    put: dict[str, bytes] = field(default_factory=dict)


_objects: ContextVar[_Objects | None] = ContextVar("objects", default=None)


def handing(
    function: Callable[..., Any], common: Mapping[str, bytes], own: Mapping[str, bytes], *arguments: Any, **named: Any
) -> Handed:
    """Call a function, on a worker, whose store holds these objects."""
    objects = _Objects({**common, **own})
    before = _objects.set(objects)
    try:
        return Handed(function(*arguments, **named), objects.put)
    finally:
        _objects.reset(before)


class HandedStore:
    """A Store of the task that runs in this thread: what was handed in, and what the task put."""

    def __init__(self, address: StoreAddress) -> None:
        self.url = str(address)

    def create(self, name: str, data: bytes) -> bool:
        """Keep it for the Runner."""
        taken = self.exists(name)
        if not taken:
            self._task.put[name] = data
        return not taken

    def replace(self, name: str, data: bytes) -> None:
        """Keep it for the Runner."""
        self.delete(name)
        self._task.put[name] = data

    def put_file(self, name: str, path: Path) -> bool:
        """As `create`."""
        return self.create(name, path.read_bytes())

    def get(self, name: str, *, sha256: str | None = None, most_bytes: int | None = None) -> bytes:
        """What was put or handed in."""
        object_path("", name)
        task = self._task
        data = task.put.get(name, task.given.get(name))
        if data is None:
            raise AbsentObject(f"this worker does not reach the store and was handed no object {name!r}")
        if most_bytes is not None and len(data) > most_bytes:
            raise DamagedObject(f"{self.url}: {name!r} has {len(data)} bytes")
        return checked(self.url, name, data, sha256)

    def get_owned(self, name: str, *, most_bytes: int | None = None) -> tuple[bytes, Owner]:
        """Its owner is not known here."""
        return self.get(name, most_bytes=most_bytes), Owner()

    def get_file(self, name: str, path: Path, *, sha256: str | None = None) -> None:
        """As `get`."""
        path.write_bytes(self.get(name, sha256=sha256))

    def stat(self, name: str) -> Entry | None:
        """Its size; its time is now."""
        return Entry(name, len(self.get(name)), time.time()) if self.exists(name) else None

    def digest(self, name: str) -> str | None:
        """Of what is here."""
        return sha256_of(self.get(name)) if self.exists(name) else None

    def set_aside(self, name: str) -> str:
        """Forget it: the Runner looks at its own."""
        self.delete(name)
        return aside_name(name)

    def exists(self, name: str) -> bool:
        """Whether it is here."""
        object_path("", name)
        return name in self._task.put or name in self._task.given

    def names(self, prefix: str) -> Iterator[str]:
        """Of what is here."""
        yield from sorted(
            n for n in {**self._task.given, **self._task.put} if n.startswith(f"{prefix}/" * bool(prefix))
        )

    def children(self, prefix: str) -> list[str]:
        """Of what is here."""
        return sorted({n.removeprefix(f"{prefix}/").partition("/")[0] for n in self.names(prefix)})

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Of what is here."""
        yield from (entry for name in self.names(prefix) if (entry := self.stat(name)) is not None)

    def delete(self, name: str) -> None:
        """Forget it."""
        task = self._task
        task.put.pop(name, None)
        task.given = {n: data for n, data in task.given.items() if n != name}

    def refresh(self, name: str) -> None:
        """Nothing: the Runner does where it writes."""

    def retire(self, name: str, before: float) -> bool:
        """Never: a worker collects no garbage."""
        return False

    def local_path(self, name: str) -> Path | None:
        """None: it is in memory."""
        return None

    @property
    def _task(self) -> _Objects:
        objects = _objects.get()
        if objects is None:
            objects = _Objects()
            _objects.set(objects)
        return objects


SCHEMES[SCHEME] = HandedStore
