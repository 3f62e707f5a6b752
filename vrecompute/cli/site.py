"""`vrecompute site`: what sites there are, what a description says, and every mistake in it."""

from __future__ import annotations

from pathlib import Path

import click

from vrecompute.cli.options import JSON
from vrecompute.cli.output import facts, table

__all__ = ["site"]


@click.group()
def site() -> None:
    """List, show and check site descriptions."""


@site.command("list")
@JSON
def list_sites(as_json: bool) -> None:
    """Every site that a name finds: $VRECOMPUTE_SITES, ./site_configs, your own, the machine's."""
    from vrecompute.sites.search import display, list_site_files

    found = {"local": "(built in)"}
    for path in reversed(list_site_files()):
        found[path.stem] = display(path)
    if as_json:
        facts([{"name": name, "file": file} for name, file in sorted(found.items())])
    else:
        table(["SITE", "FILE"], sorted(found.items()))


@site.command()
@click.argument("name")
@JSON
def show(name: str, as_json: bool) -> None:
    """Every value of site NAME (or FILE), and the line it comes from."""
    from vrecompute.sites.leaves import leaves
    from vrecompute.sites.load import read_site

    read = read_site(name)
    rows = [
        (".".join(key), value, str(read.origins[key]) if key in read.origins else "default")
        for key, value in leaves(read.site)
        if value is not None
    ]
    if as_json:
        facts({key: {"value": value, "from": origin} for key, value, origin in rows})
    else:
        table(["KEY", "VALUE", "FROM"], rows)
    for advice in read.advice:
        click.echo(f"advice: {advice}", err=True)
    if read.options_unchecked:
        click.echo(f"options are not checked: {read.options_unchecked}", err=True)


@site.command()
@click.argument("names", nargs=-1, required=True)
def check(names: tuple[str, ...]) -> None:
    """Every mistake of each site at once, with line and column; exits 2 where there is one."""
    from vrecompute.errors import SiteError
    from vrecompute.sites.load import read_site

    problems = []
    for name in names:
        try:
            read = read_site(name)
        except SiteError as error:
            problems.append(str(error))
            continue
        click.echo(f"{name}: {read.site.name} ({read.site.backend}) is well described")
        for advice in read.advice:
            click.echo(f"  advice: {advice}")
    if problems:
        raise SiteError("\n".join(problems))


@site.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it to a file.")
def schema(out: Path | None) -> None:
    """The JSON schema of site files, for editors."""
    import json

    from vrecompute.site import Site
    from vrecompute.sites.check import json_schema

    text = json.dumps(json_schema(Site), indent=2)
    if out is None:
        click.echo(text)
    else:
        out.write_text(text + "\n")
