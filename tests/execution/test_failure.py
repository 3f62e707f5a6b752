"""Failures as data: what of an exception is kept for people."""

from __future__ import annotations

import linecache

from vrecompute import sourcetext
from vrecompute.execution.failure import failure_of

SOURCE = "def process():\n    return 1 / 0  # the culprit\n"


def test_a_traceback_shows_the_lines_of_a_file_that_this_machine_does_not_have(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    space: dict = {}
    exec(compile(SOURCE, str(path), "exec"), space)
    path.unlink()
    linecache.clearcache()

    def failure():
        try:
            space["process"]()
        except ZeroDivisionError as error:
            return failure_of(error, "a.root", "s")
        raise AssertionError

    assert "the culprit" not in failure().detail
    sourcetext.keep(str(path), SOURCE)
    assert "return 1 / 0  # the culprit" in failure().detail
    assert "mine.py:2" in failure().reason
