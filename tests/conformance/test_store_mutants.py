"""Each clause of the contract of stores, left out by a store: the shipped suite has a test that fails for it.

The right one is the store that docs/stores.md has, through the whole suite.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
import unicodedata
from pathlib import Path
from typing import ClassVar

import pytest

from tests.conformance.docs_store import store, suite
from vrecompute.digest import sha256_of
from vrecompute.errors import AbsentObject, StoreError
from vrecompute.stores.address import SCHEMES, StoreAddress
from vrecompute.stores.base import Entry, checked
from vrecompute.testing import StoreContract

Right = store.SqliteStore


class TestSqliteStore(suite.TestSqliteStore):
    """As a reader of the document would."""


class RefreshesNothing(Right):
    def refresh(self, name):
        pass


class ListsOnePage(Right):
    def entries(self, prefix):
        return iter(list(super().entries(prefix))[:1000])


class KeepsTheTime(Right):
    def replace(self, name, data):
        at = before.written if (before := self.stat(name)) else time.time()
        self._ask("INSERT OR REPLACE INTO objects VALUES (?, ?, ?)", self._checked(name), data, at)


class ListsNoTimes(Right):
    def entries(self, prefix):
        return iter([Entry(entry.name, entry.size, 0.0) for entry in super().entries(prefix)])


class CutsNames(Right):
    def _checked(self, name):
        return super()._checked(name)[:120]


class KnowsNoCase(Right):
    def _checked(self, name):
        return super()._checked(name).lower() if "case/" in name else super()._checked(name)


def reading(kind, change):
    """A store that gives what `change` makes of the bytes."""

    def get(self, name, *, sha256=None, most_bytes=None):
        return change(Right.get(self, name, sha256=sha256, most_bytes=most_bytes))

    return type(kind, (Right,), {"get": get})


StripsLines = reading("StripsLines", lambda data: data.rstrip(b"\n"))
EndsAtNull = reading("EndsAtNull", lambda data: data.partition(b"\0")[0])
TranslatesLines = reading("TranslatesLines", lambda data: data.replace(b"\r\n", b"\n"))
TakesText = reading("TakesText", lambda data: data.decode(errors="replace").encode())
FillsTheEmpty = reading("FillsTheEmpty", lambda data: data or b"\n")


class RefusesLarge(Right):
    def create(self, name, data):
        return super().create(name, data[: 4 << 20])


class RemembersBytes(Right):
    def __init__(self, address):
        super().__init__(address)
        self.read = {}

    def get(self, name, **asked):
        self.read[name] = self.read.get(name) or super().get(name, **asked)
        return self.read[name]


class RelativeUrl(Right):
    @property
    def url(self):
        return f"sqlite://{os.path.relpath(self.path)}"

    def __init__(self, address):
        self.path = Path(address.place)


class PutsFilesOver(Right):
    def put_file(self, name, path):
        is_new = not self.exists(name)
        self.replace(name, path.read_bytes())
        return is_new


class ReplacesInTwoSteps(Right):
    def replace(self, name, data):
        self.delete(name)
        self.create(name, data)


class TakesFoldersForObjects(Right):
    def exists(self, name):
        return super().exists(name) or bool(self.children(name))


class OneConnection(Right):
    def _ask(self, question, *values):
        if not hasattr(self, "connection"):
            self.connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            self.connection.execute(store.TABLE)
        answer = self.connection.execute(question, values)
        return answer.fetchall(), answer.rowcount


class FilesOfItsOwn(Right):
    """Right: each object in a file beside, made anew where it is another."""

    def local_path(self, name):
        path = self._file(name)
        try:
            data = self.get(name)
        except AbsentObject:
            path.unlink(missing_ok=True)
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def _file(self, name):
        return self.path.with_name("files") / sha256_of(name.encode())


class FilesByLastName(FilesOfItsOwn):
    """Two objects, one file: the one that was asked for later."""

    def _file(self, name):
        return self.path.with_name("files") / name.rpartition("/")[2]


class FilesOfOnce(FilesOfItsOwn):
    """The object as it was first."""

    def local_path(self, name):
        path = self._file(name)
        return path if path.exists() else super().local_path(name)


class RaisesBare(Right):
    def _ask(self, question, *values):
        try:
            return super()._ask(question, *values)
        except StoreError as error:
            raise OSError(errno.EIO, str(error)) from error


class RaisesItsLibrarys(Right):
    def _ask(self, question, *values):
        try:
            return super()._ask(question, *values)
        except StoreError as error:
            raise error.__cause__ from None


class RetiresByWhatItSaw(Right):
    def __init__(self, address):
        super().__init__(address)
        self.seen = {}

    def entries(self, prefix):
        found = list(super().entries(prefix))
        self.seen |= {entry.name: entry.written for entry in found}
        return iter(found)

    def retire(self, name, before):
        if self.seen.get(name, before) >= before:
            return super().retire(name, before)
        self.delete(name)
        return True


class SecretInUrl(Right):
    @property
    def url(self):
        return f"sqlite://{self.path}?password=hunter2"


class AbsentInAnOutage(Right):
    def _ask(self, question, *values):
        try:
            return super()._ask(question, *values)
        except StoreError:
            if question.startswith("SELECT"):
                return [], 0
            raise


class EmptyInAnOutage(Right):
    """Its objects are not absent: its listings lack them."""

    def entries(self, prefix):
        try:
            return super().entries(prefix)
        except StoreError:
            return iter([])


class DoneInAnOutage(Right):
    def _ask(self, question, *values):
        try:
            return super()._ask(question, *values)
        except StoreError:
            if question.startswith("SELECT"):
                raise
            return [], 1


class AsksWhereItIsMade(Right):
    def __init__(self, address):
        super().__init__(address)
        self._ask("SELECT 1")


class LocksInOneProcess(Right):
    """Of several threads one creates; of several processes each does."""

    lock = threading.Lock()

    def create(self, name, data):
        with self.lock:
            if self.exists(name):
                return False
            self.replace(name, data)
            return True


class RemembersForItsProcess(Right):
    """All instances of a process share what was read; writers of it renew that."""

    read: ClassVar = {}

    def get(self, name, *, sha256=None, most_bytes=None):
        if (key := (self.url, name)) not in self.read or most_bytes is not None:
            self.read[key] = super().get(name, most_bytes=most_bytes)
        return checked(self.url, name, self.read[key], sha256)

    def replace(self, name, data):
        super().replace(name, data)
        self.read[self.url, name] = data

    def delete(self, name):
        self.read.pop((self.url, name), None)
        super().delete(name)

    def set_aside(self, name):
        self.read.pop((self.url, name), None)
        return super().set_aside(name)

    def retire(self, name, before):
        if done := super().retire(name, before):
            self.read.pop((self.url, name), None)
        return done


class LivesInOneProcess(Right):
    tables: ClassVar = {}
    lock = threading.RLock()

    def _ask(self, question, *values):
        with self.lock:
            if self.url not in self.tables:
                self.tables[self.url] = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
                self.tables[self.url].execute(store.TABLE)
            answer = self.tables[self.url].execute(question, values)
            return answer.fetchall(), answer.rowcount


def listing(kind, wanted, pattern):
    """A store whose listings are by another question."""

    def entries(self, prefix):
        question = f"SELECT name, length(data), written FROM objects WHERE {wanted} ORDER BY name"
        rows, _ = self._ask(question, pattern(self._checked(prefix)) if prefix else pattern(""))
        return (Entry(*row) for row in rows)

    return type(kind, (Right,), {"entries": entries})


ListsLike = listing("ListsLike", "name LIKE ?", lambda prefix: f"{prefix}/%" if prefix else "%")
ListsByShell = listing("ListsByShell", "name GLOB ?", lambda prefix: f"{prefix}/*" if prefix else "*")
ListsByBeginning = listing("ListsByBeginning", "instr(name, ?) = 1", lambda prefix: prefix)


class DeletesByBeginning(Right):
    def delete(self, name):
        self._ask("DELETE FROM objects WHERE name LIKE ?", f"{self._checked(name)}%")


class SetsAsideLike(Right):
    def set_aside(self, name):
        aside = super().set_aside(name)
        self._ask("DELETE FROM objects WHERE name LIKE ?", self._checked(name))
        return aside


class CutsLargeOnes(Right):
    """As a database does by default."""

    def create(self, name, data):
        return super().create(name, data[: 16 << 20])


class CutsLongNames(Right):
    def _checked(self, name):
        return super()._checked(name)[:200]


class NormalisesNames(Right):
    def _checked(self, name):
        return super()._checked(unicodedata.normalize("NFC", name))


AGES = "test_what_is_replaced_or_used_again_is_new"
PATHS = "test_a_local_path_is_that_of_the_object"
BYTES = "test_any_bytes_come_back_as_they_were"
OUTAGE = "test_whatever_fails_is_an_error_of_the_store"
PROCESSES = "test_what_another_process_does_is_seen"
LISTINGS = "test_a_listing_has_no_names_of_other_folders"
REMOVALS = "test_a_removal_leaves_other_names"
MUTANTS = [
    (RefreshesNothing, AGES),
    (KeepsTheTime, AGES),
    (ListsOnePage, "test_a_listing_has_all_names"),
    (ListsNoTimes, "test_listings_tell_names_children_sizes_and_times"),
    *[(kind, OUTAGE) for kind in (AbsentInAnOutage, EmptyInAnOutage, DoneInAnOutage, AsksWhereItIsMade)],
    (LocksInOneProcess, "test_of_two_processes_one_creates"),
    (RemembersForItsProcess, PROCESSES),
    (LivesInOneProcess, PROCESSES),
    *[(kind, LISTINGS) for kind in (ListsLike, ListsByShell, ListsByBeginning)],
    (DeletesByBeginning, REMOVALS),
    (SetsAsideLike, REMOVALS),
    (CutsLargeOnes, "test_a_large_object_is_whole"),
    (CutsLongNames, "test_names_that_differ_are_of_two_objects"),
    (NormalisesNames, "test_names_that_differ_are_of_two_objects"),
    (CutsNames, "test_names_that_differ_are_of_two_objects"),
    (KnowsNoCase, "test_names_that_differ_are_of_two_objects"),
    (StripsLines, f"{BYTES}[end-of-line]"),
    (EndsAtNull, f"{BYTES}[null]"),
    (TranslatesLines, f"{BYTES}[ends-of-lines]"),
    (TakesText, f"{BYTES}[no-text]"),
    (FillsTheEmpty, f"{BYTES}[nothing]"),
    (RefusesLarge, f"{BYTES}[large]"),
    (RemembersBytes, "test_what_another_process_removes_or_writes_is_seen"),
    (FilesByLastName, PATHS),
    (FilesOfOnce, PATHS),
    (RaisesBare, OUTAGE),
    (RaisesItsLibrarys, OUTAGE),
    (RetiresByWhatItSaw, AGES),
    (SecretInUrl, "test_its_url_opens_it_and_holds_no_secret"),
    (RelativeUrl, "test_its_url_opens_it_and_holds_no_secret"),
    (PutsFilesOver, "test_files_go_in_and_come_out_whole"),
    (ReplacesInTwoSteps, "test_an_object_appears_whole_or_not_at_all"),
    (TakesFoldersForObjects, "test_a_folder_is_no_object"),
    (OneConnection, "test_one_instance_serves_several_threads"),
]


class Mutated(StoreContract):
    """The suite for the store that the variable names."""

    kind = Right

    @pytest.fixture
    def make_store(self, tmp_path, monkeypatch):
        monkeypatch.setitem(SCHEMES, "sqlite", self.kind)
        return lambda: self.kind(StoreAddress.parse(f"sqlite://{tmp_path}/objects.db"))


@pytest.mark.parametrize(("kind", "test"), MUTANTS, ids=[kind.__name__ for kind, _ in MUTANTS])
def test_the_suite_finds_it(kind, test, tmp_path):
    outcome = judged(kind, test, tmp_path)
    assert (outcome.failed, outcome.passed) == ([test], [])


def test_files_of_the_right_bytes_are_none(tmp_path):
    outcome = judged(FilesOfItsOwn, PATHS, tmp_path)
    assert (outcome.failed, outcome.passed) == ([], [PATHS])


def test_a_store_of_one_process_says_so_and_its_clauses_are_skipped(tmp_path):
    alone = type("Alone", (LivesInOneProcess,), {"opens_elsewhere": False})
    outcome = judged(alone, PROCESSES, tmp_path)
    assert (outcome.failed, outcome.passed) == ([], [])
    assert outcome.skipped == ["TestMutant.opens_elsewhere is False: no other process opens the store by its url"]


def judged(kind, test, tmp_path):
    """In a pytest of its own, as an implementer runs it."""

    class Outcome:
        def __init__(self):
            self.failed, self.passed, self.skipped = [], [], []

        def pytest_runtest_logreport(self, report):
            if report.skipped:
                self.skipped.append(report.longrepr[2].removeprefix("Skipped: "))
            if report.when == "call":
                (self.failed if report.failed else self.passed).append(report.nodeid.rpartition("::")[2])

        def pytest_collection_modifyitems(self, items):
            items[:] = [item for item in items if item.name == test]

        def pytest_generate_tests(self, metafunc):
            if metafunc.cls is not None:
                metafunc.cls.kind = kind
                metafunc.cls.opens_elsewhere = getattr(kind, "opens_elsewhere", True)

    file = tmp_path / f"test_{kind.__name__}.py"  # another module for each
    file.write_text(
        "from tests.conformance.test_store_mutants import Mutated\n\n\nclass TestMutant(Mutated):\n    pass\n"
    )
    outcome = Outcome()
    quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no", f"--rootdir={tmp_path}", "--no-header"]
    pytest.main([*quiet, f"--basetemp={tmp_path / 'temporary'}", str(file)], plugins=[outcome])
    return outcome
