"""Text that is resolved on the site: quoted for a script that runs there, or resolved where the site is here."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vrecompute.config.spelling import VARIABLES
from vrecompute.errors import SiteError, Unavailable
from vrecompute.secret_text import redacted
from vrecompute.sites.access import Access

__all__ = ["path_on_site", "resolve_here", "shell_word"]


def shell_word(text: str) -> str:
    """One word of a POSIX shell script in which nothing but variables (and a leading `~/`) is expanded.

    >>> print(shell_word("$PROJECT/my venv"), shell_word("~/runs"))
    "$PROJECT/my venv" "$HOME/runs"

    Raises SiteError for text of more than one line.
    """
    if "\n" in text or "\0" in text:
        raise SiteError(f"{text!r} has a line break; a path or value of a site file is one line")
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
            raise SiteError(
                f"'{redacted(text)}' needs the variable {name}, which is not set here; set it or write the path"
            )
        return variables[name]

    text = re.sub(r"^~(?=/|$)", "$HOME", text)
    return VARIABLES.sub(lambda found: value(found[1] or found[2]), text)


def path_on_site(access: Access, text: str) -> str:
    """The absolute path that `text` is on the site, as a login shell there sees it; Unavailable where it is none."""
    done = access.run(["bash", "-l", "-c", f"printf '%s\\n' {shell_word(text)}"])
    path = done.text.splitlines()[-1:] or [""]
    if done.code != 0 or not path[0].startswith("/"):
        raise Unavailable(f"{access}: {text!r} is no absolute path there: {done.complaint or path[0]!r}")
    return path[0]


def _escaped(text: str) -> str:
    return re.sub(r'([\\"$`])', r"\\\1", text)
