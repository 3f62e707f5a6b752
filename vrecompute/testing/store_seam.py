"""`StoreSeam`: the part of `StoreContract` that is of where a store meets others: its url, files, owners and faults."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from vrecompute.errors import StoreError
from vrecompute.secret_text import holds_secret
from vrecompute.stores.base import Store
from vrecompute.stores.ownership import Owner

__all__ = ["StoreSeam"]

_GOOD, _OTHER = b"good", b"other"


class StoreSeam:
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

        Of `put_file` and `get_file` that is so too, but where the file itself is not to be read or written.
        """
        store.create("x", _GOOD)
        never_asked = make_store()
        asks: list[tuple[str, Callable[[Store], object]]] = [
            ("create", lambda s: s.create("y", _GOOD)),
            ("replace", lambda s: s.replace("x", _GOOD)),
            ("get", lambda s: s.get("x")),
            ("stat", lambda s: s.stat("x")),
            ("digest", lambda s: s.digest("x")),
            ("exists", lambda s: s.exists("x")),
            ("names", lambda s: list(s.names(""))),
            ("children", lambda s: s.children("")),
            ("entries", lambda s: list(s.entries(""))),
            ("refresh", lambda s: s.refresh("x")),
            ("owner", lambda s: s.owner("x")),
            ("local_path", lambda s: s.local_path("x")),
            ("retire", lambda s: s.retire("x", 0.0)),
            ("set_aside", lambda s: s.set_aside("absent")),
            ("delete", lambda s: s.delete("absent")),
        ]
        raised: dict[str, BaseException] = {}
        with outage():
            for told in (store, never_asked):
                for method, ask in asks:
                    try:
                        ask(told)
                    except Exception as error:
                        raised[method] = error
        wrong = {method: error for method, error in raised.items() if not isinstance(error, StoreError)}
        assert not wrong, "these raised no StoreError"
        assert store.get("x") == _GOOD, "and the store is there again afterwards"

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
        """Never another one."""
        store.create("x", _GOOD)
        owner = store.owner("x")
        assert owner.is_me == bool(owner.name)
        assert store.owner("absent") == Owner()


@contextmanager
def _no_file_opens() -> Iterator[None]:
    """No file, pipe or connection of this process is opened, as where too many are open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
