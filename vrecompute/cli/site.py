"""`vrecompute site`: list, show, check, init and schema. Exit codes: 0 right, 2 something is wrong."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from vrecompute.batch.finding import PROBE_PATIENCE_S, Finding
from vrecompute.batch.load import load_backend
from vrecompute.cli.messages import MessageGroup
from vrecompute.cli.options import JSON, DurationType, PathType, trust_option
from vrecompute.cli.output import facts
from vrecompute.errors import SiteError, UntrustedSite, UsageError, VrecomputeError
from vrecompute.signals import heeded
from vrecompute.sites import report
from vrecompute.sites.drivers import installed_drivers, options_model
from vrecompute.sites.load import ReadSite, read_site, require_trust
from vrecompute.sites.reference import options_table, reference_table
from vrecompute.sites.schema import installed_options, site_schema
from vrecompute.sites.search import find_site_file, is_path, list_site_files, users_folder

__all__ = ["site"]


@click.group(cls=MessageGroup)
def site() -> None:
    """Describe the places that have cores: list, show, check and begin site files."""


@site.command("list")
@JSON
def list_command(as_json: bool) -> None:
    """List every site of the search path."""
    sites = report.list_sites()
    if as_json:
        facts([asdict(row) for row in sites])
        return
    rows = [
        (
            row.name or "(hidden)",
            row.backend or "-",
            f"{row.n_problems} wrong" if row.n_problems else "ok",
            row.file,
            row.description,
        )
        for row in sites
    ]
    click.echo("\n".join(report.table(rows)))


@site.command()
@click.argument("name")
@JSON
def show(name: str, as_json: bool) -> None:
    """Show every value of the site NAME (or of a file) and where it came from."""
    read = read_site(name)
    if as_json:
        facts([asdict(row) for row in report.show(read)])
    else:
        click.echo(report.show_text(read))


@site.command()
@click.argument("names", nargs=-1)
@click.option(
    "--probe",
    is_flag=True,
    help="Also ask the batch system what it says to the jobs of a run, and send a job of about a minute to each site.",
)
@click.option(
    "--patience",
    type=DurationType(),
    default=int(PROBE_PATIENCE_S),
    show_default="4m",
    help="How long the job of --probe may wait in the queue.",
)
@trust_option
@JSON
@click.pass_context
def check(
    context: click.Context, names: tuple[str, ...], probe: bool, patience: int, trust: bool, as_json: bool
) -> None:
    """Check the sites NAMES (or files; all of the search path by default); without --probe nothing is started."""
    files = [find_site_file(name) for name in names] if names else list_site_files()
    checkups = report.check_files(files)
    trusted = [trust or is_path(name) for name in names] if names else [trust] * len(files)
    found = [
        _probe(checkup.read, patience, trust=sure) if probe and checkup.read is not None and checkup.ok else []
        for checkup, sure in zip(checkups, trusted, strict=True)
    ]
    if as_json:
        told = [{"probe": [asdict(finding) for finding in findings]} if probe else {} for findings in found]
        facts([{**checkup.as_json(), **more} for checkup, more in zip(checkups, told, strict=True)])
    else:
        for checkup, findings in zip(checkups, found, strict=True):
            click.echo(checkup.as_text())
            for finding in findings:
                click.echo(f"  {'ok   ' if finding.ok else 'WRONG'} {finding.check}: {finding.detail}")
                if finding.advice:
                    click.echo(f"        {finding.advice}")
            if probe and not checkup.ok:
                click.echo("  not probed: mend the file first")
        if not checkups:
            click.echo("no site files found")
    if not all(checkup.ok for checkup in checkups) or not all(f.ok for findings in found for f in findings):
        context.exit(SiteError.exit_code)


def _probe(read: ReadSite, patience_s: float, *, trust: bool) -> list[Finding]:
    """What the site's driver finds; why there is none is a finding too, and not the end of other sites' checks."""
    try:
        if not trust:
            require_trust(read)
    except UntrustedSite as error:
        return [Finding("site file", False, str(error), "")]
    try:
        backend = load_backend(read.site)
    except VrecomputeError as error:
        return [Finding("backend", False, str(error), "backend: ...   # a driver that is installed here")]
    try:
        with heeded():  # or its job would stay
            return backend.probe(patience_s, lambda line: click.echo(line, err=True))
    except VrecomputeError as error:
        return [Finding("probe", False, str(error), "mend what the message names, then probe again")]
    finally:
        backend.close()


@site.command()
@click.argument("name")
@click.option("--backend", help="Driver of its batch system; the one whose commands are here by default.")
@click.option("--ssh", "host", help="Login node, or its alias of ~/.ssh/config, where that is not this machine.")
@click.option("--from", "config", type=PathType(), help="A jobqueue.yaml of dask-jobqueue to begin from.")
@click.option("--yes", is_flag=True, help="Ask the administrator nothing: defaults where nothing else is known.")
@click.option("--force", is_flag=True, help="Also for `local`: the file takes the place of the site of this machine.")
@click.option("--out", type=PathType(dir_okay=False), help="NAME.yaml somewhere else than in your folder of sites.")
def init(
    name: str, backend: str | None, host: str | None, config: str | None, yes: bool, force: bool, out: str | None
) -> None:
    """Write a first file of the site NAME from what its batch system says, or its dask-jobqueue configuration."""
    from vrecompute.newsite.first import check_name, first_site, write_first
    from vrecompute.stores.apart import check_apart

    def ask(question: str, default: str) -> str:
        return default if yes else str(click.prompt(question, default=default))

    path = Path(out) if out else users_folder() / f"{name}.yaml"
    if out and path.stem != name:  # which `site check` would advise against
        raise UsageError(f"--out {out}: a site is found by the name of its file; write --out {path.parent / name}.yaml")
    check_apart(path)
    if not force:
        check_name(name, path)
    text, left_out = first_site(name, backend, host, Path(config) if config else None, ask)
    write_first(path, text)
    click.echo(report.check_file(path).as_text())
    for sentence in left_out:
        click.echo(f"  not taken over: {sentence}")
    click.echo(f"next: read it, then run `vrecompute site check {name if not out else path} --probe`")


@site.command()
@click.option("--table", "as_table", is_flag=True, help="Print the keys as a Markdown table instead.")
@click.option("--options", "driver", help="Print the options of this driver as a Markdown table instead.")
def schema(as_table: bool, driver: str | None) -> None:
    """Print the JSON schema of site files, with the options of every installed driver."""
    if driver is not None:
        found = options_model(driver)
        if found.model is None:
            raise UsageError(f"{found.reason}; drivers here: {', '.join(installed_drivers())}")
        click.echo(options_table(found.model))
        return
    if as_table:
        click.echo(reference_table())
        return
    facts(site_schema(installed_options()))
