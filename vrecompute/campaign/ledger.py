"""`Ledger`: what a campaign has done, in one SQLite file (WAL) with an append-only history.

A tick writes only while it holds the lease: each transaction looks for its token first, so that a tick whose lease was
taken over changes nothing any more (LeaseLost). A holder that is dead, by its process, is taken over at once; one that
does not speak for `LEASE_S`, too.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vrecompute.campaign.disk import network_file_system
from vrecompute.campaign.migrations import STEPS
from vrecompute.digest import canonical_json, sha256_of
from vrecompute.errors import Unavailable, UsageError, VrecomputeError
from vrecompute.folders import make_folders
from vrecompute.utf8text import utf8, utf8_data

__all__ = ["LEASE_S", "Busy", "LeaseLost", "Ledger"]

#: A holder that did not write for so long has lost the lease to the first that asks.
LEASE_S = 900.0
# How long a tick waits for another process that reads or writes.
_BUSY_S = 20.0
_APPLICATION = 0x76726563  # "vrec": no other program's file is taken for a ledger


class Busy(VrecomputeError):
    """Another tick holds the lease."""

    exit_code = 6


class LeaseLost(VrecomputeError):
    """Another tick has taken over; this one wrote nothing after that."""

    exit_code = 5


class Ledger:
    """A ledger, open for reading, or with `acquire` for writing. Raises UsageError for a file that cannot be one.

    `renew` is asked before each transaction, and `confirm` by each `check`: of a lease besides that of the file. Both
    raise LeaseLost where it is lost; `renew` may believe for a while that it is not.
    """

    def __init__(self, path: Path, campaign: str, *, write: bool = False) -> None:
        if kind := network_file_system(path):
            raise UsageError(
                f"ledger {path} lies on a network file system ({kind}), where locks of SQLite do not hold; put it on a "
                "disk of this machine, or write `ledger: store`"
            )
        if not write and not path.exists():
            raise UsageError(f"campaign {campaign!r} has no ledger {path} yet; `vrecompute campaign tick` begins it")
        self.path = path
        self._campaign = campaign
        self.token = ""
        self.tick = 0
        self.renew: Callable[[], None] = lambda: None
        self.confirm: Callable[[], None] = lambda: None
        try:
            make_folders(path.parent)
            self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            with self._said():
                self._prepare(write=write)
        except (OSError, sqlite3.DatabaseError) as error:
            raise UsageError(f"ledger {path} cannot be used: {getattr(error, 'strerror', None) or error}") from error

    def close(self) -> None:
        """Give the file back, whole: nothing of it stays in the write-ahead log."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def acquire(self, now: float) -> int:
        """Take the lease and begin a tick; its number. Busy while another tick holds it."""
        token, holder = secrets.token_hex(8), _holder()
        with self._transaction():
            held = self.row("SELECT token, holder, until FROM lease")
            if held is not None and held["until"] > now and _may_live(held["holder"]):
                raise Busy(f"another tick of campaign {self._campaign!r} is at work: {_said_of(held['holder'])}")
            self._db.execute("INSERT OR REPLACE INTO lease VALUES (1, ?, ?, ?)", (token, holder, now + LEASE_S))
            self.token = token
            if held is not None:
                self._note("taken over", "", _said_of(held["holder"]), {}, now)
            made = self._db.execute("INSERT INTO ticks (began, holder) VALUES (?, ?)", (now, holder))
            self.tick = int(made.lastrowid or 0)
        return self.tick

    def release(self) -> None:
        """Give the lease back, if it is ours still."""
        with contextlib.suppress(LeaseLost), self.writing():
            self._db.execute("DELETE FROM lease WHERE token = ?", (self.token,))
        self.token = ""

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction, whole or not at all. LeaseLost where the lease is not ours, Unavailable where it is locked."""
        self.renew()
        with self._transaction():
            until = time.time() + LEASE_S
            if not self._db.execute("UPDATE lease SET until = ? WHERE token = ?", (until, self.token)).rowcount:
                raise LeaseLost(f"another tick of campaign {self._campaign!r} has taken over; this one ends")
            yield

    def check(self) -> None:
        """LeaseLost unless the lease is ours; for before something is done that others see."""
        self.confirm()
        with self.writing():
            pass

    def rows(self, query: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """What a query gives."""
        with self._said():
            return list(self._db.execute(query, _told(values)))

    def row(self, query: str, values: Sequence[object] = ()) -> sqlite3.Row | None:
        """The first row that a query gives; None where there is none."""
        return next(iter(self.rows(query, values)), None)

    def do(self, statement: str, values: Sequence[object] = ()) -> None:
        """Carry out a statement within `writing`."""
        self._db.execute(statement, _told(values))

    def do_many(self, statement: str, values: Sequence[Sequence[object]]) -> None:
        """Carry out a statement for each of many, within `writing`."""
        self._db.executemany(statement, map(_told, values))

    def note(self, what: str, unit: str, subject: str, /, **detail: Any) -> None:
        """Append to the history, within `writing`."""
        self._note(what, unit, subject, detail, time.time())

    def keep_listing(self, inputs: Mapping[str, str]) -> str:
        """Keep a list of inputs (address -> stamp) once, within `writing`; its digest."""
        content = canonical_json(dict(inputs))
        digest = sha256_of(content)
        self._db.execute("INSERT OR IGNORE INTO listings VALUES (?, ?)", (digest, zlib.compress(content)))
        return digest

    def listing(self, digest: str) -> dict[str, str]:
        """The inputs (address -> stamp) of a list that was kept; of none they are none."""
        found = self.row("SELECT content FROM listings WHERE digest = ?", (digest,))
        return {} if found is None else dict(json.loads(zlib.decompress(found["content"])))

    def fact(self, key: str) -> str | None:
        """A value that was kept under a key."""
        found = self.row("SELECT value FROM facts WHERE key = ?", (key,))
        return None if found is None else str(found["value"])

    def keep_fact(self, key: str, value: str) -> None:
        """Keep a value under a key, within `writing`."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", _told((key, value)))

    def _note(self, kind: str, unit: str, subject: str, detail: Mapping[str, Any], now: float) -> None:
        self._db.execute(
            "INSERT INTO history (time, tick, kind, unit, subject, detail) VALUES (?, ?, ?, ?, ?, ?)",
            _told((now, self.tick or None, kind, unit, subject, json.dumps(utf8_data(dict(detail)), default=str))),
        )

    def _prepare(self, *, write: bool) -> None:
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        application = int(self._db.execute("PRAGMA application_id").fetchone()[0])
        if version > len(STEPS) or (version and application != _APPLICATION):
            what = "is of a later version of vrecompute" if application == _APPLICATION else "is no ledger"
            raise UsageError(f"ledger {self.path} {what}; it is left as it is")
        if not write and version < len(STEPS):
            raise UsageError(f"ledger {self.path} is of an earlier version; the next tick brings it up to date")
        if write:
            self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        if version < len(STEPS):
            with self._transaction():
                # another process may have done so in the meantime
                version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
                for step in STEPS[version:]:
                    for statement in _statements(step):
                        self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {_APPLICATION}")
                self._db.execute(f"PRAGMA user_version = {len(STEPS)}")
                self._db.execute("INSERT OR IGNORE INTO facts VALUES ('campaign', ?)", (self._campaign,))
        if (whose := self.fact("campaign")) != self._campaign:
            raise UsageError(f"ledger {self.path} is that of campaign {whose!r}, not of {self._campaign!r}")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._said():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            said = str(error)
            if "locked" in said or "busy" in said:
                raise Unavailable(
                    f"ledger {self.path} is locked by another process for more than {_BUSY_S:.0f} s; the next tick "
                    "goes on"
                ) from error
            if "full" in said or "disk I/O" in said:
                raise Unavailable(
                    f"ledger {self.path} cannot be written: {said}; make room, and the next tick goes on"
                ) from error
            raise


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _holder() -> str:
    """This process, in words that tell it from a later one of the same number."""
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "began": _began(os.getpid())})


def _may_live(holder: str) -> bool:
    """Whether a holder may be at work: one of this machine whose process is gone is not."""
    said = json.loads(holder)
    return said["host"] != socket.gethostname() or (bool(said["began"]) and _began(said["pid"]) == said["began"])


def _said_of(holder: str) -> str:
    said = json.loads(holder)
    return f"process {said['pid']} on {said['host']}"


def _began(pid: int) -> str:
    """When a process began, in clock ticks since boot; empty where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _told(values: Sequence[object]) -> list[object]:
    """Values of a statement: SQLite takes text only that is UTF-8, and messages may quote what is none."""
    return [utf8(value) if isinstance(value, str) else value for value in values]
