"""Accounting that hangs is left alone for a while; one that fails at once, or answers, is asked every time."""

from __future__ import annotations

import time

import pytest

from vrecompute.batch.accounting import Accounting
from vrecompute.batch.known import Answer


@pytest.mark.parametrize(
    ("takes_s", "silent", "asked"),
    [
        (6.0, True, [True, False, False, False, False, True]),
        (1.0, True, [True] * 6),
        (6.0, False, [True] * 6),
    ],
)
def test_only_one_that_lets_a_poll_wait_for_nothing_is_left_alone(monkeypatch, takes_s, silent, asked):
    now, accounting = [1000.0], Accounting()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    seen, answers = [], []

    def poll(with_accounting):
        seen.append(with_accounting)
        now[0] += takes_s if with_accounting else 0.0
        return Answer(silent=silent and with_accounting)

    for _ in range(6):
        answers.append(accounting.asked(poll))
        now[0] += 7.0
    assert seen == asked
    assert [answer.silent for answer in answers] == [silent] * 6, "that nobody was asked is no answer either"
