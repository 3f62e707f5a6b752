"""Who asked for a run, how, and from which commit: for people who look at it later; part of no key and no result."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
import sys
from pathlib import Path

from vrecompute.secret_text import redacted
from vrecompute.utf8text import utf8

__all__ = ["provenance"]

_GIT_S = 5.0


def provenance(file: Path | None) -> dict[str, str]:
    """`user`, `command`, and the `commit` of an analysis in this file where git has one; what is not known is absent.

    Words are only those of the `vrecompute` command: a program of the user's own may be called with anything.
    """
    known = {"user": _user(), "command": _command(), "commit": "" if file is None else _commit(file)}
    return {name: utf8(text) for name, text in known.items() if text}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return f"uid {os.getuid()}"


def _command() -> str:
    program = Path(sys.argv[0]) if sys.argv and sys.argv[0] else None
    if "ipykernel" in sys.modules:
        return "notebook"
    if program is None or str(program) == "-c":
        return "python"
    if program.name == "vrecompute" or program.parts[-2:] == ("vrecompute", "__main__.py"):
        return shlex.join(["vrecompute", *map(redacted, sys.argv[1:])])
    return program.name


def _commit(file: Path) -> str:
    """The commit that is checked out where the file lies, if the file is in it; and whether it was edited since."""
    try:
        if not _git(file, "ls-files", "--", file.name):
            return ""
        commit = _git(file, "rev-parse", "HEAD")
        edited = _git(file, "status", "--porcelain", "--", file.name)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):  # no git, no repository, one of another user
        return ""
    return f"{commit}, and {file.name} was edited since" if edited else commit


def _git(file: Path, *words: str) -> str:
    # a repository may name a program in core.fsmonitor, which is not to be started for this
    command = ["git", "-C", str(file.parent), "-c", "core.fsmonitor=false", *words]
    done = subprocess.run(command, capture_output=True, check=True, timeout=_GIT_S, stdin=subprocess.DEVNULL)
    return done.stdout.decode().strip()
