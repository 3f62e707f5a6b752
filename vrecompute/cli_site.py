"""`vrecompute site`: list, show, check and schema. Exit codes: 0 right, 2 something is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click

from vrecompute.errors import SiteError
from vrecompute.sites import report
from vrecompute.sites.load import read_site
from vrecompute.sites.reference import reference_table
from vrecompute.sites.schema import installed_options, site_schema
from vrecompute.sites.search import find_site_file, list_site_files

__all__ = ["site"]


class _Wrong(click.ClickException):
    exit_code = SiteError.exit_code


@contextmanager
def _errors_as_messages() -> Iterator[None]:
    try:
        yield
    except SiteError as error:
        raise _Wrong(str(error)) from error


def _print_json(facts: Any) -> None:
    click.echo(json.dumps(facts, indent=2, ensure_ascii=False))


_as_json = click.option("--json", "as_json", is_flag=True, help="Print facts as JSON.")


@click.group()
def site() -> None:
    """Describe the places that have cores: list, show and check site files."""


@site.command("list")
@_as_json
def list_command(as_json: bool) -> None:
    """List every site of the search path."""
    with _errors_as_messages():
        sites = report.list_sites()
    if as_json:
        _print_json([asdict(row) for row in sites])
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
@_as_json
def show(name: str, as_json: bool) -> None:
    """Show every value of the site NAME (or of a file) and where it came from."""
    with _errors_as_messages():
        read = read_site(name)
    if as_json:
        _print_json([asdict(row) for row in report.show(read)])
    else:
        click.echo(report.show_text(read))


@site.command()
@click.argument("names", nargs=-1)
@_as_json
@click.pass_context
def check(context: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Check the sites NAMES (or files; all of the search path by default) without starting anything."""
    with _errors_as_messages():
        files = [find_site_file(name) for name in names] if names else list_site_files()
    checkups = report.check_files(files)
    if as_json:
        _print_json([checkup.as_json() for checkup in checkups])
    else:
        click.echo("\n".join(checkup.as_text() for checkup in checkups) or "no site files found")
    if not all(checkup.ok for checkup in checkups):
        context.exit(SiteError.exit_code)


@site.command()
@click.option("--table", "as_table", is_flag=True, help="Print the keys as a Markdown table instead.")
def schema(as_table: bool) -> None:
    """Print the JSON schema of site files, with the options of every installed driver."""
    if as_table:
        click.echo(reference_table())
        return
    _print_json(site_schema(installed_options()))
