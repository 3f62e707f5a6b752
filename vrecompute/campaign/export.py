"""The ledger as files of other programs: one JSON document, or CSV of one table."""

from __future__ import annotations

import csv
import io
from typing import Any

from vrecompute.campaign.ledger import Ledger

__all__ = ["TABLES", "export_csv", "export_json"]

TABLES = ("units", "attempts", "inputs", "troubles", "ticks", "history")


def export_json(ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    """Every table as a list of rows."""
    return {table: [dict(row) for row in ledger.rows(f"SELECT * FROM {table}")] for table in TABLES}


def export_csv(ledger: Ledger, table: str) -> str:
    """One table with a line of names."""
    rows = ledger.rows(f"SELECT * FROM {table}")
    names = [row["name"] for row in ledger.rows(f"PRAGMA table_info({table})")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([row[name] for name in names] for row in rows)
    return text.getvalue()
