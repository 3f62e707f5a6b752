"""Commands that the analyses add to `vrecompute`: `generate` makes samples, `demo` shows the whole thing once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vrecompute.cli.options import JSON, PathType
from vrecompute.cli.output import facts
from vrecompute.execution.progress import Progress
from vrecompute.watching import watching

if TYPE_CHECKING:
    from vrecompute_analyses.dilepton.generate import GeneratedSample

__all__ = ["demo", "generate"]

DIRECTORY = PathType(path_type=Path, file_okay=False)
# What `generate` of the dilepton analysis makes by default; checked by a test against it.
EVENTS, FILES, SEED = 400_000, 8, 1


def _generated(directory: Path, events: int, files: int, seed: int, **options: object) -> GeneratedSample:
    """A sample in `directory`, with a bar while it is made."""
    from vrecompute_analyses.dilepton.generate import generate as make

    with watching() as watch:

        def said(done: int, total: int) -> None:
            watch(Progress("generate", done, total, events=done, events_expected=total))

        return make(directory, events, files, seed, progress=said, **options)  # type: ignore[arg-type]  # click checked


@click.command()
@click.argument("directory", metavar="DIR", type=DIRECTORY)
@click.option("--events", type=click.IntRange(min=1), default=EVENTS, show_default=True, metavar="N")
@click.option("--files", type=click.IntRange(min=1), default=FILES, show_default=True, metavar="K")
@click.option("--seed", type=click.IntRange(min=0), default=SEED, show_default=True, metavar="S")
@click.option("--layout", type=click.Choice(["nanoaod", "benchmark", "atlas"]), default="nanoaod", show_default=True)
@click.option("--format", type=click.Choice(["ttree", "rntuple"]), default="ttree", show_default=True)
@click.option(
    "--compression", type=click.Choice(["zstd", "zlib", "lz4", "lzma", "none"]), default="zstd", show_default=True
)
@click.option("--signal-mass-gev", type=float, metavar="M", help="Mass of the injected Z'; 0 injects none.")
@click.option("--signal-fraction", type=float, metavar="F", help="Share of the events that are Z' decays.")
@JSON
def generate(
    directory: Path,
    events: int,
    files: int,
    seed: int,
    layout: str,
    format: str,
    compression: str,
    signal_mass_gev: float | None,
    signal_fraction: float | None,
    as_json: bool,
) -> None:
    """Make a dilepton sample in DIR: ROOT files, dataset.yaml, and truth.json with what is in them.

    The same options give the same bytes.
    """
    from dataclasses import replace

    from vrecompute.stores.apart import check_apart
    from vrecompute_analyses.dilepton.generate import SignalSpec

    check_apart(directory)
    signal = None if signal_mass_gev == 0 else SignalSpec()
    if signal is not None and signal_mass_gev is not None:
        signal = replace(signal, mass_gev=signal_mass_gev)
    if signal is not None and signal_fraction is not None:
        signal = replace(signal, fraction=signal_fraction)
    made = _generated(
        directory, events, files, seed, layout=layout, format=format, compression=compression, signal=signal
    )
    if as_json:
        facts(made.truth)
    else:
        click.echo(f"{made.events} events in {len(made.files)} files: {made.dataset}; their truth: {made.truth_file}")


@click.command()
@click.option(
    "--out", type=DIRECTORY, default=Path("vrecompute-demo"), show_default=True, help="Where everything goes."
)
@click.option("--events", type=click.IntRange(min=1), default=EVENTS, show_default=True, metavar="N")
@click.option("--seed", type=click.IntRange(min=0), default=SEED, show_default=True, metavar="S")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Workers to use (default: one per core).")
@JSON
@click.pass_context
def demo(ctx: click.Context, out: Path, events: int, seed: int, workers: int | None, as_json: bool) -> None:
    """The whole thing once: generate events with a known Z and an injected Z', run, and find them.

    Exits with an error unless the run is complete, the fitted Z mass is within 0.3 GeV of the generated one and
    the Z' is found within one bin at 5 sigma local or more.
    """
    from vrecompute.cli.follow import follow
    from vrecompute.client import Client
    from vrecompute.publish import claim_directory
    from vrecompute_analyses.dilepton.truth import compare

    claim_directory(out)
    # A newcomer's workers would all compile the same loops: it is done once, beside the generator.
    compiling = subprocess.Popen(
        [sys.executable, "-m", "vrecompute", "warm-cache", "dilepton"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    click.echo(f"Generating {events} events in {out / 'sample'}", err=True)
    try:
        sample = _generated(out / "sample", events, FILES, seed)
        compiling.wait()
    finally:
        compiling.kill()
        compiling.wait()
    click.echo(f"Running the dilepton analysis on {sample.dataset}", err=True)
    with Client(store=out / "store", workers=workers) as client:
        run = client.run("dilepton", sample.dataset)
        code = follow(run, out=out, quiet=as_json)
        if code != 0:
            ctx.exit(code)
        comparison = compare(run.products(), sample.truth)
    if as_json:
        facts({"passed": comparison.passed, "findings": [vars(f) for f in comparison.findings]})
    else:
        click.echo()
        for finding in comparison.findings:
            click.echo(f"  {'found ' if finding.passed else 'MISSED'}  {finding.text}")
        # a newcomer who typed `make demo` has it in a virtual environment only
        ours = "vrecompute" if shutil.which("vrecompute") else os.path.relpath(sys.argv[0])
        click.echo(f"\nLook at   {out / 'report.html'} and {out / 'figures'}")
        click.echo(
            f"Next      {ours} run dilepton {sample.dataset} --store {out / 'store'} -p channel=mumu"
            f" --out {out / 'mumu'}\n"
            f"          {ours} analyses dilepton      what else can be changed\n"
            f"          {ours} runs list --store {out / 'store'}"
        )
    ctx.exit(0 if comparison.passed else 4)
