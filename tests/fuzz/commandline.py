"""The command line in this process, once: its exit code and what it wrote."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout

from vrecompute.cli import main
from vrecompute.cli.bug import BUG
from vrecompute.errors import EXIT_CODES

__all__ = ["command"]


def command(arguments: Sequence[str]) -> tuple[int, str, str]:
    """(exit code, standard output, standard error); AssertionError for a bug, a traceback or an unknown code."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape") for _ in range(2))
    code = None
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as ended:
            code = ended.code
    said = []
    for stream in (out, err):
        stream.flush()
        said.append(stream.buffer.getvalue().decode(errors="surrogateescape"))
    assert code in EXIT_CODES, (code, arguments, said)
    assert code != BUG, (arguments, said[1])
    assert "Traceback" not in said[0] + said[1], (arguments, said)
    return code, said[0], said[1]
