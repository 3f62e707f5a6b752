"""`vrecompute columns FILE`: what can be read of a file."""

from __future__ import annotations

import click

from vrecompute.cli.options import JSON, NAME
from vrecompute.cli.output import facts, table
from vrecompute.wording import printable

__all__ = ["columns"]


@click.command()
@click.argument("file")
@click.option("--tree", type=NAME, metavar="NAME", help="The tree to look at (default: as in `vrecompute run`).")
@click.option("--match", default="*", metavar="PATTERN", help="Only columns whose names match, such as 'Muon_*'.")
@JSON
def columns(file: str, tree: str | None, match: str, as_json: bool) -> None:
    """The columns of FILE by name, type and size; of a dataset, those of its first file. Reads no event."""
    from vrecompute.filecolumns import file_columns

    found = file_columns(file, tree, match)
    if as_json:
        facts(found.to_data())
        return
    click.echo(printable(found.heading))
    table(["COLUMN", "TYPE", "MEMORY", "DISK"], found.rows)
