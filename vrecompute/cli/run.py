"""`vrecompute run ANALYSIS DATASET...`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vrecompute.cli.options import (
    JSON,
    PathType,
    detach_options,
    job_options,
    label_option,
    place_options,
    read_parameters,
    trust_option,
)
from vrecompute.cli.output import facts

__all__ = ["run"]


@click.command()
@click.argument("analysis")
@click.argument("dataset", nargs=-1, required=True)
@place_options
@trust_option
@job_options
@click.option(
    "--on-bad",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="What to do about a bad file: fail the run, or leave it out and name it (exit code 3).",
)
@click.option(
    "--max-bad",
    type=click.FloatRange(0, 1),
    metavar="FRACTION",
    help="With --on-bad skip: fail if more than this fraction of the sources is bad.",
)
@click.option("--no-reuse", is_flag=True, help="Reuse no stored chunk; compute all of them.")
@label_option("A label of the run, for `vrecompute runs list --label`; may be repeated.")
@detach_options
@click.option("--out", type=PathType(path_type=Path, file_okay=False), metavar="DIR", help="Report, result, figures.")
@JSON
@click.pass_context
def run(
    ctx: click.Context,
    analysis: str,
    dataset: tuple[str, ...],
    site: str | None,
    store: str | None,
    workers: int | None,
    trust: bool,
    parameters: tuple[str, ...],
    tree: str | None,
    chunk_bytes: int | None,
    allow_duplicates: bool,
    max_events: int | None,
    max_files: int | None,
    on_bad: str,
    max_bad: float | None,
    no_reuse: bool,
    labels: dict[str, str],
    detach: bool,
    walltime: int | None,
    shares: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Run ANALYSIS on DATASET and say truly how it ended.

    ANALYSIS is a name (`vrecompute analyses`) or FILE.py. A DATASET is a file, glob, directory, a YAML file
    that names samples (FILE.yaml::SAMPLE picks one), or a name found in $VRECOMPUTE_DATASETS.

    \b
    vrecompute run dilepton data/*.root -p channel=mumu -p mass_window_gev=81,101 --out zmumu
    """
    from vrecompute.cli.follow import follow
    from vrecompute.client import Client
    from vrecompute.publish import check_directory

    if out is not None:
        check_directory(out := out.absolute())  # the analysis may go to another folder
    if detach and out is not None:
        raise click.UsageError(
            "--detach returns before there is a result for --out; use `vrecompute runs result` later"
        )
    options: dict[str, Any] = {
        "params": read_parameters(parameters),
        "tree": tree,
        "on_bad": on_bad,
        "max_bad": max_bad,
        "reuse": not no_reuse,
        "chunk_bytes": chunk_bytes,
        "allow_duplicates": allow_duplicates,
        "labels": labels,
        "max_events": max_events,
        "max_files": max_files,
    }
    with Client(site, store=store, workers=workers, trust=trust) as client:
        if out is not None:
            check_directory(out, client.store)
        if detach:
            submitted = client.submit(analysis, list(dataset), walltime_s=walltime, shares=shares, **options)
            if as_json:
                facts({"run": submitted.id, "state": submitted.status})
            else:
                click.echo(submitted.id)
            return
        ctx.exit(follow(client.run(analysis, list(dataset), **options), out=out, as_json=as_json))
