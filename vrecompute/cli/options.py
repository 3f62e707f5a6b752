"""Options that several commands share, and how their words are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from vrecompute.errors import ParameterError
from vrecompute.utf8text import is_utf8, utf8

__all__ = [
    "JSON",
    "NAME",
    "BytesType",
    "DurationType",
    "NameType",
    "PathType",
    "analysis_parameters",
    "detach_options",
    "job_options",
    "label_option",
    "place_options",
    "read_parameters",
    "store_options",
    "trust_option",
]

_NOT_UTF8 = "it is not UTF-8 text; write it in UTF-8"
_EMPTY = "it is empty; give a name, or leave the option out"

Command = TypeVar("Command", bound=Callable[..., Any])


class BytesType(click.ParamType[int]):
    """A number of bytes with its unit: 100MB, 64MiB; where `plain`, a number alone is one of bytes."""

    name = "size"

    def __init__(self, *, plain: bool = False) -> None:
        self.plain = plain

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes; a usage error says what to write."""
        from vrecompute.units import parse_bytes, parse_memory

        if isinstance(value, int):
            return value
        try:
            return parse_bytes(value) if self.plain else parse_memory(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class DurationType(click.ParamType[int]):
    """A duration with its unit, or as Slurm writes it: 90m, 12h, 04:00:00."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of seconds; a usage error says what to write."""
        from vrecompute.units import parse_duration

        if isinstance(value, int):
            return value
        try:
            return int(parse_duration(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class NameType(click.ParamType[str]):
    """A name, a path or an address; an empty one, as an unset variable gives it, names nothing."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same text; a usage error where it is empty or not UTF-8."""
        if not str(value).strip():
            self.fail(_EMPTY, param, ctx)
        if not is_utf8(str(value)):
            self.fail(f"'{utf8(str(value))}': {_NOT_UTF8}", param, ctx)
        return str(value)


class PathType(click.Path):
    """A file or a folder; an empty name, as an unset variable gives it, is not the working directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path as `click.Path` gives it; a usage error where it is empty."""
        if not os.fspath(value).strip():
            self.fail(_EMPTY, param, ctx)
        try:
            os.fsencode(value)  # a file may have any bytes as its name, and no half of a surrogate pair
        except UnicodeEncodeError:
            self.fail(f"'{utf8(os.fspath(value))}': {_NOT_UTF8}", param, ctx)
        return super().convert(value, param, ctx)


#: The type of an option that names something.
NAME = NameType()

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")


def _all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


place_options = _all_of(
    click.option("--site", type=NAME, metavar="NAME|FILE", help="Where to run; this machine by default."),
    click.option(
        "--store",
        type=NAME,
        metavar="PATH",
        help="Where runs are kept (default: the site's; here, the user data folder).",
    ),
    click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Workers to use (default: the site's)."),
)

trust_option = click.option(
    "--trust", is_flag=True, help="Use the file of the site though it was only found in the working directory."
)

store_options = _all_of(
    click.option("--site", type=NAME, metavar="NAME|FILE", help="The site of the run, where that is not this machine."),
    click.option(
        "--store", type=NAME, metavar="PATH", help="The store to look in (default: the site's, or the user's)."
    ),
)

analysis_parameters = click.option(
    "-p",
    "--parameter",
    "parameters",
    multiple=True,
    metavar="KEY=VALUE",
    help="A parameter of the analysis; `vrecompute analyses NAME` lists them.",
)

job_options = _all_of(
    analysis_parameters,
    click.option(
        "--tree",
        type=NAME,
        metavar="NAME",
        help="The tree to read (default: the dataset's, or a file's only one, or the first that it has of Events, "
        "CollectionTree, nominal, events and EventData).",
    ),
    click.option(
        "--chunk-bytes",
        type=BytesType(plain=True),
        metavar="SIZE",
        help="Size of a chunk in memory: bytes, or with a unit, such as 100MB or 64MiB.",
    ),
    click.option(
        "--max-events",
        type=click.IntRange(min=1),
        metavar="N",
        help="A test: the first N events of each sample alone. It ends `test`, never `complete`.",
    ),
    click.option(
        "--max-files",
        type=click.IntRange(min=1),
        metavar="N",
        help="A test: the first N files of each sample alone; no other is opened.",
    ),
    click.option("--allow-duplicates", is_flag=True, help="Accept sources listed twice; their events count twice."),
)


def label_option(help_text: str) -> Callable[[Command], Command]:
    """The option `--label KEY=VALUE`, repeated, as a mapping."""
    return click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="KEY=VALUE",
        callback=lambda ctx, param, words: read_parameters(words, "--label", "campaign=2026a"),
        help=help_text,
    )


def _of_a_job(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    if value is not None and not ctx.params["detach"]:
        raise click.UsageError(f"--{param.name} is about the jobs of a detached run; add --detach", ctx)
    return value


detach_options = _all_of(
    click.option(
        "--detach",
        is_flag=True,
        is_eager=True,  # known before --walltime is looked at
        help="Run as one batch job with workers and Runner; no client has to stay connected.",
    ),
    click.option(
        "--walltime",
        type=DurationType(),
        metavar="TIME",
        callback=_of_a_job,
        help="With --detach: walltime of the job (2h, 04:00:00).",
    ),
    click.option(
        "--shares",
        type=click.IntRange(min=1),
        metavar="N",
        callback=_of_a_job,
        help="With --detach: N independent jobs, each with a share of the run (default: as the site has it).",
    ),
)


def read_parameters(words: tuple[str, ...], option: str = "-p", example: str = "pt_min_gev=30") -> dict[str, str]:
    """{key: value} of the words KEY=VALUE of `option`; ParameterError for another shape or a key given twice."""
    parameters: dict[str, str] = {}
    for word in words:
        if not is_utf8(word):
            raise ParameterError(f"{option} {utf8(word)}: {_NOT_UTF8}")
        key, equals, value = word.partition("=")
        if not (equals and key.strip()):
            raise ParameterError(f"{option} {word}: write KEY=VALUE, such as {option} {example}")
        if key.strip() in parameters:
            raise ParameterError(f"{option} {key.strip()} is given twice")
        parameters[key.strip()] = value.strip()
    return parameters
