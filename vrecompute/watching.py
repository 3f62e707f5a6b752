"""Progress on standard error: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from vrecompute.execution.progress import Progress
from vrecompute.wording import count_text, duration_text

__all__ = ["Watch", "watching"]

Watch = Callable[[Progress], None]


@contextmanager
def watching() -> Iterator[Watch]:
    """A function to call with each Progress: it moves a bar on a terminal, and prints a line per stage elsewhere."""
    if sys.stderr.isatty():
        with _bar() as watch:
            yield watch
    else:
        yield _lines()


@contextmanager
def _bar() -> Iterator[Watch]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description:>9}"), BarColumn(bar_width=36), TextColumn("{task.fields[words]}"))
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("waiting", total=1.0, words="")

        def watch(progress: Progress) -> None:
            bars.update(bar, completed=progress.fraction, description=progress.stage, words=_words(progress))

        yield watch


def _words(progress: Progress) -> str:
    if progress.stage == "queued":
        return progress.waiting
    if progress.waiting:
        return f"waiting for {duration_text(progress.waiting_s)}: {progress.waiting}"
    if progress.stage == "preflight":
        if not progress.sources_total:
            return ""
        return f"{progress.sources_done} of {progress.sources_total} sources"
    if not progress.chunks_total:
        return ""
    words = f"{progress.fraction:4.0%}  {count_text(progress.events)} of {count_text(progress.events_expected)} events"
    if progress.events_per_s:
        words += f"  {count_text(round(progress.events_per_s))}/s"
    if progress.eta_s and progress.stage == "work":
        words += f"  {duration_text(progress.eta_s)} left"
    return words


def _lines() -> Watch:
    """Lines for a log: each new stage, each tenth of the work, and what is waited for."""
    said: set[tuple[str, int, str]] = set()

    def watch(progress: Progress) -> None:
        tenth = int(progress.fraction * 10) if progress.stage == "work" else 0
        step = (progress.stage, tenth, progress.waiting_for)
        counted = progress.stage != "preflight" or progress.sources_total or progress.waiting
        if step not in said and progress.stage not in {"waiting", "done"} and counted:
            said.add(step)
            click.echo(f"{progress.stage}  {_words(progress)}".rstrip(), err=True)

    return watch
