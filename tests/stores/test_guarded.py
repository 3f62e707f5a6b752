"""Whatever a store of another package raises is told as an error of the store, by its class and its url."""

from __future__ import annotations

import errno

import pytest

from vrecompute import Client
from vrecompute.errors import AbsentObject, StoreError, StoreFull
from vrecompute.stores import address
from vrecompute.stores.directory import DirStore
from vrecompute.stores.guarded import guarded


class Theirs(DirStore):
    """Raises `fault`, or what its directory does."""

    fault: Exception | None = None

    def create(self, name, data):
        if self.fault is not None:
            raise self.fault
        return super().create(name, data)

    def entries(self, prefix):
        yield from super().entries(prefix)
        if self.fault is not None:
            raise self.fault


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (OSError(errno.ECONNREFUSED, "refused"), StoreError),
        (OSError(errno.ENOSPC, "full"), StoreFull),
        (TimeoutError("too late"), StoreError),
        (KeyError("bucket"), StoreError),
    ],
    ids=["refused", "full", "late", "of-its-library"],
)
def test_its_faults_are_errors_of_the_store(fault, kind, tmp_path):
    theirs = Theirs(tmp_path)
    store = guarded(theirs)
    assert store.create("a/x", b"x")
    assert store.get("a/x") == b"x"
    theirs.fault = fault
    for ask in (lambda: store.create("a/y", b"y"), lambda: list(store.entries("a"))):
        with pytest.raises(StoreError, match=rf"{tmp_path}.* raised {type(fault).__name__}: .*Theirs serves") as raised:
            ask()
        assert type(raised.value) is kind
        assert raised.value.__cause__ is fault


def test_its_own_errors_of_a_store_stay_as_they_are(tmp_path):
    store = guarded(Theirs(tmp_path))
    with pytest.raises(AbsentObject):
        store.get("a/absent")
    assert store.exposed() == ""
    assert (store.url, repr(store)) == (str(tmp_path), f"DirStore({str(tmp_path)!r})")


def test_each_door_guards(tmp_path, monkeypatch):
    theirs = Theirs(tmp_path)
    monkeypatch.setitem(address.SCHEMES, "theirs", lambda given: theirs)
    theirs.fault = OSError(errno.ECONNREFUSED, "refused")
    for store in (
        address.open_store("theirs://doors"),
        Client(store=theirs).store,
        Client(store="theirs://doors").store,
    ):
        with pytest.raises(StoreError, match="refused"):
            store.create("x", b"")
    ours = DirStore(tmp_path)
    assert guarded(ours) is ours
    assert guarded(guarded(theirs)).url == theirs.url
