"""The ledger: a history that stays, one writer at a time, and a tick that was taken over writes nothing."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.campaign.disk import network_file_system
from vrecompute.campaign.inputs import difference, record
from vrecompute.campaign.ledger import Busy, LeaseLost, Ledger
from vrecompute.campaign.migrations import STEPS
from vrecompute.campaign.model import Quarantine, Retry
from vrecompute.campaign.notify import is_change, message
from vrecompute.campaign.policy import after_failure
from vrecompute.campaign.storelease import StoreLease
from vrecompute.campaign.storeledger import store_ledger
from vrecompute.errors import UsageError
from vrecompute.stores.directory import DirStore


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "l.sqlite", "lat", write=True) as made:
        made.acquire(time.time())
        yield made


def test_the_history_stays(ledger):
    with ledger.writing():
        ledger.note("seen", "u", "s", kind="x")
    for statement in ("UPDATE history SET kind = 'other'", "DELETE FROM history"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            ledger.do(statement)
    assert [row["kind"] for row in ledger.rows("SELECT kind FROM history")] == ["seen"]


def test_a_transaction_is_whole_or_not_at_all(ledger):
    def fails():
        with ledger.writing():
            ledger.note("seen", "u", "s")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert ledger.rows("SELECT * FROM history") == []


def test_a_second_tick_finds_that_one_is_at_work(ledger):
    with Ledger(ledger.path, "lat", write=True) as other:
        with pytest.raises(Busy, match=f"process {os.getpid()} on "):
            other.acquire(time.time())
        ledger.release()
        assert other.acquire(time.time()) == 2


def test_a_tick_whose_lease_was_taken_over_writes_nothing_any_more(ledger):
    with Ledger(ledger.path, "lat", write=True) as other:
        other.acquire(time.time() + 10_000)  # the clock jumped, or it was silent for so long
        with pytest.raises(LeaseLost), ledger.writing():
            ledger.note("late", "", "")
        ledger.release()
        with other.writing():
            other.note("mine", "", "")
        assert [row["kind"] for row in other.rows("SELECT kind FROM history")] == ["taken over", "mine"]


def test_a_dead_tick_is_taken_over_at_once(tmp_path):
    path = tmp_path / "l.sqlite"
    code = (
        "import os, sys, time; from pathlib import Path; from vrecompute.campaign.ledger import Ledger; "
        "l = Ledger(Path(sys.argv[1]), 'lat', write=True); l.acquire(time.time()); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    with Ledger(path, "lat", write=True) as ledger:
        assert ledger.acquire(time.time() - 1e6) == 2  # also where the clock went back


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + b"\0" * 84])
def test_what_is_no_ledger_is_left_as_it_is(tmp_path, content):
    path = tmp_path / "l.sqlite"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"ledger .* cannot be used"):
        Ledger(path, "lat", write=True)
    assert path.read_bytes() == content


def test_ledgers_of_others(tmp_path):
    with pytest.raises(UsageError, match=r"has no ledger .* yet"):
        Ledger(tmp_path / "l.sqlite", "lat")
    Ledger(tmp_path / "l.sqlite", "lat", write=True).close()
    with pytest.raises(UsageError, match="is that of campaign 'lat', not of 'other'"):
        Ledger(tmp_path / "l.sqlite", "other", write=True)
    with sqlite3.connect(tmp_path / "l.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(UsageError, match="of a later version"):
        Ledger(tmp_path / "l.sqlite", "lat", write=True)


def test_a_ledger_of_an_earlier_version_is_brought_up_to_date(tmp_path, monkeypatch):
    path = tmp_path / "l.sqlite"
    with monkeypatch.context() as earlier:
        earlier.setattr("vrecompute.campaign.ledger.STEPS", STEPS[:1])
        with Ledger(path, "lat", write=True) as ledger:
            ledger.do("INSERT INTO units (unit, analysis, dataset, published) VALUES ('a/d', 'a', 'd', 'x')")
    with pytest.raises(UsageError, match="is of an earlier version; the next tick brings it up to date"):
        Ledger(path, "lat")
    Ledger(path, "lat", write=True).close()
    with Ledger(path, "lat") as ledger:
        (unit,) = ledger.rows("SELECT * FROM units")
        assert (unit["published"], unit["wanted"]) == ("x", None)


def test_network_file_systems_are_found(tmp_path, monkeypatch):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
        f"2 1 0:5 / {tmp_path}/home rw - nfs4 server:/home rw\n"
        f"3 2 0:6 / {tmp_path}/home/fast\\040disk rw - xfs /dev/sdb rw\n"
        f"4 1 0:7 / {tmp_path}/fuse rw - fuse.sshfs x rw\n"
    )
    assert network_file_system(tmp_path / "l.sqlite", str(mounts)) == ""
    assert network_file_system(tmp_path / "home" / "me" / "l.sqlite", str(mounts)) == "nfs4"
    assert network_file_system(tmp_path / "home" / "fast disk" / "l.sqlite", str(mounts)) == ""
    assert network_file_system(tmp_path / "fuse" / "l.sqlite", str(mounts)) == "fuse.sshfs"
    monkeypatch.setattr("vrecompute.campaign.ledger.network_file_system", lambda path: "nfs4")
    with pytest.raises(UsageError, match=r"network file system \(nfs4\).*write `ledger: store`"):
        Ledger(tmp_path / "l.sqlite", "lat", write=True)


STAMPS = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(["1", "2", "3"]))


@given(st.lists(STAMPS, max_size=6))
def test_looks_say_what_changed_and_know_what_is_there(tmp_path_factory, looks):
    with Ledger(tmp_path_factory.mktemp("l") / "l.sqlite", "lat", write=True) as ledger:
        ledger.acquire(time.time())
        before: dict[str, str] = {}
        for now in looks:
            found = record(ledger, "photons", now, dict.fromkeys(now, 5))
            assert found == difference(before, now)
            assert {*found.new, *found.changed, *found.vanished} == {
                k for k in before.keys() | now.keys() if before.get(k) != now.get(k)
            }
            rows = ledger.rows("SELECT address, stamp FROM inputs WHERE is_there")
            assert {row["address"]: row["stamp"] for row in rows} == now
            before = now
        told = ledger.rows("SELECT kind, subject FROM history ORDER BY number")
        there: set[str] = set()
        for row in told:
            if row["kind"] != "input changed":
                (there.add if row["kind"] == "input new" else there.remove)(row["subject"])
        assert there == before.keys()


def test_listings_are_kept_once(ledger):
    with ledger.writing():
        first = ledger.keep_listing({"a": "1", "b": "2"})
        assert ledger.keep_listing({"b": "2", "a": "1"}) == first
    assert ledger.listing(first) == {"a": "1", "b": "2"}
    assert ledger.listing("nothing") == {}


@given(st.integers(1, 50), st.integers(1, 10), st.integers(1, 10**6), st.integers(1, 10**7))
def test_pauses_double_until_quarantine(failures, attempts, wait, every):
    verdict = after_failure(failures, 1000.0, Retry(attempts=attempts, wait=wait), Quarantine(retry_every=every))
    assert verdict.quarantined == (failures >= attempts)
    assert verdict.next_try - 1000 == (every if failures >= attempts else wait * 2 ** (failures - 1))


def test_of_many_that_want_the_lease_in_a_store_one_has_it(tmp_path):
    store = DirStore(tmp_path / "store")
    for _ in range(5):
        leases = [StoreLease(store, "lat") for _ in range(8)]
        had: list[StoreLease] = []

        def take(lease, had=had):
            try:
                lease.acquire()
            except Busy:
                return
            had.append(lease)

        threads = [threading.Thread(target=take, args=(lease,)) for lease in leases]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(had) == 1
        had[0].check()
        had[0].release()
    assert len(list(store.names("campaigns/lat/lease"))) <= 4


def test_a_lease_in_a_store_that_ran_out_is_lost_to_the_first_that_asks(tmp_path):
    store = DirStore(tmp_path / "store")
    first, second = StoreLease(store, "lat", life_s=0.0), StoreLease(store, "lat")
    first.acquire()
    first.renew()
    second.acquire()
    for late in (first.renew, first.check):
        with pytest.raises(LeaseLost):
            late()
    first.release()  # changes nothing
    second.check()


def test_one_that_was_suspended_while_it_took_the_lease_in_a_store_has_not_got_it(tmp_path):
    """Meanwhile others used the number that it creates, and removed it as an old one."""
    store = DirStore(tmp_path / "store")
    holds = StoreLease(store, "lat")

    class Suspended(StoreLease):
        def _create(self, number, until):
            for _ in range(3):
                passing = StoreLease(store, "lat")
                passing.acquire()
                passing.release()
            holds.acquire()
            return super()._create(number, until)

    with pytest.raises(Busy):
        Suspended(store, "lat").acquire()
    holds.check()


def test_a_tick_looks_for_its_lease_in_the_store_before_it_does_what_others_see(tmp_path):
    store = DirStore(tmp_path / "store")

    def taken_over():
        with store_ledger(store, "lat", write=True) as ledger:
            ledger.acquire(time.time())
            ledger.check()
            other = StoreLease(store, "lat")
            assert other._create(other._last()[0] + 1, 0.0)  # as the clock of another host says
            ledger.check()
            pytest.fail("it went on")

    with pytest.raises(LeaseLost):
        taken_over()
    assert list(store.names("campaigns/lat/ledger")) == []


def test_a_store_whose_service_has_no_conditional_writes_is_refused(tmp_path):
    store = DirStore(tmp_path / "store")
    store.creates_conditionally = False
    with pytest.raises(UsageError, match="no conditional writes"):
        StoreLease(store, "lat").acquire()


@pytest.mark.parametrize(
    ("code", "before", "told"),
    [(6, None, False), (0, None, False), (4, None, True), (4, 4, False), (3, 4, True), (6, 4, True), (0, 6, False)],
)
def test_changes_of_state_are_told_once(code, before, told):
    assert is_change(code, before) == told


@given(st.text())
def test_a_summary_adds_no_header_to_a_mail(summary):
    mail = message("lat", 4, summary, ("a@example.org",), json.dumps({}))
    assert set(mail.keys()) == {
        *("Subject", "To", "Auto-Submitted", "X-Vrecompute-Exit-Code"),
        *("Content-Type", "Content-Transfer-Encoding", "MIME-Version"),
    }
