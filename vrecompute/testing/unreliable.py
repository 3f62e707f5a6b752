"""`UnreliableStore`: a double of a store that lags, fails and counts."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, TypeVar

from vrecompute.errors import TransientStore
from vrecompute.stores.base import Entry, Store
from vrecompute.stores.ownership import Owner
from vrecompute.stores.requests import requested

__all__ = ["UnreliableStore"]

_T = TypeVar("_T")


class UnreliableStore:
    """Another store, of whose requests some fail in passing, before or after they did what they should.

    `failing` is the fraction that fails, drawn from `seed`, and `losing` that of these which fail after. Listings miss
    what this process made less than `lag_s` ago. `asked` counts requests by kind, with those that failed, which
    `failed` counts alone. `url` is that of the store behind, unless one is given under which workers get the double.
    """

    _made: ClassVar[dict[tuple[str, str], float]] = {}

    def __init__(
        self,
        store: Store,
        *,
        failing: float = 0.05,
        losing: float = 0.5,
        lag_s: float = 0.0,
        seed: int = 0,
        url: str = "",
    ) -> None:
        self.store = store
        self.failing, self.losing, self.lag_s = failing, losing, lag_s
        self.url = url or store.url
        self.asked: Counter[str] = Counter()
        self.failed = 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"UnreliableStore({self.store!r})"

    @requested
    def create(self, name: str, data: bytes) -> bool:
        """As the store behind; the answer may be lost."""
        return self._ask("create", lambda: self.store.create(name, data), name)

    @requested
    def replace(self, name: str, data: bytes) -> None:
        """As the store behind."""
        self._ask("replace", lambda: self.store.replace(name, data), name)

    @requested
    def put_file(self, name: str, path: Path) -> bool:
        """As the store behind; the answer may be lost."""
        return self._ask("create", lambda: self.store.put_file(name, path), name)

    @requested
    def get(self, name: str, *, sha256: str | None = None, most_bytes: int | None = None) -> bytes:
        """As the store behind."""
        return self._ask("get", lambda: self.store.get(name, sha256=sha256, most_bytes=most_bytes))

    @requested
    def get_owned(self, name: str, *, most_bytes: int | None = None) -> tuple[bytes, Owner]:
        """As the store behind."""
        return self._ask("get", lambda: self.store.get_owned(name, most_bytes=most_bytes))

    @requested
    def get_file(self, name: str, path: Path, *, sha256: str | None = None) -> None:
        """As the store behind."""
        self._ask("get", lambda: self.store.get_file(name, path, sha256=sha256))

    @requested
    def stat(self, name: str) -> Entry | None:
        """As the store behind."""
        return self._ask("stat", lambda: self.store.stat(name))

    @requested
    def digest(self, name: str) -> str | None:
        """As the store behind."""
        return self._ask("digest", lambda: self.store.digest(name))

    @requested
    def set_aside(self, name: str) -> str:
        """As the store behind."""
        return self._ask("set_aside", lambda: self.store.set_aside(name))

    @requested
    def exists(self, name: str) -> bool:
        """As the store behind."""
        return self._ask("stat", lambda: self.store.exists(name))

    @requested
    def names(self, prefix: str) -> Iterator[str]:
        """As the store behind, without what is too new."""
        yield from self._ask("list", lambda: [n for n in self.store.names(prefix) if self._shown(n)])

    @requested
    def children(self, prefix: str) -> list[str]:
        """As the store behind, without what is too new."""

        def look() -> list[str]:
            shown = {n.removeprefix(f"{prefix}/").partition("/")[0] for n in self.store.names(prefix) if self._shown(n)}
            return sorted(shown)

        return self._ask("list", look if self.lag_s else lambda: self.store.children(prefix))

    @requested
    def entries(self, prefix: str) -> Iterator[Entry]:
        """As the store behind, without what is too new."""
        yield from self._ask("list", lambda: [e for e in self.store.entries(prefix) if self._shown(e.name)])

    @requested
    def delete(self, name: str) -> None:
        """As the store behind."""
        self._ask("delete", lambda: self.store.delete(name))

    @requested
    def refresh(self, name: str) -> None:
        """As the store behind."""
        self._ask("refresh", lambda: self.store.refresh(name))

    @requested
    def retire(self, name: str, before: float) -> bool:
        """As the store behind; the answer may be lost."""
        return self._ask("delete", lambda: self.store.retire(name, before))

    def local_path(self, name: str) -> Path | None:
        """None: objects are read by requests."""
        return None

    def _ask(self, kind: str, request: Callable[[], _T], made: str = "") -> _T:
        with self._lock:
            self.asked[kind] += 1
            fails, answer_lost = self._random.random() < self.failing, self._random.random() < self.losing
            self.failed += fails
        if fails and not answer_lost:
            raise TransientStore(f"{self.url}: {kind} failed in passing")
        if made:
            self._made.setdefault((self.url, made), time.monotonic())
        answer = request()
        if fails:
            raise TransientStore(f"{self.url}: the answer to {kind} was lost")
        return answer

    def _shown(self, name: str) -> bool:
        return time.monotonic() - self._made.get((self.url, name), 0.0) >= self.lag_s
