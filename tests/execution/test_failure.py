"""Failures as data: what of an exception is kept for people."""

from __future__ import annotations

import json
import linecache

import pytest

from tests.test_records import MANIFEST
from vrecompute import sourcetext
from vrecompute.config.spelling import read_count
from vrecompute.errors import CredentialError
from vrecompute.execution.failure import failure_of
from vrecompute.execution.tally import Tally

LIBRARY = "def helper(text):\n    return json.loads(text)\n\n\ndef process():\n    return helper('{')\n"
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


def test_an_error_inside_a_library_shows_the_user_s_own_frame_and_keeps_the_whole_traceback(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(LIBRARY)
    space: dict = {"json": json}
    exec(compile(LIBRARY, str(path), "exec"), space)
    with pytest.raises(ValueError, match="Expecting") as caught:
        space["process"]()
    failure = failure_of(caught.value, "a.root", "s")
    assert failure.reason.startswith("mine.py:2 in helper: JSONDecodeError: Expecting property name")
    assert "json/decoder.py" in failure.detail
    assert 'mine.py", line 6, in process' in failure.detail


def test_an_error_in_vrecompute_itself_names_the_line_that_the_user_called_it_from():
    def process():
        return read_count("no number")

    with pytest.raises(ValueError, match="no number") as caught:
        process()
    assert failure_of(caught.value, "a.root", "s").reason.startswith("test_failure.py:")
    assert " in process: ValueError" in failure_of(caught.value, "a.root", "s").reason


def test_a_credential_counts_once_for_each_server_that_asks_for_it():
    tally = Tally(MANIFEST)
    asked = ["https://h:1/a.root", "https://h:1/b.root", "https://h:2/a.root", "https://h:2/a.root"]
    for address in asked:
        tally.failed(failure_of(CredentialError(address, "asks for a credential"), address, "s"))
    assert [f.file for f in tally.failures] == [asked[0], asked[2]]
