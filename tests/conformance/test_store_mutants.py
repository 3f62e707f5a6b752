"""Each clause of the contract of stores, left out by a store: the shipped suite has a test that fails for it.

The right one is the store that docs/stores.md has, through the whole suite.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from pathlib import Path

import pytest

from tests.conformance.docs_store import store, suite
from vrecompute.digest import sha256_of
from vrecompute.errors import AbsentObject, StoreError
from vrecompute.stores.address import SCHEMES, StoreAddress
from vrecompute.stores.base import Entry
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


AGES = "test_what_is_replaced_or_used_again_is_new"
PATHS = "test_a_local_path_is_that_of_the_object"
BYTES = "test_any_bytes_come_back_as_they_were"
MUTANTS = [
    (RefreshesNothing, AGES),
    (KeepsTheTime, AGES),
    (ListsOnePage, "test_a_listing_has_all_names"),
    (ListsNoTimes, "test_listings_tell_names_children_sizes_and_times"),
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
    (RaisesBare, "test_whatever_fails_is_an_error_of_the_store"),
    (RaisesItsLibrarys, "test_whatever_fails_is_an_error_of_the_store"),
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


def judged(kind, test, tmp_path):
    """In a pytest of its own, as an implementer runs it."""

    class Outcome:
        def __init__(self):
            self.failed, self.passed = [], []

        def pytest_runtest_logreport(self, report):
            if report.when == "call":
                (self.failed if report.failed else self.passed).append(report.nodeid.rpartition("::")[2])

        def pytest_collection_modifyitems(self, items):
            items[:] = [item for item in items if item.name == test]

        def pytest_generate_tests(self, metafunc):
            if metafunc.cls is not None:
                metafunc.cls.kind = kind

    file = tmp_path / f"test_{kind.__name__}.py"  # another module for each
    file.write_text(
        "from tests.conformance.test_store_mutants import Mutated\n\n\nclass TestMutant(Mutated):\n    pass\n"
    )
    outcome = Outcome()
    quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no", f"--rootdir={tmp_path}", "--no-header"]
    pytest.main([*quiet, f"--basetemp={tmp_path / 'temporary'}", str(file)], plugins=[outcome])
    return outcome
