"""Watch a run to its end and say how it ended."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import click

from vrecompute.cli.output import facts
from vrecompute.errors import Interrupted, ResultKept
from vrecompute.reports.report import RunSummary, dumps, summary_text
from vrecompute.run import Run
from vrecompute.watching import watching
from vrecompute.wording import printable

__all__ = ["follow", "save"]

_LOOK_S, _LOOK_ELSEWHERE_S = 0.2, 1.0
#: A Runner that was asked to stop has this long; its cluster is closed after that, whatever it is at.
_LONGEST_STOP_S = 60.0


def save(run: Run, out: Path) -> RunSummary:
    """Write the outputs of a run, and give the report among them; what it has on figures that lack is said."""
    written = run.save_quietly(out)
    for warning in written.warnings:
        if warning not in run.report().warnings:
            click.echo(printable(f"warning: {warning}"), err=True)
    return written


def follow(run: Run, *, out: Path | None = None, as_json: bool = False, quiet: bool = False) -> int:
    """The run's exit code, after its progress and its summary have been shown and its outputs written.

    `quiet` shows neither summary nor JSON on standard output.
    Ctrl-C, or another of `signals.heeded`, asks the run to stop and waits for it: what is durable by then is reused by
    the next run. A run that another process or a job carries out goes on: the watching ends, with exit code 130.
    """
    click.echo(printable(f"run {run.id}" if run.is_here else f"run {run.id}: {run.where()}"), err=True)
    try:
        with watching() as watch:
            while run.is_live():
                # not run.wait: before Python 3.13 a thread whose join was interrupted counts as ended (bpo-45274)
                watch(run.progress())
                time.sleep(_LOOK_S if run.is_here else _LOOK_ELSEWHERE_S)
    except KeyboardInterrupt:
        if not run.is_here:
            click.echo(
                f"run {run.id} goes on without being watched; `vrecompute runs cancel {run.id}` ends it", err=True
            )
            return Interrupted.exit_code
        with contextlib.suppress(OSError):  # a terminal that is gone
            click.echo("stopping; what is finished is kept and reused by the next run", err=True)
        run.cancel()
        deadline = time.monotonic() + _LONGEST_STOP_S
        while run.status == "running":
            if time.monotonic() > deadline:
                return Interrupted.exit_code
            time.sleep(_LOOK_S)
    summary = run.report()
    kept, written = None, summary
    try:
        if out is not None:
            written = save(run, out)
    except ResultKept as error:
        kept = error
    if as_json and not quiet:
        facts(json.loads(dumps(written)))
    elif not quiet:
        click.echo(summary_text(summary))
        if out is not None and kept is None:
            click.echo(f"  page      {out / 'report.html'}")
    if kept is not None:
        click.echo(str(kept), err=True)
    return summary.exit_code
