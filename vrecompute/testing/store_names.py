"""`StoreNames`: the part of `StoreContract` that is of names: which are two, or none, or below another."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from vrecompute.digest import sha256_of
from vrecompute.errors import AbsentObject, DamagedObject, StoreError
from vrecompute.stores.base import Store

__all__ = ["StoreNames"]

_GOOD, _OTHER = b"good", b"other"
# Services list a thousand names at a time.
_MANY = 1100
_LONG = f"work/{'0' * 64}/parts/{'f' * 64}"
#: Of two objects each.
_PAIRS = (
    (f"{_LONG}-1", f"{_LONG}-2"),
    (f"{_LONG}/{'e' * 254}1", f"{_LONG}/{'e' * 254}2"),  # 255 bytes are the most between two /
    ("case/Events", "case/events"),
    ("case/A/x", "case/a/x"),
    ("letters/\N{LATIN SMALL LETTER E WITH ACUTE}", "letters/e\N{COMBINING ACUTE ACCENT}"),
)
#: Folders that a database, a shell or a prefix without `/` takes for each other.
_FOLDERS = ("a_b", "axb", "A_b", "a%b", "a*b", "a?b", "a[x]b", "a", "a-b", "a_b_c", "a_b c")
#: Names beside `x_y` that a removal by a pattern, or by a beginning, would take along.
_NEIGHBOURS = ("x_y-1", "x_yz", "x_y.1", "X_y", "xay", "x_", "x_y z")


class StoreNames:
    """Names differ by each of their characters. `lag_s` is for how long a listing may miss what was created."""

    lag_s = 0.0

    def listed(self, look: Callable[[], object], wanted: object) -> None:
        """Assert that `look` gives what is wanted, at the latest when a listing may lag no more."""
        deadline = time.monotonic() + self.lag_s
        while True:
            is_late = time.monotonic() > deadline
            if (found := look()) == wanted or is_late:
                break
            time.sleep(0.02)
        assert found == wanted

    def test_a_listing_has_all_names(self, store: Store) -> None:
        """More than a service gives in one answer."""
        names = [f"sources/{sha256_of(b'%d' % number)}" for number in range(_MANY)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: store.create(names[number], b"%d" % number), range(_MANY)))
        names.sort()
        self.listed(lambda: list(store.names("sources")), names)
        self.listed(lambda: [entry.name for entry in store.entries("sources")], names)
        self.listed(lambda: [f"sources/{child}" for child in store.children("sources")], names)

    def test_names_that_differ_are_of_two_objects(self, store: Store) -> None:
        """By their last character, where they are long, by upper and lower case, and by how a letter is written."""
        for one, two in _PAIRS:
            assert store.create(one, _GOOD)
            assert store.create(two, _OTHER), f"{two!r} is another name than {one!r}"
            assert (store.get(one), store.get(two)) == (_GOOD, _OTHER)
        self.listed(lambda: list(store.names("work")), sorted(name for pair in _PAIRS[:2] for name in pair))
        self.listed(lambda: list(store.names("letters")), sorted(_PAIRS[-1]))

    def test_a_listing_has_no_names_of_other_folders(self, store: Store) -> None:
        """However much alike they are called: `_`, `%`, `*` and capitals are what they are."""
        for folder in _FOLDERS:
            for name in (f"{folder}/1", f"{folder}/in/2"):
                store.create(name, _GOOD)
        for folder in _FOLDERS:
            self._lists_its_own(store, folder)

    def _lists_its_own(self, store: Store, folder: str) -> None:
        names = [f"{folder}/1", f"{folder}/in/2"]
        self.listed(lambda: list(store.names(folder)), names)
        self.listed(lambda: [entry.name for entry in store.entries(folder)], names)
        self.listed(lambda: store.children(folder), ["1", "in"])

    def test_a_removal_leaves_other_names(self, store: Store) -> None:
        """Whatever they have in common: of an object that is damaged or old, and of one that is replaced."""
        for name in _NEIGHBOURS:
            store.create(f"beside/{name}", name.encode())
        removals: dict[str, Callable[[str], object]] = {
            "delete": store.delete,
            "set_aside": store.set_aside,
            "retire": lambda name: store.retire(name, time.time() + 3600),
            "replace": lambda name: store.replace(name, _OTHER),
        }
        for method, remove in removals.items():
            store.create("beside/x_y", _GOOD)
            remove("beside/x_y")
            left = [name for name in _NEIGHBOURS if store.exists(f"beside/{name}")]
            assert left == list(_NEIGHBOURS), f"{method} of 'x_y' removed another object"
            assert [store.get(f"beside/{name}") for name in left] == [name.encode() for name in left], method

    def test_a_folder_is_no_object(self, store: Store) -> None:
        """What names have in common before a `/` is no name that is taken."""
        store.create("folder/inner/x", _GOOD)
        for name in ("folder", "folder/inner"):
            assert not store.exists(name)
            assert store.stat(name) is None
            assert store.digest(name) is None
            with pytest.raises((AbsentObject, DamagedObject)):
                store.get(name)

    @pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a//b", "a/../b", ".hidden", "a/.b", "a\0b"])
    def test_names_cannot_leave_the_store(self, store: Store, name: str) -> None:
        """Also for one that only asks."""
        for ask in (lambda: store.create(name, _GOOD), lambda: store.get(name), lambda: store.replace(name, _GOOD)):
            with pytest.raises(StoreError, match="not a name"):
                ask()
