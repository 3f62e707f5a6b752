"""Watch a run to its end and say how it ended."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from vrecompute.cli.output import facts, watching
from vrecompute.reports.report import dumps, summary_text
from vrecompute.run import Run

__all__ = ["follow"]

_LOOK_S = 0.2


def follow(run: Run, *, out: Path | None = None, as_json: bool = False, quiet: bool = False) -> int:
    """The run's exit code, after its progress and its summary have been shown and its outputs written.

    `quiet` shows neither summary nor JSON on standard output.
    Ctrl-C asks the run to stop and waits for it: what is durable by then is reused by the next run.
    """
    interrupted = False
    click.echo(f"run {run.id}", err=True)
    try:
        with watching() as watch:
            while run.status == "running":
                # not run.wait: before Python 3.13 a thread whose join was interrupted counts as ended (bpo-45274)
                time.sleep(_LOOK_S)
                watch(run.progress())
    except KeyboardInterrupt:
        interrupted = True
        click.echo("stopping; what is finished is kept and reused by the next run", err=True)
        run.cancel()
        while run.status == "running":
            time.sleep(_LOOK_S)
    summary = run.report()
    if out is not None:
        run.save(out)
    if as_json and not quiet:
        facts(json.loads(dumps(summary)))
    elif not quiet:
        click.echo(summary_text(summary))
        if out is not None:
            click.echo(f"  page      {out / 'report.html'}")
    return 130 if interrupted else summary.exit_code
