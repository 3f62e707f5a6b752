"""`vrecompute work RUN`: the Runner itself, as jobs call it; it finds its workers as any Dask program does."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

__all__ = ["work"]


@click.command()
@click.argument("name", metavar="RUN")
@click.option("--store", required=True, metavar="PATH", help="The store that holds the run's manifest.")
@click.option("--manifest-sha256", metavar="HEX", help="Refuse a manifest with another sha256.")
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Workers to start here if there is no Dask scheduler."
)
@click.pass_context
def work(ctx: click.Context, name: str, store: str, manifest_sha256: str | None, workers: int | None) -> None:
    """Carry RUN out to its end, with the Dask scheduler of DASK_SCHEDULER_ADDRESS or workers of this machine."""
    from vrecompute.analysis.analysisfile import restore
    from vrecompute.analysis.loading import check_needs, reload_analysis
    from vrecompute.client import Client
    from vrecompute.detach import verified_manifest
    from vrecompute.execution.manifest import read_manifest
    from vrecompute.execution.runner import Runner
    from vrecompute.stores.address import open_store

    kept = open_store(os.path.expandvars(store))  # a store that the job carries is where the job is
    verified_manifest(kept, name, manifest_sha256)
    manifest = read_manifest(kept, name)
    with tempfile.TemporaryDirectory(prefix="vrecompute-source-") as folder, Client(workers=workers) as local:
        source = restore(kept, manifest.source_files, Path(folder))
        analysis = reload_analysis(manifest.origin, manifest.parameters, source)
        check_needs(analysis)
        if os.environ.get("DASK_SCHEDULER_ADDRESS"):
            import dask.config
            from distributed import Client as DaskClient

            dask.config.refresh(paths=[], env=dict(os.environ))  # the user's files may be for another cluster
            cluster = DaskClient(set_as_default=False)
        else:
            cluster = local.dask
        outcome = Runner(cluster, kept, manifest, analysis, lambda progress: None).execute()
        click.echo(f"{outcome.summary.status}: {outcome.summary.completeness_text}")
        for failure in outcome.failures:
            click.echo(str(failure), err=True)
    ctx.exit(outcome.summary.exit_code)
