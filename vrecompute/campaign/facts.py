"""What a ledger says, as plain data: for `status`, the page, metrics, mail and other programs."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from typing import Any

from vrecompute.campaign.ledger import Ledger
from vrecompute.campaign.load import CampaignFile
from vrecompute.campaign.wanted import units_of
from vrecompute.errors import UsageError
from vrecompute.nearest import did_you_mean

__all__ = ["history", "moment", "spelled", "state_of_unit", "status", "why"]

_TICKS = 10
# Units, and how the latest attempt at what is wanted of each ended.
_UNITS = (
    "SELECT u.*, (SELECT a.reason FROM attempts a WHERE a.unit = u.unit AND a.want = u.wanted "
    "ORDER BY a.number DESC LIMIT 1) AS latest FROM units u ORDER BY u.unit"
)


def moment(seconds: float | None) -> str | None:
    """Seconds since 1970 as ISO 8601 in UTC; None stays None."""
    return None if not seconds else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def state_of_unit(row: Any, open_state: Any, *, is_wanted: bool = True) -> str:
    """In one word: `running`, `planned`, `removed`, `quarantined`, `failing`, `done`, `behind` or `new`.

    `behind` has a product, which is not made of all that is wanted by now.
    """
    if open_state is not None:
        return "running" if open_state == "submitted" else "planned"
    if not is_wanted:
        return "removed"  # from the file; its product stays
    if row["quarantined"]:
        return "quarantined"
    if row["failures"] or not row["published"]:
        return "failing" if row["failures"] else "new"
    return "done" if row["wanted"] in (None, row["published"]) else "behind"


def _waits(latest: str | None) -> str:
    """Why a unit is not done, by how its latest attempt ended."""
    return f"{latest}; tried again later" if latest else "not submitted yet"


def status(file: CampaignFile, ledger: Ledger) -> dict[str, Any]:
    """The state of a campaign: units by state, troubles, the latest ticks, totals."""
    under_way = {
        row["unit"]: row
        for row in ledger.rows("SELECT unit, run, state, site FROM attempts WHERE state IN ('planned', 'submitted')")
    }
    wanted = {unit.name for unit in units_of(file)}
    units = []
    for row in ledger.rows(_UNITS):
        attempt = under_way.get(row["unit"])
        state = state_of_unit(row, attempt and attempt["state"], is_wanted=row["unit"] in wanted)
        units.append(
            {
                "unit": row["unit"],
                "state": state,
                "run": attempt["run"] if attempt else row["published_run"],
                "site": attempt["site"] if attempt else None,
                "published": moment(row["published_at"]),
                "published_run": row["published_run"],
                "result_sha256": row["result_sha256"],
                "failures": row["failures"],
                "next_try": moment(row["next_try"]),
                "reason": row["reason"] or (_waits(row["latest"]) if state in ("behind", "new") else ""),
            }
        )
    by_state: dict[str, int] = {}
    for unit in units:
        by_state[unit["state"]] = by_state.get(unit["state"], 0) + 1
    inputs = ledger.row("SELECT total(is_there) AS there, count(*) AS known FROM inputs")
    totals = ledger.row(
        "SELECT total(chunks_computed) AS computed, total(chunks_reused) AS reused, total(core_s) AS core_s, "
        "count(*) AS attempts FROM attempts WHERE state IN ('ended', 'retired')"
    )
    troubles = ledger.rows("SELECT * FROM troubles ORDER BY unit, address")
    ticks = ledger.rows("SELECT * FROM ticks ORDER BY number DESC LIMIT ?", (_TICKS,))
    assert inputs is not None
    assert totals is not None
    return {
        "schema": 1,
        "campaign": file.campaign.name,
        "now": moment(time.time()),
        "units": units,
        "units_by_state": by_state,
        "inputs": {"there": int(inputs["there"]), "vanished": int(inputs["known"] - inputs["there"])},
        "inputs_failing": [
            {
                "unit": row["unit"],
                "input": row["address"],
                "quarantined": bool(row["quarantined"]),
                "failures": row["failures"],
                "next_try": moment(row["next_try"]),
                "kind": row["kind"],
                "reason": row["reason"],
            }
            for row in troubles
        ],
        "attempts_total": int(totals["attempts"]),
        "chunks_computed_total": int(totals["computed"]),
        "chunks_reused_total": int(totals["reused"]),
        "core_hours_total": round(totals["core_s"] / 3600, 6),
        "ticks": [
            {
                "tick": row["number"],
                "began": moment(row["began"]),
                "ended": moment(row["ended"]),
                "exit_code": row["exit_code"],
                "summary": row["summary"],
            }
            for row in ticks
        ],
    }


def history(ledger: Ledger, key: str | None = None, most: int | None = None) -> list[dict[str, Any]]:
    """What happened, oldest first; of one unit, dataset, file or run where there is a `key`."""
    where, values = ("WHERE unit = ? OR subject = ? ", [key, key]) if key else ("", [])
    limit = f"LIMIT {int(most)}" if most else ""
    rows = ledger.rows(f"SELECT * FROM history {where}ORDER BY number DESC {limit}", values)
    return [
        {
            "number": row["number"],
            "time": moment(row["time"]),
            "tick": row["tick"],
            "what": row["kind"],
            "unit": row["unit"],
            "subject": row["subject"],
            **{k: v for k, v in json.loads(row["detail"]).items() if v not in (None, "")},
        }
        for row in reversed(rows)
    ]


def spelled(file: CampaignFile, ledger: Ledger, key: str) -> str:
    """A unit, dataset, run or file as the ledger spells it; UsageError where it knows none.

    A file may be named by its path from the working directory, or from the folder of the campaign file.
    """
    known = "SELECT 1 FROM history WHERE unit = ? OR subject = ? UNION SELECT 1 FROM units WHERE unit = ?"
    for each in (key, os.path.abspath(key), str(file.beside(key))):
        if ledger.row(known, (each, each, each)) is not None:
            return each
    units = [row["unit"] for row in ledger.rows("SELECT unit FROM units ORDER BY unit")]
    raise UsageError(
        f"the ledger knows no unit, run, dataset or file {key!r}; {did_you_mean(key, units) if units else ''}"
    )


def why(ledger: Ledger, key: str) -> dict[str, Any]:
    """All about a unit, or one attempt of it by its run: code, inputs, result, and what led to it.

    Of a file, which units have it and what became of it. `key` is as `spelled`.
    """
    attempts = ledger.rows("SELECT * FROM attempts WHERE unit = ? OR run = ? ORDER BY number", (key, key))
    happened = history(ledger, key)
    told = []
    for row in attempts:
        inputs = ledger.listing(row["listing"])
        told.append(
            {
                "run": row["run"],
                "unit": row["unit"],
                "state": row["state"],
                "status": row["status"],
                "site": row["site"],
                "planned": moment(row["planned"]),
                "submitted": moment(row["submitted"]),
                "ended": moment(row["ended"]),
                "code": row["code"],
                "identity": json.loads(row["identity_parts"]),
                "inputs": len(inputs),
                "inputs_sha256": row["listing"],
                "result_sha256": row["result_sha256"],
                "events": row["events"],
                "chunks_computed": row["chunks_computed"],
                "chunks_reused": row["chunks_reused"],
                "core_s": row["core_s"],
                "reason": row["reason"],
                **({"files": inputs} if row["run"] == key else {}),
            }
        )
    return {"key": key, "attempts": told, "history": happened}
