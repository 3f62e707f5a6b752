"""`vrecompute new NAME`: a commented analysis to begin with, and its test."""

from __future__ import annotations

import keyword
import os
from importlib.resources import files
from pathlib import Path

import click

from vrecompute.cli.options import PathType
from vrecompute.errors import OutputError, UsageError
from vrecompute.folders import make_folders

__all__ = ["new"]

_TEMPLATES = {"{name}.py": "analysis.txt", "test_{name}.py": "test.txt"}


@click.command()
@click.argument("name")
@click.option(
    "--in", "folder", default=".", type=PathType(path_type=Path, file_okay=False), metavar="DIR", help="Where to."
)
def new(name: str, folder: Path) -> None:
    """Write NAME.py, a commented analysis, and test_NAME.py, which runs it on events whose answer is known."""
    name = name.removesuffix(".py")
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name):
        raise UsageError(f"{name!r} cannot be the name of an analysis: write letters, digits and '_', no digit first")
    written = {folder / target.format(name=name): template for target, template in _TEMPLATES.items()}
    if there := [path for path in written if os.path.lexists(path)]:
        raise UsageError(f"{there[0]} is there already, and is left as it is; choose another name")
    try:
        make_folders(folder)
        for path, template in written.items():
            text = files("vrecompute.cli").joinpath("templates", template).read_text(encoding="utf-8")
            with path.open("x", encoding="utf-8") as file:
                file.write(text.replace("@NAME@", name).replace("@CLASS@", _class_name(name)))
    except OSError as error:
        raise OutputError(f"{folder}: the analysis cannot be written there: {error.strerror or error}") from error
    analysis, test = written
    click.echo(f"wrote {analysis} and {test}")
    click.echo(f"  pytest {test}")
    click.echo(f"  vrecompute run {analysis} FILES --out {name}")


def _class_name(name: str) -> str:
    """`z_to_mumu` as `ZToMumu`."""
    made = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
    return made if made.isidentifier() else f"Analysis{made}"
