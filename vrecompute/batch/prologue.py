"""What a shell does on the site before a command of ours: it makes the site's Python start."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from vrecompute.errors import UsageError
from vrecompute.sites.model import Site
from vrecompute.sites.onsite import shell_word

__all__ = ["in_image", "prologue"]

_APPTAINER = ("apptainer", "exec")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What programs read an outside route from: small letters by curl and libcurl, capitals by most others.
_PROXY = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")


def prologue(site: Site, variables: Mapping[str, str]) -> list[str]:
    """Shell lines that make the site's Python start, and set `variables` to exactly their values."""
    there = site.environment
    lines = []
    if there.cvmfs is not None:
        lines += ["# shellcheck source=/dev/null", f". {shell_word(there.cvmfs)} || exit 1"]
    lines += [f"module load {shell_word(module)} || exit 1" for module in there.modules]
    if there.venv is not None:
        lines += [f"export VIRTUAL_ENV={shell_word(there.venv)}", 'export PATH="$VIRTUAL_ENV/bin:$PATH"']
    if site.network.proxy is not None:
        lines += [f"export {name}={shlex.quote(site.network.proxy)}" for name in _PROXY]
    lines += [f"export {_variable(name)}={shell_word(value)}" for name, value in sorted(there.variables.items())]
    lines += [f"export {_variable(name)}={shlex.quote(value)}" for name, value in sorted(variables.items())]
    return lines


def in_image(site: Site, image: str | None) -> str:
    """Shell words that put the command after them into an image, with a space; empty where there is none."""
    if image is None:
        return ""
    return " ".join(map(shell_word, (*(site.environment.image_command or _APPTAINER), image))) + " "


def _variable(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a name of an environment variable")
    return name
