"""`vrecompute campaign`: bulk reprocessing that cron drives; see docs/campaigns.md."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from vrecompute.cli.messages import MessageGroup
from vrecompute.cli.options import JSON, DurationType, PathType
from vrecompute.cli.output import facts, table
from vrecompute.wording import printable

if TYPE_CHECKING:
    from vrecompute.campaign.ledger import Ledger
    from vrecompute.campaign.load import CampaignFile
    from vrecompute.campaign.sites import Sites

__all__ = ["campaign"]

FILE = click.argument("file", type=PathType(dir_okay=False))
KEY = click.argument("key", required=False)


@click.group(cls=MessageGroup)
def campaign() -> None:
    """Keep products up to date with datasets that grow: one YAML file, one line of cron."""


@campaign.command()
@FILE
@click.option("--wait", is_flag=True, help="Stay until no run is under way, and publish what they give.")
@click.option(
    "--patience",
    type=DurationType(),
    default=24 * 3600,
    show_default="24h",
    help="How long --wait stays at most; runs go on.",
)
@click.option("-v", "--verbose", is_flag=True, help="Also say that there is nothing to do, and what is waited for.")
@click.pass_context
def tick(ctx: click.Context, file: str, wait: bool, patience: int, verbose: bool) -> None:
    """Close the difference between what FILE wants and what is done, and leave.

    Silent where nothing changed (exit code 6); else one line. Safe to kill, and to start twice.
    """
    from vrecompute.campaign.load import read_campaign
    from vrecompute.campaign.tick import tick as carry_out
    from vrecompute.signals import heeded

    def say(line: str) -> None:
        if verbose:
            click.echo(printable(line), err=True)

    with heeded():
        result = carry_out(read_campaign(file), wait_s=float(patience) if wait else 0.0, say=say)
    if result.is_news or verbose:
        click.echo(printable(result.summary))
    ctx.exit(result.exit_code)


@campaign.command()
@FILE
def check(file: str) -> None:
    """Check FILE: every mistake at once, with line and column; looks at no dataset."""
    from vrecompute.campaign.load import read_campaign
    from vrecompute.campaign.wanted import units_of

    read = read_campaign(file)
    click.echo(f"{file}: ok: campaign {read.campaign.name}, {len(units_of(read))} units")


@campaign.command()
@FILE
@JSON
def status(file: str, as_json: bool) -> None:
    """The state of each unit, files that failed, and the latest ticks."""
    from vrecompute.campaign.facts import status as state

    with _ledger(file) as (read, ledger, _):
        told = state(read, ledger)
    if as_json:
        facts(told)
        return
    rows = [(u["unit"], u["state"], u["published"] or "-", u["run"] or "-", u["reason"]) for u in told["units"]]
    table(["UNIT", "STATE", "PUBLISHED", "RUN", "WHY"], rows)
    for each in told["inputs_failing"]:
        state_of = "in quarantine" if each["quarantined"] else "failed"
        click.echo(printable(f"{each['input']}: {state_of} in {each['unit']}: {each['kind']}: {each['reason']}"))
    for latest in told["ticks"][:1]:
        click.echo(printable(f"latest tick {latest['began']}: {latest['summary'] or 'nothing to do'}"))


@campaign.command()
@FILE
@KEY
@click.option("-n", "most", type=click.IntRange(min=1), help="Only the latest N entries.")
@JSON
def history(file: str, key: str | None, most: int | None, as_json: bool) -> None:
    """What happened, oldest first; of one unit, dataset, file or run where KEY names it."""
    from vrecompute.campaign.facts import history as entries
    from vrecompute.campaign.facts import spelled

    with _ledger(file) as (read, ledger, _):
        told = entries(ledger, spelled(read, ledger, key) if key else None, most)
    if as_json:
        facts(told)
        return
    table(
        ["TIME", "TICK", "WHAT", "UNIT", "SUBJECT", "WHY"], [(*list(each.values())[1:6], _why(each)) for each in told]
    )


@campaign.command()
@FILE
@click.argument("key")
@JSON
def why(file: str, key: str, as_json: bool) -> None:
    """All about KEY, a unit (ANALYSIS/DATASET), a run, or a file: code, inputs, result digest, and what led to it."""
    from vrecompute.campaign.facts import spelled
    from vrecompute.campaign.facts import why as reasons

    with _ledger(file) as (read, ledger, _):
        told = reasons(ledger, spelled(read, ledger, key))
    if as_json:
        facts(told)
        return
    for attempt in told["attempts"]:
        click.echo(printable(f"{attempt['run']}: {attempt['status'] or attempt['state']} at site {attempt['site']}"))
        for name in (
            "planned",
            "ended",
            "code",
            "inputs",
            "inputs_sha256",
            "result_sha256",
            "chunks_computed",
            "reason",
        ):
            if attempt[name] not in (None, ""):
                click.echo(printable(f"  {name}: {attempt[name]}"))
    rows = [(each["time"], each["what"], each["subject"], _why(each)) for each in told["history"]]
    table(["TIME", "WHAT", "SUBJECT", "WHY"], rows)


@campaign.command()
@FILE
@KEY
@click.option("--sample", type=click.IntRange(min=0), default=3, show_default=True, help="Files of each unit.")
@click.option("--seed", type=int, help="Of the choice of files; by chance by default.")
@JSON
@click.pass_context
def verify(ctx: click.Context, file: str, key: str | None, sample: int, seed: int | None, as_json: bool) -> None:
    """Compute a random sample of files anew, here, and compare bytes; of KEY, a unit or run, or all that is published.

    Exit code 4 where any differs.
    """
    from vrecompute.campaign.verify import verify as compare

    with _ledger(file) as (read, ledger, sites):
        found = compare(read, ledger, sites, key, sample, seed)
    if as_json:
        facts([vars(each) for each in found])
    else:
        words = [("same" if v.same else "DIFFERS", v.unit, v.subject, v.chunks or "-", v.why) for v in found]
        table(["", "UNIT", "WHAT", "CHUNKS", "WHY"], words)
    ctx.exit(0 if all(each.same for each in found) else 4)


@campaign.command()
@FILE
@click.option(
    "--csv", "of", metavar="TABLE", help="One table as CSV: units, attempts, inputs, troubles, ticks, history."
)
def export(file: str, of: str | None) -> None:
    """Print the whole ledger as JSON, or one table of it as CSV."""
    from vrecompute.campaign.export import TABLES, export_csv, export_json

    if of is not None and of not in TABLES:
        raise click.UsageError(f"--csv {of}: choose one of {', '.join(TABLES)}")
    with _ledger(file) as (_, ledger, _):
        if of is not None:
            click.echo(export_csv(ledger, of), nl=False)
        else:
            facts(export_json(ledger))


@campaign.command()
@FILE
@click.option(
    "--for",
    "kind",
    type=click.Choice(["cron", "systemd", "scrontab", "kubernetes"]),
    default="cron",
    show_default=True,
    help="What drives it.",
)
@click.option(
    "--every", "minutes", type=click.IntRange(1, 60), default=15, show_default=True, help="Minutes between ticks."
)
@click.option("--image", default="vrecompute:latest", show_default=True, help="Container image of a CronJob.")
def crontab(file: str, kind: Any, minutes: int, image: str) -> None:
    """Print what to install so that FILE ticks; exit code 6 (nothing to do) counts as success there."""
    from vrecompute.campaign.crontab import crontab as lines
    from vrecompute.campaign.load import read_campaign

    click.echo(lines(read_campaign(file), kind, minutes, image), nl=False)


@campaign.command()
def schema() -> None:
    """Print the JSON schema of campaign files."""
    from vrecompute.campaign.model import campaign_schema

    facts(campaign_schema())


@contextmanager
def _ledger(file: str) -> Iterator[tuple[CampaignFile, Ledger, Sites]]:
    """The campaign, its ledger for reading, and its sites."""
    from vrecompute.campaign.load import read_campaign
    from vrecompute.campaign.sites import Sites
    from vrecompute.campaign.tick import open_ledger

    read = read_campaign(file)
    sites = Sites(read)
    try:
        with open_ledger(read, sites) as ledger:
            yield read, ledger, sites
    finally:
        sites.close()


def _why(entry: dict[str, Any]) -> str:
    words = {k: v for k, v in entry.items() if k not in {"number", "time", "tick", "what", "unit", "subject", "stamp"}}
    return ", ".join(f"{key} {value}" for key, value in words.items())
