"""`StoreContract`: what every Store must do, as tests.

    class TestMine(StoreContract):
        @pytest.fixture
        def make_store(self, tmp_path):
            return lambda: MyStore(tmp_path)

is all that a store's own test file needs. Two stores that `make_store` makes are the same store, as two
processes see it. A store whose listings lag says by how much in `lag_s`. One that tells the age of an object by
another clock than this process' overrides the fixture `grow_old`. One that needs neither a new file nor a new
connection to be asked overrides `outage`. One that is made with secrets names them in `secrets`. Other processes
open it by its `url`, with the schemes that this process has in `SCHEMES`; a double that lives in one process says
`opens_elsewhere = False`.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vrecompute.digest import sha256_of
from vrecompute.errors import AbsentObject, DamagedObject
from vrecompute.stores.base import Store
from vrecompute.stores.objects import intact, read_content, read_document, write_content, write_document
from vrecompute.testing.store_processes import StoreProcesses
from vrecompute.testing.store_seam import StoreSeam

__all__ = ["StoreContract"]

_GOOD, _OTHER = b"good", b"other"
# More than what is cut off at ten or at sixteen million bytes, or goes in pieces.
_LARGE = 32 << 20
# Times of objects are told to the second by some.
_TICK_S = 1.1
_DAYS_S = 2 * 86_400.0
# How often a reader looks while an object is replaced, at least.
_LOOKS = 300
#: What stores that take data for text, or for lines, would change.
_EDGES = {
    "nothing": b"",
    "no-text": bytes(range(256)),
    "end-of-line": b"line\n",
    "ends-of-lines": b"a\r\nb\rc\n\n",
    "null": b"a\0b\0",
    "blanks": b" \t a \x1a ",
    "large": b"8 MB\n\0\xff\r" * 1_000_000,
}


class StoreContract(StoreProcesses, StoreSeam):
    """The suite."""

    @pytest.fixture
    def make_store(self) -> Callable[[], Store]:
        """A function that opens one store, each time anew; what is in it is this test's own."""
        raise NotImplementedError("override the fixture `make_store`")

    @pytest.fixture
    def store(self, make_store: Callable[[], Store]) -> Store:
        """The store, as one process sees it."""
        return make_store()

    @pytest.fixture
    def grow_old(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Store, str], None]:
        """A function after which an object of a store was written two days ago; here this process' clock is ahead."""

        def grow(store: Store, name: str) -> None:
            now = time.time
            monkeypatch.setattr(time, "time", lambda: now() + _DAYS_S)

        return grow

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
        """Also where it is replaced: a reader meets the old bytes or the new ones, and never nothing."""
        store.replace("n/head", b"h" * 100_000)
        sizes: dict[str, set[int]] = {"n/new": set(), "n/head": set()}
        looks, over = [0], threading.Event()

        def look() -> None:
            reader = make_store()
            while not over.is_set():
                for name, seen in sizes.items():
                    try:
                        seen.add(len(reader.get(name)))
                    except AbsentObject:
                        seen.add(-1)
                looks[0] += 1

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(look), pool.submit(look)]
            try:
                for number in range(1000):
                    store.replace("n/head", b"h" * (100_000 + number % 2))
                    if number > 20 and looks[0] > _LOOKS:
                        break
                store.create("n/new", b"x" * 200_000)
            finally:
                over.set()
            for reader in readers:
                reader.result()
        assert sizes["n/new"] <= {-1, 200_000}
        assert sizes["n/head"] <= {100_000, 100_001}, "-1: there was nothing for a moment"

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
        (folder / "other").write_bytes(_OTHER)
        assert not store.put_file("files/x", folder / "in")
        assert not store.put_file("files/x", folder / "other"), "its name is taken, and what it holds stays"
        store.get_file("files/x", folder / "out", sha256=sha256_of(data))
        assert (folder / "out").read_bytes() == data == store.get("files/x")
        with pytest.raises(DamagedObject):
            store.get_file("files/x", folder / "wrong", sha256=sha256_of(_GOOD))
        with pytest.raises(AbsentObject):
            store.get_file("files/absent", folder / "wrong")
        assert {path.name for path in folder.iterdir()} == {"in", "other", "out"}

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
        told = {entry.name: entry.written for entry in store.entries("l")}
        assert told["l/a"] == pytest.approx(seen.written, abs=1.5)

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

    def test_what_is_replaced_or_used_again_is_new(
        self, store: Store, make_store: Callable[[], Store], grow_old: Callable[[Store, str], None]
    ) -> None:
        """Otherwise `store gc` removes what a run has begun to use. An object of today need not be refreshed."""
        names = ("old/replaced", "old/refreshed")
        for name in names:
            store.create(name, _GOOD)
            grow_old(store, name)
        other, before = make_store(), {name: _written(store, name) for name in names}
        self.listed(lambda: sorted(entry.name for entry in other.entries("old")), sorted(names))
        assert {name: _written(other, name) for name in names} == pytest.approx(before, abs=_TICK_S)
        time.sleep(_TICK_S)
        store.replace("old/replaced", _OTHER)
        store.refresh("old/refreshed")
        for name in names:
            assert not other.retire(name, before[name] + 0.1), f"{name} was written or used since it was listed"
            assert other.exists(name)
            assert _written(other, name) > before[name], f"{name}: its time is the one that it had before"
        assert other.get("old/refreshed") == _GOOD

    def test_one_instance_serves_several_threads(self, store: Store) -> None:
        """At once, and also threads that it was not made in: a Runner and its workers share one."""
        store.create("threads/all", _GOOD)
        barrier = threading.Barrier(8)

        def use(number: int) -> list[bytes]:
            barrier.wait(60)
            found = []
            for turn in range(5):
                name = f"threads/{number}/{turn}"
                assert store.create(name, b"%d" % number * 1000)
                store.replace(f"threads/{number}-head", b"%d" % turn)
                found += [store.get(name)[:1], store.get("threads/all")]
                entry = store.stat(name)
                assert entry is not None
                assert entry.size == 1000
            store.refresh("threads/all")
            list(store.names("threads"))
            store.delete(f"threads/{number}/0")
            return found

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(use, range(8)))
        assert found == [[b"%d" % number, _GOOD] * 5 for number in range(8)]
        self.listed(lambda: len(list(store.names("threads"))), 1 + 8 * 5)

    @pytest.mark.parametrize("edge", list(_EDGES))
    def test_any_bytes_come_back_as_they_were(self, store: Store, tmp_path: Path, edge: str) -> None:
        """By each way in, and each way out."""
        data = _EDGES[edge]
        file, out = tmp_path / "file of the test", tmp_path / "out of the test"
        file.write_bytes(data)
        store.create("bytes/created", data)
        store.replace("bytes/replaced", data)
        store.put_file("bytes/put", file)
        for name in ("bytes/created", "bytes/replaced", "bytes/put"):
            assert store.get(name) == data
            assert store.get(name, sha256=sha256_of(data)) == data
            store.get_file(name, out)
            assert out.read_bytes() == data
            assert store.digest(name) == sha256_of(data)
            entry = store.stat(name)
            assert entry is not None
            assert entry.size == len(data)

    def test_a_large_object_is_whole(self, store: Store, tmp_path: Path) -> None:
        """By each way in: skim tables and parts of many histograms are."""
        data = bytearray(_LARGE)
        data[:4] = data[-4:] = b"\xffend"
        file = tmp_path / "large file of the test"
        file.write_bytes(data)
        wanted = sha256_of(bytes(data))
        ways: tuple[Callable[[str], object], ...] = (
            lambda name: store.create(name, bytes(data)),
            lambda name: store.replace(name, bytes(data)),
            lambda name: store.put_file(name, file),
        )
        for number, make in enumerate(ways):
            make(name := f"large/{number}")
            entry = store.stat(name)
            assert entry is not None
            assert (entry.size, store.digest(name)) == (_LARGE, wanted)
            store.get_file(name, tmp_path / "out of the test", sha256=wanted)
        assert sha256_of(store.get("large/0")) == wanted

    def test_what_another_process_removes_or_writes_is_seen(
        self, store: Store, make_store: Callable[[], Store]
    ) -> None:
        """An object that was read before is asked for again."""
        store.create("x", _GOOD)
        assert store.get("x") == _GOOD
        assert store.exists("x")
        other = make_store()
        other.delete("x")
        with pytest.raises(AbsentObject):
            store.get("x")
        assert not store.exists("x")
        assert store.stat("x") is None
        assert other.create("x", _OTHER)
        assert store.get("x") == _OTHER
        other.replace("x", b"third")
        assert (store.get("x"), store.digest("x")) == (b"third", sha256_of(b"third"))

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


def _written(store: Store, name: str) -> float:
    entry = store.stat(name)
    assert entry is not None, f"{name} is there"
    return entry.written
