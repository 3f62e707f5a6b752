"""`vrecompute warm-cache [ANALYSIS...]`."""

from __future__ import annotations

from pathlib import Path

import click

from vrecompute.cli.options import JSON, PathType
from vrecompute.cli.output import facts, table

__all__ = ["warm_cache"]


@click.command("warm-cache")
@click.argument("analyses", nargs=-1, metavar="[ANALYSIS]...")
@click.option(
    "--directory",
    type=PathType(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Compile into DIR, for workers with VRECOMPUTE_CACHE=DIR (default: this process' own cache).",
)
@JSON
@click.pass_context
def warm_cache(ctx: click.Context, analyses: tuple[str, ...], directory: Path | None, as_json: bool) -> None:
    """Compile what workers run before they need it, for all installed analyses or those named.

    The cache serves processors of this machine's kind and the installed versions; others compile anew. A
    folder that workers cannot write is copied to their node when they first use it. What cannot be compiled is named;
    the exit code is 4 where it was asked for by name.
    """
    from vrecompute.errors import VrecomputeError
    from vrecompute.kernels.cache import cache_folder
    from vrecompute.warm import warm

    warmed = list(warm(directory, analyses or None))
    if as_json:
        facts(
            {
                "folder": str(cache_folder()),
                "warmed": [dict(zip(("what", "cpu_s", "trouble"), w, strict=True)) for w in warmed],
            }
        )
    else:
        table(["COMPILED", "CPU", "TROUBLE"], [(w.what, f"{w.cpu_s:.1f} s", w.trouble) for w in warmed])
        click.echo(f"\n{cache_folder()}")
    ctx.exit(VrecomputeError.exit_code if any(w.trouble for w in warmed if w.what in analyses) else 0)
