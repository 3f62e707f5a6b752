"""A Ctrl-C that is sent twice ends what it is to end once; one that is pressed again later ends that end, too."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest

from vrecompute import signals


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(signals, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def press():
    os.kill(os.getpid(), signal.SIGINT)


def test_two_within_a_second_are_one_and_a_later_one_is_another(clock):
    with signals.heeded():
        with pytest.raises(KeyboardInterrupt):
            press()
        clock[0] += 0.9
        press()
        clock[0] += 0.2
        with pytest.raises(KeyboardInterrupt):
            press()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        press()


def test_the_handler_of_somebody_else_stays(clock):
    got = []
    before = signal.signal(signal.SIGINT, lambda *_: got.append(1))
    try:
        with signals.heeded():
            press()
            press()
        assert got == [1, 1]
    finally:
        signal.signal(signal.SIGINT, before)


class Slow(signals.Closing):
    """What takes a moment to close, within which the same Ctrl-C comes again."""

    closed = False

    def close(self):
        press()
        self.closed = True


def test_the_end_that_a_ctrl_c_asks_for_is_not_cut_short_by_its_copy(clock):
    slow = Slow()
    with pytest.raises(KeyboardInterrupt), slow:
        press()
    assert slow.closed
