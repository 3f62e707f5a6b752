"""DirStore keeps the four promises of the commit protocol."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Analysis, Result
from vrecompute.digest import sha256_of
from vrecompute.errors import DamagedObject, StoreError, StoreFull, UsageError
from vrecompute.execution.prepare import Request, prepare
from vrecompute.sites.access import Completed, LocalAccess
from vrecompute.stores.address import open_store
from vrecompute.stores.directory import DirStore
from vrecompute.stores.objects import content_name, read_content, write_content
from vrecompute.stores.remote import AccessStore


class Nothing(Analysis):
    """An analysis of nothing."""

    name = "nothing"

    def columns(self, source):
        return []

    def process(self, events):
        return Result()


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


class Remote(LocalAccess):
    """A machine whose tools fail with what they say there."""

    def __init__(self, said: str) -> None:
        self.said = said

    def run(self, command, *, stdin=b"", timeout_s=60.0):
        return Completed(1, b"", self.said.encode())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_elsewhere_is_told_by_its_number(number):
    with pytest.raises(StoreFull, match="cannot be written"):
        AccessStore(Remote(f"cat: write error: {os.strerror(number)}\ncat: -: x"), "/s").create("x", b"1")


def test_a_folder_named_after_quotas_is_no_full_disk(tmp_path):
    (tmp_path / "No space left, quota").write_text("a file")
    with pytest.raises(StoreError, match="cannot be written") as refused:
        AccessStore(LocalAccess(), str(tmp_path / "No space left, quota" / "store")).create("x", b"1")
    assert not isinstance(refused.value, StoreFull)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_store_that_cannot_be_written_says_how_to_name_another(tmp_path, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("vrecompute.stores.directory.os.open", refuse)
    with pytest.raises(StoreError, match=rf"the store {tmp_path} cannot be written .*; name another with --store"):
        DirStore(tmp_path).create("x", b"1")


def test_what_is_remembered_of_files_waits_for_no_disk(tmp_path, monkeypatch):
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    DirStore(tmp_path).create("sources/x.json", b"1")
    assert synced == []
    DirStore(tmp_path).create("runs/x.json", b"1")
    assert len(synced) == 2


def test_a_store_is_opened_by_its_url(tmp_path):
    store = DirStore(tmp_path)
    store.create("x", b"1")
    assert open_store(store.url).get("x") == b"1"
    with pytest.raises(UsageError, match="scheme 'ftp'"):
        open_store("ftp://host/x")


NO_LINKS = sorted({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK, errno.ENOSYS})


@pytest.fixture(params=NO_LINKS, ids=errno.errorcode.get)
def without_links(request, monkeypatch):
    """A file system as EOS, CIFS and many of FUSE: no hard links. The kernel sees first whether the name is taken."""

    def link(source, target):
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(os, "link", link)


@pytest.mark.usefixtures("without_links")
def test_without_hard_links_an_object_is_created_once_all_the_same(tmp_path):
    store = DirStore(tmp_path / "store")
    assert store.create("a/b", b"one")
    assert not store.create("a/b", b"two")
    assert store.get("a/b") == b"one"
    assert store.create("empty", b"")
    assert not store.create("empty", b"")
    test_of_many_writers_one_creates_and_no_temporary_is_left(tmp_path / "store" / "many")


@pytest.mark.usefixtures("without_links")
def test_the_claim_of_a_writer_that_was_killed_is_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr("vrecompute.stores.claims._CLAIM_S", 0.2)
    store, name = DirStore(tmp_path), content_name("x", b"whole")
    (tmp_path / "x").mkdir()
    (tmp_path / name).touch()
    assert not store.create(name, b"whole"), "its writer may be alive"
    write_content(store, name, b"whole")
    assert read_content(store, name) == b"whole"


@pytest.mark.usefixtures("without_links")
def test_an_object_appears_whole_without_hard_links(tmp_path):
    """Whoever looks meets nothing, a claim, or all of it."""
    store, seen, over = DirStore(tmp_path), set(), threading.Event()

    def look():
        while not over.is_set():
            for name in list(store.names("")):
                seen.add(len(store.get(name)))

    watcher = threading.Thread(target=look)
    watcher.start()
    for number in range(100):
        store.create(f"n/{number}", b"x" * 100_000)
    over.set()
    watcher.join()
    assert seen <= {0, 100_000}


def test_a_run_works_in_a_store_without_hard_links(tmp_path):
    """Where writers are processes: their os.link is patched by what Python reads as it starts."""
    link = "import os, errno\ndef link(*_): raise OSError(errno.EPERM, 'Operation not permitted')\nos.link = link\n"
    (tmp_path / "sitecustomize.py").write_text(link)
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    write_events(tmp_path / "e.root", 100, clusters=4)
    command = [sys.executable, "-m", "vrecompute", "run", "sums.py", "e.root", "--store", "store", "--workers", "1"]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, "COMPLETE" in ran.stdout) == (0, True), ran.stderr


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_a_store_is_its_users_alone_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        DirStore(tmp_path / "store").create("a/b/c", b"x")
    finally:
        os.umask(before)
    made = [tmp_path / "store", *(tmp_path / "store").rglob("*")]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made}
    assert modes == {"store": 0o700, "a": 0o700, "b": 0o700, "c": 0o600}


@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_a_store_that_is_shared_with_a_group_stays_so(tmp_path, umask):
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(0o2770)
    before = os.umask(umask)
    try:
        DirStore(tmp_path / "store").create("a/b", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "store" / "a").stat().st_mode) == 0o2770
    assert stat.S_IMODE((tmp_path / "store" / "a" / "b").stat().st_mode) == 0o660


@pytest.mark.parametrize(
    ("place", "mode", "exposed"),
    [
        ("store", 0o777, "store"),
        ("store", 0o1777, "store"),
        ("store", 0o702, ""),
        ("store", 0o2770, ""),
        ("store", 0o755, ""),
        ("above", 0o777, "above"),
        ("above", 0o1777, ""),
    ],
)
def test_a_store_that_every_user_can_write_in_is_said_once(place, mode, exposed, caplog):
    with tempfile.TemporaryDirectory() as name:  # below a folder that is sticky and that others can enter
        folders = {"": Path(name), "above": Path(name, "above"), "store": Path(name, "above", "store")}
        folders["store"].mkdir(parents=True)
        for folder in folders.values():
            folder.chmod(0o755)
        folders[place].chmod(mode)
        for _ in range(2):
            prepare(Request(Nothing, write_events(Path(name, "e.root"), 1)), DirStore(folders["store"]), "local", None)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == bool(exposed)
    mend = f"`chmod {'-R ' * (exposed == 'store')}o-w {folders[exposed]}`"
    assert all(f"in {folders[exposed]}," in line and mend in line for line in said)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user for a moment")
def test_another_user_reads_nothing_of_a_store(reachable):
    store = DirStore(reachable / "store")
    store.create("runs/a", b"secret")
    looks = subprocess.run(
        ["cat", str(reachable / "store" / "runs" / "a")], user=65534, group=65534, extra_groups=[], capture_output=True,
        check=False, text=True,
    )  # fmt: skip
    assert (looks.returncode, looks.stdout) == (1, "")
    assert "denied" in looks.stderr


def test_what_killed_writers_left_goes_when_it_is_old(tmp_path):
    store = DirStore(tmp_path)
    store.create("a/x.json", b"x")
    old, new, other = (tmp_path / "a" / n for n in (f".x.{'0' * 16}.tmp", f".y.{'1' * 16}.tmp", ".mine.tmp"))
    for path in (old, new, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (0, 0))
    assert list(store.names("a")) == ["a/x.json"]
    assert sorted(os.listdir(tmp_path / "a")) == [other.name, new.name, "x.json"]


@pytest.mark.parametrize("kind", ["here", "elsewhere"])
def test_what_is_used_again_is_not_retired(tmp_path, kind):
    here = DirStore(tmp_path / "a store")
    store = here if kind == "here" else AccessStore(LocalAccess(), str(here.root))
    assert list(store.entries("")) == []
    names = ["a/b c/1", "a/2", "a/3"]
    for number, name in enumerate(names):
        store.create(name, b"x" * number)
    now = time.time()
    for name, days in zip(names, (8, 8, 0.5), strict=True):
        os.utime(here.root / name, (now - days * 86_400,) * 2)
    left = here.root / "a" / f".1.{'0' * 16}.tmp"
    left.touch()
    os.utime(left, (now - 3 * 86_400,) * 2)
    found = {entry.name: entry for entry in store.entries("")}
    assert {name: entry.size for name, entry in found.items()} == dict(zip(names, range(3), strict=True))
    assert found["a/2"].written == pytest.approx(now - 8 * 86_400, abs=1)
    assert [entry.name for entry in store.entries("a/b c")] == names[:1]
    assert not left.exists()
    store.refresh("a/2")
    store.refresh("a/3")
    store.refresh("a/none")
    assert [store.retire(name, now - 7 * 86_400) for name in [*names, "a/none"]] == [True, False, False, False]
    assert list(store.names("")) == ["a/2", "a/3"]
    assert (here.root / "a/3").stat().st_mtime == pytest.approx(now - 43_200, abs=1)  # young enough as it was


def test_a_link_to_itself_is_damage(tmp_path):
    store = DirStore(tmp_path)
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(DamagedObject, match="symbolic links"):
        store.get("a")
    store.set_aside("a")
    assert store.create("a", b"1")
