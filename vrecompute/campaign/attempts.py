"""`Attempt`: one run of a unit as the ledger knows it, written down before its run exists.

planned      its name, site and inputs are decided; its run may exist, and the site may have its job
submitted    the site took it
ended        it is known how it ended, and what followed from that is written
void         it came to nothing: what was wanted changed before it began
retired      its run was deleted from the store
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from sqlite3 import Row
from typing import Any

from vrecompute.campaign.budget import Cost
from vrecompute.campaign.ledger import Ledger

__all__ = ["Attempt", "core_s_per_byte", "last_done", "open_attempts", "plan", "spent"]


@dataclass(frozen=True)
class Attempt:
    """A row of the table. `covers`: it has all that was wanted when it was planned, so that its result is a product."""

    number: int
    unit: str
    run: str
    site: str
    state: str
    want: str
    identity: str
    listing: str
    covers: bool
    parts: Mapping[str, Any]
    planned: float
    size: int
    manifest_sha256: str | None

    @classmethod
    def of(cls, row: Row) -> Attempt:
        """From a row of `attempts`."""
        same = {name: row[name] for name in ("number", "unit", "run", "site", "state", "want", "identity", "listing")}
        parts = json.loads(row["identity_parts"])
        numbers = {name: row[name] for name in ("planned", "size", "manifest_sha256")}
        return cls(**same, covers=bool(row["covers"]), parts=parts, **numbers)

    def written(self, ledger: Ledger, manifest_sha256: str) -> None:
        """Its run has that manifest, which this process wrote; within `writing`. Nothing is submitted before."""
        ledger.do("UPDATE attempts SET manifest_sha256 = ? WHERE number = ?", (manifest_sha256, self.number))

    def submitted(self, ledger: Ledger, site: str, jobs: str) -> None:
        """The site took it; within `writing`."""
        ledger.do(
            "UPDATE attempts SET state = 'submitted', site = ?, submitted = coalesce(submitted, ?) WHERE number = ?",
            (site, time.time(), self.number),
        )
        ledger.note("submitted", self.unit, self.run, site=site, jobs=jobs)

    def void(self, ledger: Ledger, why: str) -> None:
        """It came to nothing; within `writing`."""
        ledger.do(
            "UPDATE attempts SET state = 'void', ended = ?, core_s = 0, size = 0, reason = ? WHERE number = ?",
            (time.time(), why, self.number),
        )
        ledger.note("void", self.unit, self.run, reason=why)


def open_attempts(ledger: Ledger) -> list[Attempt]:
    """Those whose end is not known."""
    rows = ledger.rows("SELECT * FROM attempts WHERE state IN ('planned', 'submitted') ORDER BY number")
    return [Attempt.of(row) for row in rows]


def plan(
    ledger: Ledger, attempt: Mapping[str, object], parts: Mapping[str, Any], inputs: Mapping[str, str], why: str
) -> Attempt:
    """Write an attempt down before anything of it exists."""
    with ledger.writing():
        listing = ledger.keep_listing(inputs)
        row = {
            **attempt,
            "state": "planned",
            "listing": listing,
            "identity_parts": json.dumps(dict(parts), sort_keys=True),
            "planned": time.time(),
            "tick": ledger.tick,
        }
        marks = ", ".join("?" * len(row))
        ledger.do(f"INSERT INTO attempts ({', '.join(row)}) VALUES ({marks})", list(row.values()))
        ledger.note("planned", str(row["unit"]), str(row["run"]), reason=why, inputs=len(inputs))
    found = ledger.row("SELECT * FROM attempts WHERE run = ?", (attempt["run"],))
    assert found is not None  # it was written a moment ago
    return Attempt.of(found)


def last_done(ledger: Ledger, unit: str, identity: str) -> dict[str, str]:
    """Inputs (address -> stamp) whose parts the latest attempt left that ended complete with that identity."""
    row = ledger.row(
        "SELECT listing FROM attempts WHERE unit = ? AND identity = ? AND status = 'complete' ORDER BY number DESC",
        (unit, identity),
    )
    return {} if row is None else ledger.listing(row["listing"])


def core_s_per_byte(ledger: Ledger, unit: str) -> float | None:
    """What a byte of new files has cost a unit in attempts that computed anything; None where there was none."""
    row = ledger.row(
        "SELECT sum(core_s) AS core_s, sum(size) AS size FROM attempts "
        "WHERE unit = ? AND status = 'complete' AND size > 0 AND chunks_computed > 0",
        (unit,),
    )
    return None if row is None or not row["size"] else float(row["core_s"]) / float(row["size"])


def spent(ledger: Ledger, *, tick: int | None = None, since: float | None = None) -> Cost:
    """What attempts of a tick, or planned since a moment, have cost: as measured, or else as estimated."""
    where, value = ("tick = ?", tick) if tick is not None else ("planned >= ?", since)
    row = ledger.row(f"SELECT total(core_s) AS core_s, total(size) AS size FROM attempts WHERE {where}", (value,))
    return Cost() if row is None else Cost(float(row["core_s"]), int(row["size"]))
