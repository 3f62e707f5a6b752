"""A click group whose commands are imported when they are needed, so that `--help` is quick."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import Any

import click

from vrecompute.cli.messages import MessageGroup
from vrecompute.nearest import hint
from vrecompute.plugins import installed

__all__ = ["LazyGroup"]


class LazyGroup(MessageGroup):
    """Commands from `built_in`, name -> ("module:attribute", one line of help), and from an entry point group.

    A command of an installed package shows its own help line, so listing the commands imports its
    module; such modules import their libraries inside the command.
    """

    def __init__(
        self, *args: Any, built_in: Mapping[str, tuple[str, str]] | None = None, entry_points: str = "", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._built_in = built_in or {}
        self._group = entry_points

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name, ours first."""
        return [*self._built_in, *sorted(set(self._contributed()) - set(self._built_in))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now; None where there is none."""
        if cmd_name in self._built_in:
            module, _, attribute = self._built_in[cmd_name][0].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        entry = self._contributed().get(cmd_name)
        if entry is None:
            return None
        try:
            contributed: click.Command = entry.load()
        except ImportError as error:
            raise click.ClickException(f"command {cmd_name!r} of {entry.value} cannot be loaded: {error}") from error
        return contributed

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest command named where there is none."""
        named = args[0]  # click takes `--` off the list before it says that it is no command
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            known = self.list_commands(ctx)
            meant = hint(named, known) or f"; there are: {', '.join(known)}"
            raise click.UsageError(f"no command {named!r}{meant}", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands with a line each, without importing ours."""
        rows = [(name, help_line) for name, (_, help_line) in self._built_in.items()]
        for name in self.list_commands(ctx):
            if name not in self._built_in:
                try:
                    command = self.get_command(ctx, name)
                    rows.append((name, command.get_short_help_str(80) if command else ""))
                except click.ClickException as error:
                    rows.append((name, f"unavailable: {error.message}"))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _contributed(self) -> dict[str, EntryPoint]:
        return installed(self._group) if self._group else {}
