"""DirStore keeps the four promises of the commit protocol."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from vrecompute.digest import sha256_of
from vrecompute.errors import StoreError, StoreFull
from vrecompute.stores.base import DirStore, open_store


def test_an_object_is_created_once_and_read_back(tmp_path):
    store = DirStore(tmp_path / "new" / "store")
    assert store.create("a/b.bin", b"one")
    assert not store.create("a/b.bin", b"two")
    assert store.get("a/b.bin", sha256=sha256_of(b"one")) == b"one"
    assert list(store.names("a")) == ["a/b.bin"]


def test_of_many_writers_one_creates_and_no_temporary_is_left(tmp_path):
    store = DirStore(tmp_path)
    barrier = threading.Barrier(8)
    won = []

    def write(number: int) -> None:
        barrier.wait()
        won.append(store.create("x", b"%d" % number * 1000))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(won) == 1
    assert len(set(store.get("x"))) == 1
    assert os.listdir(tmp_path) == ["x"]


def test_an_unfinished_object_is_never_seen(tmp_path):
    store = DirStore(tmp_path)
    (tmp_path / ".half.0123.tmp").write_bytes(b"half")
    assert list(store.names("")) == []


def test_damage_is_noticed(tmp_path):
    store = DirStore(tmp_path)
    store.create("x", b"good")
    (tmp_path / "x").write_bytes(b"evil")
    with pytest.raises(StoreError, match="damaged"):
        store.get("x", sha256=sha256_of(b"good"))


def test_absence_and_deletion(tmp_path):
    store = DirStore(tmp_path)
    with pytest.raises(StoreError, match="no object 'x'"):
        store.get("x")
    store.create("x", b"")
    assert store.exists("x")
    store.delete("x")
    store.delete("x")
    assert not store.exists("x")


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a//b", "a/../b", ".hidden", "a/.b"])
def test_names_cannot_leave_the_store(tmp_path, name):
    with pytest.raises(StoreError, match="not a name"):
        DirStore(tmp_path).create(name, b"")


def test_a_full_disk_says_what_is_safe(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    store = DirStore(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreFull, match="everything written before is durable"):
        store.create("x", b"data")
    monkeypatch.undo()
    assert list(store.names("")) == []
    assert store.create("x", b"data")


def test_a_store_is_opened_by_its_url(tmp_path):
    store = DirStore(tmp_path)
    store.create("x", b"1")
    assert open_store(store.url).get("x") == b"1"
    with pytest.raises(StoreError, match="scheme 'ftp'"):
        open_store("ftp://host/x")
