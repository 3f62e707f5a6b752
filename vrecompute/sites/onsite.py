"""Text that is resolved on the site: quoted for a script that runs there, or resolved where the site is here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from vrecompute.config.spelling import VARIABLES
from vrecompute.errors import SiteError, Unavailable
from vrecompute.secret_text import redacted
from vrecompute.sites.access import Access

__all__ = ["needs_set", "path_on_site", "resolve_here", "shell_word"]

#: What is said of a variable that a text of a site's file has, and that is not set where the text is resolved.
_UNSET = "needs the variable {}, which is not set"


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


def needs_set(key: str, *texts: str, but: str = "") -> list[str]:
    """Shell lines that end with the name of a variable of the texts that is not set; `key` is theirs in a site's file.

    One that is set to nothing counts as unset: what is left of a path without it would be another place. A value may
    go before or after what the variable `but` had, or had not.
    """
    names = dict.fromkeys(found[1] or found[2] for text in texts for found in VARIABLES.finditer(text))
    lines = []
    for name in (name for name in names if name not in {"HOME", but}):
        said = shlex.quote(f"{key} {_UNSET.format(name)} on")
        lines.append(f'[ -n "${{{name}:-}}" ] || {{ echo {said} "$(uname -n)" >&2; exit 1; }}')
    return lines


def resolve_here(text: str, variables: Mapping[str, str]) -> str:
    """The text with its variables and a leading `~/` replaced; raises `SiteError` naming one that is not set."""

    def value(name: str) -> str:
        if not variables.get(name):
            raise SiteError(f"'{redacted(text)}' {_UNSET.format(name)} here; set it or write the path")
        return variables[name]

    text = re.sub(r"^~(?=/|$)", "$HOME", text)
    return VARIABLES.sub(lambda found: value(found[1] or found[2]), text)


def path_on_site(access: Access, text: str) -> str:
    """The absolute path that `text` is on the site, as a login shell there sees it.

    SiteError where a variable of it is not set there, Unavailable where it is no path.
    """
    lines = [*needs_set(repr(text), text), f"printf '%s\\n' {shell_word(text)}"]
    done = access.run(["bash", "-l", "-c", "\n".join(lines)])
    path = done.text.splitlines()[-1:] or [""]
    if done.code != 0 and (unset := re.search(_UNSET.format("[A-Za-z0-9_]+"), done.complaint)):
        raise SiteError(f"{access}: {text!r} {unset[0]} there; set it or write the path")
    if done.code != 0 or not path[0].startswith("/"):
        raise Unavailable(f"{access}: {text!r} is no absolute path there: {done.complaint or path[0]!r}")
    return path[0]


def _escaped(text: str) -> str:
    return re.sub(r'([\\"$`])', r"\\\1", text)
