"""What planning asked of files is in the report, also of files that could not be read in the end."""

from __future__ import annotations

import pytest

from vrecompute import retries
from vrecompute.errors import UnreadableFile
from vrecompute.execution.planner import _counting, _plain
from vrecompute.execution.pool import Finished
from vrecompute.remote.fetch import Passing, patiently


def test_requests_that_were_tried_again_count_where_none_was_answered(monkeypatch):
    monkeypatch.setattr(retries, "_ATTEMPTS", 3)

    def unanswered(shared, batch):
        def call():
            raise Passing(batch, "the host is gone")

        return patiently(call)

    counted = _counting(unanswered, None, "root://a//b.root")
    assert len(counted.retries) == 2
    ended = _plain(Finished(0, "done", counted))
    assert (ended.how, type(ended.value)) == ("raised", UnreadableFile)


def test_what_was_given_is_given_on():
    counted = _counting(lambda shared, batch: shared + batch, 1, 2)
    assert (_plain(Finished(0, "done", counted)), counted.retries) == (Finished(0, "done", 3), [])


def test_a_fault_of_the_code_is_raised_as_it_is():
    with pytest.raises(ZeroDivisionError):
        _counting(lambda shared, batch: 1 // 0, None, None)
