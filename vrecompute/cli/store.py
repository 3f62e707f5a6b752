"""`vrecompute store`: what a store holds beyond what its runs need."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import click

from vrecompute.cli.options import JSON, BytesType, DurationType, store_options
from vrecompute.cli.output import facts, table
from vrecompute.wording import bytes_text, count_text, printable

if TYPE_CHECKING:
    from vrecompute.stores.base import Entry

__all__ = ["store"]

_WHAT = {
    "work/parts": "finished chunks",
    "work/runs": "finished chunks of one run alone",
    "work/tables": "rows of tables",
    "sources": "what is known of files",
    "blobs": "resources and code",
    "runs": "results, products and deleted runs",
    "aside": "damaged objects",
    "probe": "objects of probes",
}


@click.group()
def store() -> None:
    """Remove from a store what no run needs."""


@store.command()
@store_options
@click.option(
    "--older-than",
    type=DurationType(),
    metavar="TIME",
    default=0,
    help="Only what was not used for so long, as 30d; never less than 7d.",
)
@click.option("--max-size", type=BytesType(), metavar="SIZE", help="Only until the store has this size: oldest first.")
@click.option("--keep", multiple=True, metavar="RUN", help="Spare all finished chunks of RUN; may be repeated.")
@click.option("--yes", is_flag=True, help="Remove it; without this, only show what would go.")
@JSON
@click.pass_context
def gc(
    ctx: click.Context,
    site: str | None,
    store: str | None,
    older_than: int,
    max_size: int | None,
    keep: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Show what no run of the store needs and how many bytes that is; with --yes, remove it.

    A run that may be resumed needs its finished chunks, one that is complete only its own results, products and
    tables. Nothing goes that was used in the last seven days. Runs may work meanwhile. `vrecompute runs delete`
    removes runs.
    """
    from vrecompute.client import Client
    from vrecompute.errors import StoreError
    from vrecompute.execution.retention import YOUNGEST_S

    client = Client(site, store=store)
    found = client.unneeded(older_than_s=older_than, most_bytes=max_size, keep=keep)
    entries, refused = list(found.garbage), list[str]()
    if yes:
        removed = list(found.remove())
        entries = [e for e in removed if not isinstance(e, StoreError)]
        refused = [str(e) for e in removed if isinstance(e, StoreError)]
    size = sum(e.size for e in entries)
    if as_json:
        objects = [entry._asdict() for entry in entries]
        said = {"removed": yes, "bytes": size, "total_bytes": found.total_bytes, "objects": objects}
        facts(said | {"unread": found.unread, "refused": refused})
    else:
        table(["WHAT", "OBJECTS", "BYTES"], _by_kind(entries))
        what = "removed" if yes else "would be removed (add --yes)"
        click.echo(f"{bytes_text(size)} of {bytes_text(found.total_bytes)} {what}")
        if 0 < older_than < YOUNGEST_S:
            days = round(YOUNGEST_S / 86_400)
            click.echo(f"what was used in the last {days} days stays, whatever --older-than says: runs may need it")
        for why in found.unread:
            click.echo(printable(f"{why}; nothing that this run might need is removed"))
        if max_size is not None and found.total_bytes - size > max_size:
            click.echo("the rest is needed by runs, or was used in the last seven days; delete runs to free more")
    for why in refused:
        click.echo(printable(why), err=True)
    ctx.exit(4 if refused else 0)


def _by_kind(entries: list[Entry]) -> list[tuple[str, str, str]]:
    kinds: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        top, *inner = entry.name.split("/")
        kinds["/".join([top, *inner[1:2]]) if top == "work" else top].append(entry)
    return [
        (_WHAT.get(kind, kind), count_text(len(those)), bytes_text(sum(e.size for e in those)))
        for kind, those in sorted(kinds.items())
    ]
