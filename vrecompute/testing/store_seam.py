"""`StoreSeam`: the part of `StoreContract` that is of where a store meets others: its url, files, owners and faults."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from vrecompute.digest import sha256_of
from vrecompute.errors import AbsentObject, DamagedObject, StoreError
from vrecompute.secret_text import holds_secret
from vrecompute.stores.base import Store
from vrecompute.stores.ownership import Owner
from vrecompute.testing.store_names import StoreNames

__all__ = ["StoreSeam"]

_GOOD, _OTHER = b"good", b"other"
_FAR_S = 3600.0
#: Objects that are there before an outage, in a folder of each store.
_KINDS = ("kept", "replaced", "deleted", "aside", "retired")
#: What is asked meanwhile.
_ASKS: dict[str, Callable[[Store, str], object]] = {
    "create": lambda store, of: store.create(f"{of}/created", _OTHER),
    "replace": lambda store, of: store.replace(f"{of}/replaced", _OTHER),
    "get": lambda store, of: store.get(f"{of}/kept"),
    "stat": lambda store, of: store.stat(f"{of}/kept"),
    "digest": lambda store, of: store.digest(f"{of}/kept"),
    "exists": lambda store, of: store.exists(f"{of}/kept"),
    "names": lambda store, of: list(store.names(of)),
    "children": lambda store, of: store.children(of),
    "entries": lambda store, of: [entry.name for entry in store.entries(of)],
    "refresh": lambda store, of: store.refresh(f"{of}/kept"),
    "get_owned": lambda store, of: store.get_owned(f"{of}/kept"),
    "local_path": lambda store, of: store.local_path(f"{of}/kept"),
    "retire": lambda store, of: store.retire(f"{of}/retired", time.time() + _FAR_S),
    "set_aside": lambda store, of: store.set_aside(f"{of}/aside"),
    "delete": lambda store, of: store.delete(f"{of}/deleted"),
}
#: Whether what was given meanwhile, or done, is so; of other methods there is nothing to see.
_TRUTHS: dict[str, Callable[[Store, str, object], bool]] = {
    "create": lambda store, of, gave: gave is True and store.get(f"{of}/created") == _OTHER,
    "replace": lambda store, of, _: store.get(f"{of}/replaced") == _OTHER,
    "get": lambda _, of, gave: gave == _GOOD,
    "get_owned": lambda _, of, gave: isinstance(gave, tuple) and gave[0] == _GOOD,
    "stat": lambda _, of, gave: gave is not None,
    "digest": lambda _, of, gave: gave in {None, sha256_of(_GOOD)},
    "exists": lambda _, of, gave: gave is True,
    "names": lambda _, of, gave: isinstance(gave, list) and f"{of}/kept" in gave,
    "children": lambda _, of, gave: isinstance(gave, list) and "kept" in gave,
    "entries": lambda _, of, gave: isinstance(gave, list) and f"{of}/kept" in gave,
    "retire": lambda store, of, gave: gave is True and not store.exists(f"{of}/retired"),
    "set_aside": lambda store, of, gave: not store.exists(f"{of}/aside") and store.get(str(gave)) == _GOOD,
    "delete": lambda store, of, _: not store.exists(f"{of}/deleted"),
}


class StoreSeam(StoreNames):
    """`secrets` are what neither the store's url nor its repr may show."""

    secrets: Sequence[str] = ()

    @pytest.fixture
    def outage(self) -> Callable[[], AbstractContextManager[None]]:
        """A function that gives a context in which the store cannot be reached; here this process opens no file."""
        return _no_file_opens

    def test_a_local_path_is_that_of_the_object(self, store: Store, make_store: Callable[[], Store]) -> None:
        """What is read there is the object as it is now, and nothing where it is absent."""
        names = ("local/one.json", "local/other.json", "local/deeper/one.json")
        for name in names:
            store.create(name, name.encode())
        for told in (store, make_store()):
            paths = [(told.local_path(name), name) for name in names]
            assert all(path is None or path.read_bytes() == name.encode() == told.get(name) for path, name in paths)
            assert (gone := told.local_path("local/absent")) is None or not gone.exists()
        make_store().replace(names[0], _OTHER)
        path = store.local_path(names[0])
        assert path is None or path.read_bytes() == _OTHER == store.get(names[0])
        other = make_store()
        removed: tuple[Callable[[str], object], ...] = (
            other.delete,
            other.set_aside,
            lambda name: other.retire(name, time.time() + 3600),
        )
        for name, remove in zip(names, removed, strict=True):
            remove(name)
            path = store.local_path(name)
            assert path is None or not path.exists(), f"{name} is gone, and what is at its path is not"

    def test_whatever_fails_is_an_error_of_the_store(
        self,
        store: Store,
        make_store: Callable[[], Store],
        outage: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """A Runner takes an OSError for a Dask scheduler that is lost, and others for errors of the analysis.

        A store that cannot be reached is not empty, and what was not written is not done: a method that raises nothing
        is believed. Only `digest` may say None of what it cannot read.
        Of `put_file` and `get_file` that is so too, but where the file itself is not to be read or written.
        """
        names = [f"{of}/{kind}" for of in ("asked", "never-asked") for kind in _KINDS]
        for name in names:
            store.create(name, _GOOD)
        stores = {"asked": store, "never-asked": make_store()}
        self.listed(lambda: [*store.names("asked"), *store.names("never-asked")], sorted(names))
        raised: dict[str, BaseException] = {}
        given: dict[str, object] = {}
        with outage():
            for of, told in stores.items():
                for method, ask in _ASKS.items():
                    try:
                        given[f"{of} {method}"] = ask(told, of)
                    except Exception as error:
                        raised[f"{of} {method}"] = error
            try:
                make_store()
            except Exception as error:
                pytest.fail(f"a store that is made while it cannot be reached asks nothing yet, and raised {error!r}")
        wrong = {method: error for method, error in raised.items() if not isinstance(error, StoreError)}
        assert not wrong, "these raised no StoreError"
        absent = {method: error for method, error in raised.items() if isinstance(error, AbsentObject)}
        assert not absent, "the store cannot be reached, and these say that an object is absent"
        assert store.get("asked/kept") == _GOOD, "and the store is there again afterwards"
        untrue = [method for method, answer in given.items() if not _is_true(make_store(), method, answer)]
        assert not untrue, "the store cannot be reached; these raised nothing, and what they gave or did is not so"

    def test_its_url_opens_it_and_holds_no_secret(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Workers get the url and nothing else, and have working directories of their own."""
        from vrecompute.stores.address import open_store

        store.create("x", _GOOD)
        url, elsewhere = store.url, tmp_path / "elsewhere of the test"
        assert not holds_secret(url), "it is written into manifests, job scripts and reports"
        assert not [text for text in (url, repr(store)) for secret in self.secrets if secret in text]
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        assert open_store(url).get("x") == _GOOD

    def test_an_owner_is_this_user_or_not_known(self, store: Store) -> None:
        """Never another one; and it comes with the bytes, as `get` gives them."""
        store.create("x", _GOOD)
        data, owner = store.get_owned("x", most_bytes=len(_GOOD))
        assert data == _GOOD
        assert owner.is_me == bool(owner.name)
        assert owner == Owner(owner.name, owner.is_me), "what a store writes for its user alone, others cannot change"
        with pytest.raises(AbsentObject):
            store.get_owned("absent")
        with pytest.raises(DamagedObject):
            store.get_owned("x", most_bytes=len(_GOOD) - 1)


def _is_true(store: Store, asked: str, gave: object) -> bool:
    """Whether what a method gave while the store could not be reached is so."""
    of, _, method = asked.partition(" ")
    truth = _TRUTHS.get(method)
    try:
        return truth is None or truth(store, of, gave)
    except AbsentObject:
        return False


@contextmanager
def _no_file_opens() -> Iterator[None]:
    """No file, pipe or connection of this process is opened, as where too many are open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
