"""What commands print: facts on standard output."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from vrecompute.utf8text import utf8_data
from vrecompute.wording import printable

__all__ = ["facts", "table"]


def facts(document: Any) -> None:
    """Print a JSON document."""
    click.echo(json.dumps(utf8_data(document), indent=2, default=str, allow_nan=False, ensure_ascii=False))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in aligned columns."""
    cells = [[printable(str(cell)) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
