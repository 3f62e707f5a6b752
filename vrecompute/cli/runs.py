"""`vrecompute runs`: what the store knows of runs, of this process or any other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vrecompute.cli.options import JSON, PathType, label_option, place_options, store_options
from vrecompute.cli.output import facts, table
from vrecompute.wording import first_cause, printable

if TYPE_CHECKING:
    from vrecompute.attachedrun import AttachedRun

__all__ = ["runs"]

RUN = click.argument("name", metavar="RUN")
# A cell of `runs list` is cut at this many letters.
_WIDEST = 60
_TRUSTED = (
    "Run as you the code of RUN, though another user stored it, and what a site file of the working directory says."
)
_TRUST = click.option("--trust", is_flag=True, help=_TRUSTED)


@click.group()
def runs() -> None:
    """List, show, attach to, cancel, report and delete runs.

    RUN is a run's name, enough of its beginning or end, or `last`.
    """


def _attached(name: str, site: str | None, store: str | None, *, trust: bool = False) -> AttachedRun:
    from vrecompute.client import Client

    return Client(site, store=store, trust=trust).attach(name, trust=trust)


@runs.command("list")
@store_options
@click.option("--no-ask", is_flag=True, help="Do not ask the site; runs that have not ended are `submitted`.")
@label_option("Only runs with this label; with several, those that have all.")
@JSON
def list_runs(site: str | None, store: str | None, no_ask: bool, labels: dict[str, str], as_json: bool) -> None:
    """All runs of the store, oldest first; the site is asked once about those that have not ended."""
    from vrecompute.client import Client

    found = Client(site, store=store).runs(ask=not no_ask, labels=labels)
    if as_json:
        facts([{**run._asdict(), "since": _iso(run.since)} for run in found])
        return
    head = ["RUN", "STATE", "CREATED", "ANALYSIS", "DATASET", "PARAMETERS", "LABELS", "WHY"]
    table(head, [(*run[:5], _pairs(run.parameters), _pairs(run.labels), first_cause(run.reason)) for run in found])
    for run in found:
        if run.trouble:
            click.echo(printable(f"{run.run}: {run.trouble}"))


def _iso(since: float | None) -> str | None:
    return None if since is None else datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")


def _pairs(values: Mapping[str, Any]) -> str:
    """The values by name in one cell of a table, cut where they are many; `runs show` has all."""
    listed = (",".join(map(str, v)) if isinstance(v, list | tuple) else str(v) for v in values.values())
    text = " ".join(f"{name}={value}" for name, value in zip(values, listed, strict=True))
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."


@runs.command()
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@store_options
@JSON
def compare(first: str, second: str, site: str | None, store: str | None, as_json: bool) -> None:
    """What differs between two runs that have ended: parameters, code, sources, versions, cutflows, histograms."""
    from vrecompute.client import Client

    found = Client(site, store=store).compare(first, second)
    if as_json:
        facts(found.to_data())
        return
    click.echo(printable(found.heading))
    if found.rows:
        table(["WHAT", "NAME", "FIRST", "SECOND"], found.rows)


@runs.command()
@RUN
@store_options
@JSON
def show(name: str, site: str | None, store: str | None, as_json: bool) -> None:
    """What RUN is: analysis, parameters, dataset, settings, and how far it is."""
    run = _attached(name, site, store)
    manifest = run.manifest
    progress, where = run.progress(), run.where()
    document: dict[str, Any] = {
        "run": run.id,
        "state": where.state,
        "since": _iso(where.since),
        "job": where.job,
        "reason": where.reason,
        "log": where.log,
        "created": manifest.created,
        "analysis": f"{manifest.analysis} {manifest.analysis_version}",
        "code": manifest.code,
        "site": manifest.site,
        "dataset": manifest.dataset.name,
        "samples": {
            s.name: sum(x.sample == s.name for x in manifest.dataset.sources) for s in manifest.dataset.samples
        },
        "provenance": dict(manifest.provenance),
        "parameters": dict(manifest.parameters),
        "labels": dict(manifest.labels),
        "settings": vars(manifest.settings),
        "numerics": dict(manifest.numerics),
        "progress": vars(progress),
    }
    if as_json:
        facts(document)
        return
    document["progress"] = str(progress)
    for key, value in document.items():
        if key in {"since", "job", "reason", "log"} and not value:
            continue
        if isinstance(value, dict):
            click.echo(f"{key}:")
            for inner, item in value.items():
                click.echo(printable(f"  {inner}: {item}"))
        else:
            click.echo(printable(f"{key}: {value}"))


@runs.command()
@RUN
@place_options
@click.option("--out", type=PathType(path_type=Path, file_okay=False), metavar="DIR", help="Report, result, figures.")
@_TRUST
@JSON
@click.pass_context
def attach(
    ctx: click.Context,
    name: str,
    site: str | None,
    store: str | None,
    workers: int | None,
    out: Path | None,
    trust: bool,
    as_json: bool,
) -> None:
    """Follow RUN to its end; finish it here if the process that carried it out is gone, or its result is lost.

    Ctrl-C ends the watching and not the run, unless it is finished here.
    """
    from vrecompute.cli.follow import follow
    from vrecompute.client import Client
    from vrecompute.publish import check_directory

    if out is not None:
        check_directory(out := out.absolute())
    with Client(site, store=store, workers=workers, trust=trust) as client:
        if out is not None:
            check_directory(out, client.store)
        run = client.attach(name, trust=trust)
        followed = run if run.status in {"running", "queued", "unknown", "submitted"} else run.resume()
        ctx.exit(follow(followed, out=out, as_json=as_json))


@runs.command()
@RUN
@store_options
@click.option(
    "--out",
    required=True,
    type=PathType(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where report.json, report.html, result/, products/ and figures/ go.",
)
@_TRUST
@click.pass_context
def result(ctx: click.Context, name: str, site: str | None, store: str | None, out: Path, trust: bool) -> None:
    """Write what RUN, which has ended, gave; exits as the run did."""
    from vrecompute.cli.follow import save
    from vrecompute.publish import check_directory

    check_directory(out := out.absolute())
    run = _attached(name, site, store, trust=trust)
    save(run, out)
    click.echo(f"{out / 'report.html'}")
    ctx.exit(run.exit_code)


@runs.command()
@RUN
@store_options
@JSON
@click.pass_context
def report(ctx: click.Context, name: str, site: str | None, store: str | None, as_json: bool) -> None:
    """How RUN, which has ended, ended and what is missing; exits as the run did."""
    from vrecompute.reports.report import dumps, summary_text

    run = _attached(name, site, store)
    summary = run.report()
    if as_json:
        facts(json.loads(dumps(summary)))
    else:
        click.echo(summary_text(summary))
    ctx.exit(summary.exit_code)


@runs.command()
@RUN
@store_options
def cancel(name: str, site: str | None, store: str | None) -> None:
    """Ask RUN to stop, wherever it is; what is finished is kept and reused."""
    from vrecompute.errors import UsageError

    run = _attached(name, site, store)
    if run.status in {"running", "queued", "unknown"}:
        run.cancel()
        click.echo(f"asked {run.id} to stop")
    elif run.status == "submitted":
        raise UsageError(f"run {run.id} waits or runs on site {run.manifest.site!r}; name it: --site FILE")
    else:
        click.echo(f"{run.id} is not running: {run.status}")


@runs.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@store_options
def delete(names: tuple[str, ...], site: str | None, store: str | None) -> None:
    """Remove each RUN, which must have ended; finished chunks stay for other runs (`vrecompute store gc`)."""
    from vrecompute.client import Client

    for name in Client(site, store=store).delete(*names):
        click.echo(f"deleted {name}")


@runs.command()
@RUN
@store_options
@JSON
def logs(name: str, site: str | None, store: str | None, as_json: bool) -> None:
    """What each Runner of RUN said, in order of time, tracebacks of its errors, and what its batch job wrote."""
    from vrecompute.errors import StoreError
    from vrecompute.execution.runlog import read_event

    run = _attached(name, site, store)
    events = []
    for object_name in run.store.names(f"runs/{run.id}/events"):
        try:
            events.append(read_event(run.store, object_name))
        except StoreError as error:
            click.echo(printable(str(error)), err=True)
    events.sort(key=lambda event: event["time"])
    if as_json:
        facts(events)
        return
    for event in events:
        when = datetime.fromtimestamp(event.pop("time"), UTC).strftime("%Y-%m-%d %H:%M:%S")
        writer, kind = event.pop("writer"), event.pop("event")
        del event["host"], event["pid"]  # which the writer's name has
        said = " ".join(f"{key}={value}" for key, value in event.items())
        click.echo(printable(f"{when} {writer} {kind} {said}"))
    for text in run.tracebacks():
        click.echo("\n".join(map(printable, text.rstrip().splitlines())))
    if written := run.logs():
        click.echo(written)
