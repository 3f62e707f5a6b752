"""The tables of a ledger, as steps from one version to the next; a step that was released is never edited."""

from __future__ import annotations

__all__ = ["STEPS"]

_FIRST = """
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE lease (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  token TEXT NOT NULL, holder TEXT NOT NULL, until REAL NOT NULL);

-- what was found of each dataset at the latest look
CREATE TABLE inputs (
  dataset TEXT NOT NULL, address TEXT NOT NULL, stamp TEXT NOT NULL, size INTEGER NOT NULL,
  is_there INTEGER NOT NULL, first_seen REAL NOT NULL, changed REAL NOT NULL,
  PRIMARY KEY (dataset, address)) WITHOUT ROWID;

-- files that failed, by unit; in quarantine once they did so often enough
CREATE TABLE troubles (
  unit TEXT NOT NULL, address TEXT NOT NULL, stamp TEXT NOT NULL, failures INTEGER NOT NULL,
  quarantined INTEGER NOT NULL, next_try REAL NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY (unit, address)) WITHOUT ROWID;

CREATE TABLE units (
  unit TEXT PRIMARY KEY, analysis TEXT NOT NULL, dataset TEXT NOT NULL,
  published TEXT, published_run TEXT, published_at REAL, result_sha256 TEXT,
  failures INTEGER NOT NULL DEFAULT 0, next_try REAL NOT NULL DEFAULT 0,
  quarantined INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '') WITHOUT ROWID;

-- lists of inputs by their sha256, compressed
CREATE TABLE listings (digest TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE attempts (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  unit TEXT NOT NULL, run TEXT NOT NULL UNIQUE, site TEXT NOT NULL, state TEXT NOT NULL,
  want TEXT NOT NULL, identity TEXT NOT NULL, listing TEXT NOT NULL, covers INTEGER NOT NULL,
  identity_parts TEXT NOT NULL, planned REAL NOT NULL, submitted REAL, ended REAL, tick INTEGER NOT NULL,
  size INTEGER NOT NULL, core_s REAL NOT NULL, status TEXT, reason TEXT NOT NULL DEFAULT '',
  code TEXT NOT NULL, manifest_sha256 TEXT, result_sha256 TEXT, events INTEGER,
  chunks_computed INTEGER, chunks_reused INTEGER);
CREATE INDEX attempts_by_unit ON attempts (unit, number);
CREATE INDEX attempts_by_state ON attempts (state);

CREATE TABLE ticks (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  began REAL NOT NULL, ended REAL, exit_code INTEGER, summary TEXT NOT NULL DEFAULT '', holder TEXT NOT NULL);

CREATE TABLE history (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  time REAL NOT NULL, tick INTEGER, kind TEXT NOT NULL, unit TEXT NOT NULL, subject TEXT NOT NULL,
  detail TEXT NOT NULL);
CREATE INDEX history_by_unit ON history (unit, number);
CREATE TRIGGER history_stays BEFORE UPDATE ON history BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;
CREATE TRIGGER history_is_kept BEFORE DELETE ON history BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;
"""

# what a unit should be made of, as the latest tick saw it, where that is not under way
_WANTED = "ALTER TABLE units ADD COLUMN wanted TEXT;\n"

#: SQL from version n to version n + 1, by n.
STEPS = (_FIRST, _WANTED)
