"""What goes wrong between a store and its service is tried again or named; nothing is lost, and no half is seen."""

from __future__ import annotations

import errno
import itertools
import random
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest

from tests.s3.proxy import in_front_of
from vrecompute import retries
from vrecompute.digest import sha256_of
from vrecompute.errors import DamagedObject, StoreFull, StoreRefused, TransientStore, UsageError
from vrecompute.retries import count_retries
from vrecompute.stores import s3files
from vrecompute.stores.objects import read_document, write_document
from vrecompute.testing import StoreContract

pytestmark = pytest.mark.s3
DATA = random.Random(1).randbytes(3_000_000)


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(retries, "_WAITS", {"wait_initial": 0.001, "wait_max": 0.001, "wait_jitter": 0.0})


@pytest.fixture
def ceph(services):
    return services["ceph"]


@pytest.fixture
def proxy(ceph):
    with in_front_of(ceph.endpoint, ceph.authority) as made:
        yield made


@pytest.fixture
def disturbed(ceph, proxy, prefix):
    """A store whose requests go through the proxy, once it knows what the service can."""
    store = ceph.store(prefix, endpoint=proxy.endpoint, http="allowed")
    store.create("known", b"")
    proxy.asked.clear()
    return store


@pytest.fixture
def small_pieces(monkeypatch):
    """Three million bytes are a large file, in pieces; Ceph takes none but the last of less than 5 MiB."""
    monkeypatch.setattr(s3files, "_GET", 500_000)
    monkeypatch.setattr("vrecompute.stores.s3store.LARGE", 1)


class TestDisturbed(StoreContract):
    """One request in ten is refused for now, or its answer breaks off."""

    @pytest.fixture
    def make_store(self, ceph, proxy, prefix):
        turn = itertools.count()
        proxy.spoil = lambda method, *_: (
            ((503, "SlowDown"), "cut")[n // 10 % 2 * (method == "GET")] if (n := next(turn)) % 10 == 9 else None
        )
        return lambda: ceph.store(prefix, endpoint=proxy.endpoint, http="allowed")

    @pytest.fixture
    def outage(self, proxy):
        """Every request is refused: where this process opens no file, its proxy does not answer either."""

        @contextmanager
        def refused():
            before, proxy.spoil = proxy.spoil, lambda *_: (403, "AccessDenied")
            try:
                yield
            finally:
                proxy.spoil = before

        return refused


def test_of_many_requests_each_is_made_again_by_itself(proxy, ceph, prefix):
    """Every other one fails, and none of those that belong together is made anew for it."""
    turn = itertools.count()
    proxy.spoil = lambda *_: None if next(turn) % 2 else (503, "SlowDown")
    store = ceph.store(prefix, endpoint=proxy.endpoint, http="allowed")
    assert store.create("x", b"x")  # and finds out what the service can
    store.set_aside("x")
    assert len(store.children("aside")) == 1


def test_a_storm_that_passes_is_waited_out_and_counted(disturbed, proxy):
    counted, turn = count_retries(), itertools.count()
    proxy.spoil = lambda *_: (503, "SlowDown") if next(turn) < 4 else None
    assert disturbed.create("x", b"x")
    assert len(counted) == 4
    assert "too busy or failed (503 SlowDown)" in counted[0]


def test_a_storm_that_stays_is_named_and_leaves_nothing(disturbed, proxy, ceph, prefix, tmp_path, small_pieces):
    (tmp_path / "in").write_bytes(DATA)
    proxy.spoil = lambda method, path, _: (503, "SlowDown") if method == "PUT" else None
    for ask in (lambda: disturbed.create("x", DATA), lambda: disturbed.put_file("x", tmp_path / "in")):
        with pytest.raises(TransientStore, match=r"too busy or failed \(503 SlowDown\)"):
            ask()
    assert len(proxy.asked) < 80, "a piece is tried six times, and the file not six times more"
    assert list(ceph.store(prefix).names("")) == ["known"]
    assert "Uploads" not in ceph.client.list_multipart_uploads(Bucket=ceph.bucket, Prefix=prefix)


@pytest.mark.parametrize("how", ["cut", "reset", "lost"])
def test_a_lost_connection_is_made_again(disturbed, proxy, tmp_path, small_pieces, how):
    disturbed.create("x", DATA)
    turn = itertools.count()
    proxy.spoil = lambda method, *_: how if method == "GET" and next(turn) % 3 == 0 else None
    assert disturbed.get("x") == DATA
    disturbed.get_file("x", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_goes_on_where_it_stopped(disturbed, proxy, tmp_path, small_pieces):
    disturbed.create("x", DATA)
    proxy.spoil = lambda method, path, headers: "reset" if headers.get("range", "").startswith("bytes=15") else None
    with pytest.raises(TransientStore, match="does not answer"):
        disturbed.get_file("x", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    there = {headers["range"] for _, _, headers in proxy.asked if "range" in headers} - {"bytes=1500000-1999999"}
    proxy.asked.clear()
    proxy.spoil = lambda *_: None
    disturbed.get_file("x", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == DATA
    again = {headers["range"] for _, _, headers in proxy.asked if "range" in headers}
    assert "bytes=1500000-1999999" in again
    assert len(there | again) == 6
    assert not there & again
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("data", [b"", DATA])
def test_a_small_file_is_one_request(disturbed, proxy, tmp_path, data):
    disturbed.create("x", data)
    proxy.asked.clear()
    disturbed.get_file("x", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    assert [method for method, *_ in proxy.asked] == ["GET"]


def test_other_bytes_than_were_put_are_damage(disturbed, proxy, tmp_path, small_pieces):
    """Also where who asks knows no sha256."""
    disturbed.create("x", DATA)
    proxy.spoil = lambda method, *_: "flip" if method == "GET" else None
    for ask in (lambda: disturbed.get("x"), lambda: disturbed.get_file("x", tmp_path / "out")):
        with pytest.raises(DamagedObject, match=r"is damaged \(its sha256"):
            ask()
    assert list(tmp_path.iterdir()) == []


def test_an_object_that_is_overwritten_or_truncated_is_damage(disturbed, proxy, ceph, prefix, tmp_path, small_pieces):
    disturbed.create("x", DATA)
    key = f"{prefix}/x"

    def overwrite(method, path, headers):
        if headers.get("range", "").startswith("bytes=0"):
            ceph.client.put_object(Bucket=ceph.bucket, Key=key, Body=DATA[:2_000_000])

    proxy.spoil = overwrite
    with pytest.raises(DamagedObject, match="was overwritten while it was read"):
        disturbed.get_file("x", tmp_path / "out")
    with pytest.raises(DamagedObject, match="x"):
        disturbed.get("x", sha256=sha256_of(DATA))
    assert disturbed.digest("x") == sha256_of(DATA[:2_000_000])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_here_is_named_and_left_empty(disturbed, tmp_path, monkeypatch, small_pieces):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    disturbed.create("x", DATA)
    monkeypatch.setattr("vrecompute.stores.s3files.os.pwrite", full)
    with pytest.raises(StoreFull, match=r"cannot be written to .*out: No space left"):
        disturbed.get_file("x", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_arrives_spoilt_is_not_kept(disturbed, proxy, monkeypatch):
    """The service compares what it got with the MD5 of what was sent."""
    monkeypatch.setattr("vrecompute.stores.s3store.md5_of", lambda data: "AAAAAAAAAAAAAAAAAAAAAA==")
    with pytest.raises(TransientStore, match="BadDigest"):
        disturbed.create("x", DATA)
    assert not disturbed.exists("x")


def test_of_a_lost_answer_the_object_is_there(disturbed, proxy):
    turn = itertools.count()
    proxy.spoil = lambda *_: "lost" if next(turn) == 0 else None
    assert not disturbed.create("x", DATA)  # as `requested` says
    assert disturbed.get("x") == DATA


def test_claims_of_the_lost_and_of_the_dead_are_in_nobodys_way(services, prefix, monkeypatch):
    """Where there are no conditional writes: a claim whose answer was lost, and that of a writer that was killed."""
    swift, turn = services["swift"], itertools.count()
    monkeypatch.setattr("vrecompute.stores.s3store._CLAIM_S", 0.5)
    with in_front_of(swift.endpoint, swift.authority) as proxy:
        store = swift.store(prefix, endpoint=proxy.endpoint, http="allowed")
        store.create("known", b"")
        proxy.spoil = lambda method, path, _: (
            "lost" if method == "PUT" and "/claims/" in path and not next(turn) else None
        )
        assert store.create("x", b"one")
        proxy.spoil = lambda *_: None
        assert not list(store._list(store._claims("x")))
        swift.client.put_object(Bucket=swift.bucket, Key=f"{store._claims('y')}0000", Body=b"")
        assert not store.create("y", b"two"), "its writer may be alive"
        assert not store.exists("y")
        write_document(store, "y", "thing", {"x": 1})
        assert read_document(store, "y", "thing", lambda body: body["x"]) == 1


def test_large_files_come_whole_in_pieces(service, prefix, tmp_path, monkeypatch):
    data = random.Random(2).randbytes(11 << 20)
    monkeypatch.setattr(s3files, "_PUT", 5 << 20)
    monkeypatch.setattr("vrecompute.stores.s3store.LARGE", 1 << 20)
    (tmp_path / "in").write_bytes(data)
    store = service.store(prefix)
    assert store.put_file("x", tmp_path / "in")
    assert not store.put_file("x", tmp_path / "in")
    store.get_file("x", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    assert "-3" in service.client.head_object(Bucket=service.bucket, Key=f"{prefix}/x")["ETag"]
    aside = store.set_aside("x")
    assert store.digest(aside) == sha256_of(data)


def test_no_more_bytes_move_in_a_second_than_the_address_says(ceph, prefix, tmp_path, small_pieces):
    """Up and down, in one piece and in several at once; what moves first is not waited for."""
    store = ceph.store(prefix, max_mb_per_s="3")
    (tmp_path / "in").write_bytes(DATA)
    store.create("x", DATA)
    began = time.monotonic()
    store.put_file("y", tmp_path / "in")
    assert store.get("x") == DATA
    store.get_file("y", tmp_path / "out")
    assert time.monotonic() - began >= 2 * len(DATA) / 3e6
    assert (tmp_path / "out").read_bytes() == DATA


def test_what_keys_permissions_and_addresses_lack_is_one_sentence(service, prefix, tmp_path):
    wrong, none = tmp_path / "wrong", tmp_path / "none"
    wrong.write_text(f"{service.facts['key']} wrong")
    none.write_text("x y")
    for file in (wrong, none):
        file.chmod(0o600)
    for said, options in {
        "does not (accept|permit this to) the keys of file:.*wrong": {"credentials": f"file:{wrong}"},
        "does not (accept|permit this to) the keys of file:.*none": {"credentials": f"file:{none}"},
        "there is no bucket 'vre-nothing'": {"bucket": "vre-nothing"},
        "certificate of .* is not trusted here": {"ca": ""},
    }.items():
        store = service.store(prefix, **options)
        for ask in (lambda s=store: s.create("x", b""), lambda s=store: s.get("x"), lambda s=store: list(s.names(""))):
            with pytest.raises(StoreRefused, match=said):
                ask()
    with pytest.raises(StoreRefused, match=r"the keys of file:.*wrong.* \((AccessDenied|SignatureDoesNotMatch)\)"):
        service.store(prefix, credentials=f"file:{wrong}").stat("x")
    with pytest.raises(TransientStore, match="https://localhost:1 does not answer"):
        service.store(prefix, endpoint="https://localhost:1").get("x")
    with pytest.raises(UsageError, match="is not encrypted"):
        service.store(prefix, endpoint="http://localhost:1").get("x")


def test_another_users_bucket_is_denied(ceph, lab, prefix, tmp_path):
    keys = tmp_path / "keys"
    keys.touch(mode=0o600)
    keys.write_text(f"{lab['ceph']['other']} {lab['ceph']['secret']}")
    with pytest.raises(StoreRefused, match="does not permit this to the keys of file:"):
        ceph.store(prefix, credentials=f"file:{keys}").create("x", b"")


def test_a_clock_that_is_wrong_is_named_with_its_error(service, prefix, monkeypatch):
    import botocore.auth

    real = botocore.auth.get_current_datetime
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *a, **k: real(*a, **k) - timedelta(hours=1))
    with pytest.raises(StoreRefused, match=r"the clock of \S+ is (\d+ s )?.*refuses requests for that; set it"):
        service.store(prefix).create("x", b"")


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ((400, "ExpiredToken"), StoreRefused, "the token of .* has expired: renew it"),
        ((403, "QuotaExceeded"), StoreFull, "has no space left"),
        ((507, "InsufficientStorage"), StoreFull, "has no space left"),
    ],
)
def test_what_the_service_says_later_ends_with_one_sentence(disturbed, proxy, answer, kind, said):
    proxy.spoil = lambda *_: answer
    with pytest.raises(kind, match=said):
        disturbed.create("x", b"")
    assert len(proxy.asked) == 1
