"""Failures as data: what of an exception is kept for people."""

from __future__ import annotations

import linecache

from vrecompute.execution.failure import failure_of, lend_lines, lines_of

SOURCE = "def process():\n    return 1 / 0  # the culprit\n"


def test_a_traceback_shows_the_lines_of_a_file_that_this_machine_does_not_have(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    space: dict = {}
    exec(compile(SOURCE, str(path), "exec"), space)
    lent = lines_of(space["process"])
    assert lent == (str(path), SOURCE)
    path.unlink()
    linecache.clearcache()

    def detail() -> str:
        try:
            space["process"]()
        except ZeroDivisionError as error:
            return failure_of(error, "a.root", "s").detail
        raise AssertionError

    assert "the culprit" not in detail()
    lend_lines(lent)
    assert "return 1 / 0  # the culprit" in detail()
    assert "mine.py:2" in failure_reason(space)


def failure_reason(space) -> str:
    try:
        space["process"]()
    except ZeroDivisionError as error:
        return failure_of(error, "a.root", "s").reason
    raise AssertionError


def test_a_function_without_a_file_has_no_lines():
    assert lines_of(len) == ("", "")
