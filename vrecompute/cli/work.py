"""`vrecompute work RUN`: the Runner itself, as jobs call it; it finds its workers as any Dask program does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from vrecompute.cli.options import NAME

if TYPE_CHECKING:
    from vrecompute.analysis import Analysis
    from vrecompute.execution.manifest import Manifest
    from vrecompute.stores.base import Store

__all__ = ["work"]


@click.command()
@click.argument("name", metavar="RUN")
@click.option("--store", type=NAME, required=True, metavar="PATH", help="The store that holds the run's manifest.")
@click.option("--manifest-sha256", metavar="HEX", help="Refuse a manifest with another sha256.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Workers to start here if there is no Dask scheduler; with --share, threads of this process.",
)
@click.option(
    "--share",
    metavar="I/N",
    help="Compute number I, from 0, of N shares of the run, in this process alone. $NAME in it is read here: I may be "
    "a list A,B,C of which number $VRECOMPUTE_INDEX is meant.",
)
@click.option("--one-by-one", is_flag=True, help="With --share: one chunk at a time, so that a bad one is known.")
@click.option("--merge", is_flag=True, help="Compute nothing: once its jobs have ended, merge what they left.")
@click.option("--brought", metavar="JOB", help="With --merge: what jobs of that name brought back to this folder.")
@click.pass_context
def work(
    ctx: click.Context,
    name: str,
    store: str,
    manifest_sha256: str | None,
    workers: int | None,
    share: str | None,
    one_by_one: bool,
    merge: bool,
    brought: str | None,
) -> None:
    """Carry RUN out to its end, with the Dask scheduler of DASK_SCHEDULER_ADDRESS or workers of this machine."""
    from vrecompute.analysis.analysisfile import restore
    from vrecompute.analysis.loading import check_needs, reload_analysis
    from vrecompute.analysis.processstate import hold_process
    from vrecompute.detach import verified_manifest
    from vrecompute.scratch import scratch
    from vrecompute.stores.address import open_store

    kept = open_store(os.path.expandvars(store))  # a store that the job carries is where the job is
    manifest = verified_manifest(kept, name, manifest_sha256)
    hold_process(manifest.arithmetic)
    with scratch("source") as folder:
        source = restore(kept, manifest.source_files, folder)
        analysis = reload_analysis(manifest.origin, manifest.parameters, source)
        check_needs(analysis)
        if merge:
            code = _merge(kept, manifest, analysis, brought)
        elif share is not None:
            code = _work_share(kept, manifest, analysis, share, 1 if one_by_one else workers, one_by_one=one_by_one)
        else:
            code = _work_all(kept, manifest, analysis, workers)
    ctx.exit(code)


def _work_all(store: Store, manifest: Manifest, analysis: Analysis, workers: int | None) -> int:
    from vrecompute.client import Client
    from vrecompute.errors import ClusterLost
    from vrecompute.execution.allocated_control import AllocatedControl
    from vrecompute.execution.runner import Runner
    from vrecompute.whereabouts import tell_refusal

    with Client(workers=workers) as local:
        if os.environ.get("DASK_SCHEDULER_ADDRESS"):
            import dask.config
            from distributed import Client as DaskClient

            dask.config.refresh(paths=[], env=dict(os.environ))  # the user's files may be for another cluster
            cluster = DaskClient(set_as_default=False)
        else:
            cluster = local.dask
        control = AllocatedControl(cluster)
        runner = Runner(cluster, store, manifest, analysis, lambda progress: None, control)
        try:
            outcome = runner.execute()
        except ClusterLost as lost:
            if control.lost():  # else another attempt of the job may go on
                tell_refusal(store, manifest, lost, [runner.log])
            raise
    click.echo(f"{outcome.summary.status}: {outcome.summary.completeness_text}")
    for failure in outcome.failures:
        click.echo(str(failure), err=True)
    return outcome.summary.exit_code


def _work_share(
    store: Store, manifest: Manifest, analysis: Analysis, words: str, threads: int | None, *, one_by_one: bool
) -> int:
    from vrecompute.batch.inprocess import in_process
    from vrecompute.errors import Incomplete
    from vrecompute.execution.share import Share
    from vrecompute.execution.sharerunner import ShareRunner

    numbers, _, count = os.path.expandvars(words).partition("/")
    listed = numbers.split(",")
    index = int(os.environ.get("VRECOMPUTE_INDEX") or 0) if len(listed) > 1 else 0
    share = Share.parse(f"{listed[index]}/{count}")
    with in_process(threads or 1) as cluster:
        end = ShareRunner(cluster, store, manifest, analysis, share, one_by_one=one_by_one).carry_out()
    click.echo(f"share {share}: {end.counts.computed} chunks computed, {end.counts.reused} were there")
    for failure in end.failures:
        click.echo(str(failure), err=True)
    return Incomplete.exit_code if end.failures else 0


def _merge(store: Store, manifest: Manifest, analysis: Analysis, brought: str | None) -> int:
    from vrecompute.batch.carried import forget, take_back
    from vrecompute.errors import OutOfTime
    from vrecompute.execution.carriedstore import take_back_objects
    from vrecompute.execution.gathered import gathered
    from vrecompute.execution.merger import Merger
    from vrecompute.execution.runlog import cancel_requested, outcomes
    from vrecompute.sites.access import LocalAccess

    if brought is not None:
        here = LocalAccess()
        take_back_objects(store, manifest, take_back(here, os.getcwd(), brought))
        forget(here, os.getcwd(), brought)
    if not manifest.shares or cancel_requested(store, manifest.run) or outcomes(store, manifest.run)[0]:
        click.echo("its jobs have ended; nothing is left to merge")
        return 0
    found = gathered(store, manifest)
    if lacking := found.needed():
        what = f"{len(lacking)} of {manifest.shares} shares are not done"
        click.echo(f"{what}: `vrecompute runs attach {manifest.run}` submits what lacks")
        return OutOfTime.exit_code
    outcome = Merger(store, analysis, found).execute()
    click.echo(f"{outcome.summary.status}: {outcome.summary.completeness_text}")
    return outcome.summary.exit_code
