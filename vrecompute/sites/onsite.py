"""Text that is resolved on the site: quoted for a script that runs there, or resolved where the site is here."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vrecompute.errors import SiteError
from vrecompute.sites.spelling import VARIABLES

__all__ = ["resolve_here", "shell_word"]


def shell_word(text: str) -> str:
    """One word of a POSIX shell script in which nothing but variables (and a leading `~/`) is expanded.

    >>> print(shell_word("$PROJECT/my venv"), shell_word("~/runs"))
    "$PROJECT/my venv" "$HOME/runs"
    """
    text = re.sub(r"^~(?=/|$)", "$HOME", text)
    quoted, end = "", 0
    for found in VARIABLES.finditer(text):
        quoted += _escaped(text[end : found.start()]) + found[0]
        end = found.end()
    return f'"{quoted}{_escaped(text[end:])}"'


def resolve_here(text: str, variables: Mapping[str, str]) -> str:
    """The text with its variables and a leading `~/` replaced; raises `SiteError` naming one that is not set."""

    def value(name: str) -> str:
        if not variables.get(name):
            raise SiteError(f"'{text}' needs the variable {name}, which is not set here; set it or write the path")
        return variables[name]

    text = re.sub(r"^~(?=/|$)", "$HOME", text)
    return VARIABLES.sub(lambda found: value(found[1] or found[2]), text)


def _escaped(text: str) -> str:
    return re.sub(r'([\\"$`])', r"\\\1", text)
