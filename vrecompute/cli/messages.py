"""Errors of ours as one clear message and their exit code, wherever a command is called from."""

from __future__ import annotations

import os
from typing import Any

import click

from vrecompute.errors import VrecomputeError
from vrecompute.wording import printable_lines

__all__ = ["MessageGroup", "show"]


def show(error: click.ClickException) -> None:
    """Write an error to standard error, as click does; what a user or a file gave cannot write to the terminal."""
    said = printable_lines(error.format_message())
    error.format_message = lambda: said  # type: ignore[method-assign]  # which `show` of every kind calls
    error.show()


class _Message(click.ClickException):
    def __init__(self, error: VrecomputeError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code  # type: ignore[misc]  # a class variable to click, read from the instance


class MessageGroup(click.Group):
    """A group whose commands' VrecomputeError is a message, never a traceback (VRECOMPUTE_DEBUG=1 shows it)."""

    def invoke(self, ctx: click.Context) -> Any:
        """As click does, with our errors as messages."""
        try:
            return super().invoke(ctx)
        except VrecomputeError as error:
            if os.environ.get("VRECOMPUTE_DEBUG"):
                raise
            raise _Message(error) from error
