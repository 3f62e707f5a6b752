"""`vrecompute explain ANALYSIS DATASET...`."""

from __future__ import annotations

from dataclasses import asdict

import click

from vrecompute.cli.options import JSON, detach_options, job_options, place_options, read_parameters, trust_option
from vrecompute.cli.output import facts

__all__ = ["explain"]


@click.command()
@click.argument("analysis")
@click.argument("dataset", nargs=-1, required=True)
@place_options
@trust_option
@job_options
@detach_options
@JSON
def explain(
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
    detach: bool,
    walltime: int | None,
    shares: int | None,
    as_json: bool,
) -> None:
    """What a run of ANALYSIS on DATASET would read, compute and need, and the job script of the site.

    It opens no event file and starts no job. Files that no run has opened, or that were changed since, count as
    unknown. For a site behind ssh its login node is asked which files there are, and whether they were changed.
    """
    from vrecompute.client import Client

    explanation = Client(site, store=store, workers=workers, trust=trust).explain(
        analysis,
        list(dataset),
        params=read_parameters(parameters),
        tree=tree,
        chunk_bytes=chunk_bytes,
        allow_duplicates=allow_duplicates,
        max_events=max_events,
        max_files=max_files,
        detach=detach,
        walltime_s=walltime,
        shares=shares,
    )
    if as_json:
        facts(asdict(explanation))
    else:
        click.echo(str(explanation))
