"""The one place that turns an unexpected exception into a message, a log and an exit code."""

from __future__ import annotations

import os
import platform
import tempfile
import traceback
from datetime import datetime
from importlib.metadata import version

import click

from vrecompute.utf8text import utf8
from vrecompute.wording import printable

__all__ = ["BUG", "report_bug"]

#: EX_SOFTWARE of sysexits(3).
BUG = 70


def report_bug(error: BaseException) -> int:
    """Say that this is a bug and where its log is; gives the exit code. The log is for this user's eyes alone."""
    trace = "".join(traceback.format_exception(error))
    head = f"vrecompute {version('vrecompute')}, Python {platform.python_version()}, {platform.platform()}"
    try:
        number, path = tempfile.mkstemp(prefix=f"vrecompute-bug-{datetime.now():%Y%m%d-%H%M%S}-", suffix=".log")
        with os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{head}\n{trace}")
        where = f"the log is {path}"
    except OSError:
        where = f"here is the log:\n{head}\n{utf8(trace)}"
    if os.environ.get("VRECOMPUTE_DEBUG"):
        click.echo(utf8(trace), err=True)
    said = traceback.format_exception_only(error)[-1].strip()[:300]
    click.echo(f"Error: this is a bug in vrecompute: {printable(said)}\nPlease report it; {where}", err=True)
    return BUG
