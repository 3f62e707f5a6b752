"""`StoreContract`: what every Store must do, as tests; `UnreliableStore`: a double that lags, fails and counts.

    class TestMine(StoreContract):
        @pytest.fixture
        def make_store(self, tmp_path):
            return lambda: MyStore(tmp_path)

is all that a store's own test file needs. Two stores that `make_store` makes are the same store, as two
processes see it. A store whose listings lag says by how much in `lag_s`.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest

from vrecompute.digest import sha256_of
from vrecompute.errors import AbsentObject, DamagedObject, StoreError, TransientStore
from vrecompute.stores.base import Entry, Store
from vrecompute.stores.objects import intact, read_content, read_document, write_content, write_document
from vrecompute.stores.ownership import Owner
from vrecompute.stores.requests import requested

__all__ = ["StoreContract", "UnreliableStore"]

_T = TypeVar("_T")
_GOOD, _OTHER = b"good", b"other"


class StoreContract:
    """The suite. `lag_s` is for how long a listing may miss what was created."""

    lag_s = 0.0

    @pytest.fixture
    def make_store(self) -> Callable[[], Store]:
        """A function that opens one store, each time anew; what is in it is this test's own."""
        raise NotImplementedError("override the fixture `make_store`")

    @pytest.fixture
    def store(self, make_store: Callable[[], Store]) -> Store:
        """The store, as one process sees it."""
        return make_store()

    def listed(self, look: Callable[[], object], wanted: object) -> None:
        """Assert that `look` gives what is wanted, at the latest when a listing may lag no more."""
        deadline = time.monotonic() + self.lag_s
        while True:
            is_late = time.monotonic() > deadline
            if (found := look()) == wanted or is_late:
                break
            time.sleep(0.02)
        assert found == wanted

    def test_an_object_is_created_once_and_others_read_it(self, store: Store, make_store: Callable[[], Store]) -> None:
        """Creating a taken name changes nothing and says so; what was put can be got by its name at once."""
        assert store.create("a/b.bin", _GOOD)
        other = make_store()
        assert not other.create("a/b.bin", _OTHER)
        assert other.get("a/b.bin", sha256=sha256_of(_GOOD)) == _GOOD
        assert other.exists("a/b.bin")
        assert store.create("a/empty", b"")
        assert other.get("a/empty") == b""

    def test_of_many_writers_one_creates(self, make_store: Callable[[], Store]) -> None:
        """And everybody reads the bytes of that one."""
        barrier, made = threading.Barrier(8), {}

        def write(number: int) -> None:
            store = make_store()
            barrier.wait()
            made[number] = store.create("x/y", b"%d" % number * 50_000)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = (number for number, created in made.items() if created)
        assert make_store().get("x/y") == b"%d" % winner * 50_000

    def test_an_object_appears_whole_or_not_at_all(self, store: Store, make_store: Callable[[], Store]) -> None:
        """Also where it is replaced: a reader meets nothing, the old bytes or the new ones."""
        sizes, over = set(), threading.Event()

        def look() -> None:
            reader = make_store()
            while not over.is_set():
                for name in ("n/new", "n/head"):
                    try:
                        sizes.add(len(reader.get(name)))
                    except AbsentObject:
                        continue

        watcher = threading.Thread(target=look)
        watcher.start()
        for number in range(20):
            store.replace("n/head", b"h" * (100_000 + number % 2))
        store.create("n/new", b"x" * 200_000)
        over.set()
        watcher.join()
        assert sizes <= {0, 100_000, 100_001, 200_000}

    def test_what_is_replaced_is_there_whatever_was(self, store: Store, make_store: Callable[[], Store]) -> None:
        """Of a name that is free, taken, or was removed."""
        for data in (_GOOD, _OTHER, b""):
            store.replace("runs/r/head.json", data)
            assert make_store().get("runs/r/head.json") == data
        store.delete("runs/r/head.json")
        store.replace("runs/r/head.json", _GOOD)
        assert store.get("runs/r/head.json") == _GOOD

    def test_absence_is_an_error_of_its_own(self, store: Store) -> None:
        """And removing what is absent is none."""
        with pytest.raises(AbsentObject, match="absent"):
            store.get("a/absent")
        assert not store.exists("a/absent")
        assert store.stat("a/absent") is None
        assert store.digest("a/absent") is None
        assert (store.children("a"), list(store.names("a")), list(store.entries("a"))) == ([], [], [])
        store.delete("a/absent")
        store.refresh("a/absent")
        store.set_aside("a/absent")
        assert not store.retire("a/absent", time.time() + 9)

    def test_other_bytes_than_asked_for_are_damage(self, store: Store) -> None:
        """By sha256 and by size."""
        store.create("x", _OTHER)
        with pytest.raises(DamagedObject, match="x"):
            store.get("x", sha256=sha256_of(_GOOD))
        with pytest.raises(DamagedObject, match="x"):
            store.get("x", most_bytes=2)
        assert store.digest("x") == sha256_of(_OTHER)

    def test_files_go_in_and_come_out_whole(self, store: Store, tmp_path: Path) -> None:
        """By the same names as bytes; one that is not what was asked for leaves nothing behind."""
        data = random.Random(0).randbytes(3_000_000)
        folder = tmp_path / "files of the test"  # the store may lie beside it
        folder.mkdir()
        (folder / "in").write_bytes(data)
        assert store.put_file("files/x", folder / "in")
        assert not store.put_file("files/x", folder / "in")
        store.get_file("files/x", folder / "out", sha256=sha256_of(data))
        assert (folder / "out").read_bytes() == data == store.get("files/x")
        with pytest.raises(DamagedObject):
            store.get_file("files/x", folder / "wrong", sha256=sha256_of(_GOOD))
        with pytest.raises(AbsentObject):
            store.get_file("files/absent", folder / "wrong")
        assert {path.name for path in folder.iterdir()} == {"in", "out"}

    def test_listings_tell_names_children_sizes_and_times(self, store: Store) -> None:
        """Sorted, below the prefix and nothing beside it."""
        before = time.time()
        for name in ("l/b/2", "l/b/1", "l/a", "l/c d/é", "lb/other"):
            store.create(name, b"12345")
        names = ["l/a", "l/b/1", "l/b/2", "l/c d/é"]
        self.listed(lambda: list(store.names("l")), names)
        self.listed(lambda: store.children("l"), ["a", "b", "c d"])
        self.listed(lambda: [(e.name, e.size) for e in store.entries("l")], [(name, 5) for name in names])
        self.listed(lambda: set(names) <= set(store.names("")), wanted=True)
        seen = store.stat("l/a")
        assert seen is not None
        assert (seen.name, seen.size) == ("l/a", 5)
        assert before - 5 < seen.written < time.time() + 5

    def test_what_is_removed_is_gone(self, store: Store) -> None:
        """And its name is free again."""
        store.create("x", _GOOD)
        store.delete("x")
        assert not store.exists("x")
        assert store.create("x", _OTHER)

    def test_what_is_set_aside_is_kept_elsewhere(self, store: Store) -> None:
        """Below `aside/`, where it takes no other object's name."""
        store.create("a/x", _GOOD)
        aside = store.set_aside("a/x")
        assert aside.startswith("aside/a/x.")
        assert store.get(aside) == _GOOD
        assert store.create("a/x", _OTHER)

    def test_only_what_is_old_is_retired(self, store: Store) -> None:
        """By the time it was written."""
        store.create("x", _GOOD)
        assert not store.retire("x", time.time() - 3600)
        assert store.exists("x")
        assert store.retire("x", time.time() + 3600)
        assert not store.exists("x")

    @pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a//b", "a/../b", ".hidden", "a/.b", "a\0b"])
    def test_names_cannot_leave_the_store(self, store: Store, name: str) -> None:
        """Also for one that only asks."""
        for ask in (lambda: store.create(name, _GOOD), lambda: store.get(name), lambda: store.replace(name, _GOOD)):
            with pytest.raises(StoreError, match="not a name"):
                ask()

    def test_documents_and_content_prove_themselves(self, store: Store, make_store: Callable[[], Store]) -> None:
        """And what is damaged is written again by who needs its name."""
        assert write_document(store, "d/x.json", "thing", {"x": 1})
        assert not write_document(store, "d/x.json", "thing", {"x": 2})
        assert read_document(make_store(), "d/x.json", "thing", lambda body: body["x"]) == 1
        name = f"c/{sha256_of(_GOOD)}"
        store.create(name, _OTHER)
        assert not intact(store, name)
        write_content(store, name, _GOOD)
        assert read_content(make_store(), name) == _GOOD
        assert intact(store, name)

    def test_its_url_opens_it_and_holds_no_secret(self, store: Store) -> None:
        """Workers get the url and nothing else."""
        from vrecompute.stores.address import open_store

        store.create("x", _GOOD)
        assert open_store(store.url).get("x") == _GOOD

    def test_an_owner_is_this_user_or_not_known(self, store: Store) -> None:
        """Never another one."""
        store.create("x", _GOOD)
        owner = store.owner("x")
        assert owner.is_me == bool(owner.name)
        assert store.owner("absent") == Owner()


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

    @requested
    def owner(self, name: str) -> Owner:
        """As the store behind."""
        return self._ask("stat", lambda: self.store.owner(name))

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
